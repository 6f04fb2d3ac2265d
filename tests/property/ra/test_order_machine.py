"""The order as a state machine: whatever happens when, no step is skipped and no approval outlives its time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chopmark.core.types import (
    AccountNumber,
    CustomerId,
    FactorClass,
    KeyHome,
    Operation,
    OrderId,
    OrderState,
)
from chopmark.ra.model import BEFORE_SUBMISSION, LIVE, Order, Step
from chopmark.ra.policy import TW_BROKER

START = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
APPROVED = {OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED}


class OrderMachine(RuleBasedStateMachine):
    """One order as it is stored; steps are taken on it as it counts at the moment, as the verbs do."""

    @initialize(operation=st.sampled_from(Operation), asked=st.booleans())
    def opened(self, operation: Operation, asked: bool) -> None:
        self.now = START
        self.code_at: datetime | None = None
        self.date_at: datetime | None = None
        self.key_at: datetime | None = None
        self.order = Order(
            id=OrderId("O" * 26),
            customer=CustomerId("C1"),
            operation=operation,
            account=AccountNumber("F014000-0000001"),
            profile="investor",
            key_home=KeyHome.FILE,
            state=OrderState.OPEN,
            login_factors=frozenset({FactorClass.PASSWORD}),
            policy=TW_BROKER.id,
            created_at=START,
            expires_at=START + TW_BROKER.order_life,
            birth_date_asked=asked and operation is not Operation.REVOKE,
        )

    @property
    def counted(self) -> Order:
        return self.order.at(self.now, TW_BROKER)

    @rule(seconds=st.sampled_from([0, 1, 60, 599, 600, 601, 3600, 86_399, 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def a_key_is_bound(self) -> None:
        order = self.counted
        if order.state in BEFORE_SUBMISSION and order.operation is not Operation.REVOKE:
            self.order = replace(order, state=OrderState.BOUND, coded_at=None, checked_at=None)
            self.key_at, self.code_at, self.date_at = self.now, None, None

    @rule()
    def the_code_is_right(self) -> None:
        order = self.counted
        if order.require(Step.CHANNEL) is None:
            self.order = replace(order, state=OrderState.CODE_VERIFIED, coded_at=self.now, checked_at=None)
            self.code_at, self.date_at = self.now, None

    @rule()
    def the_birth_date_is_right(self) -> None:
        order = self.counted
        if order.require(Step.BIRTH_DATE) is None:
            self.order = replace(order, state=OrderState.BIRTH_DATE_VERIFIED, checked_at=self.now)
            self.date_at = self.now

    @rule()
    def it_is_confirmed(self) -> None:
        order = self.counted
        if order.require(Step.REVIEW) is None:
            assert self.code_at is not None
            assert self.now - self.code_at < TW_BROKER.approval_life
            assert self.now < order.expires_at
            assert order.operation is Operation.REVOKE or self.key_at is not None
            if order.birth_date_asked:
                assert self.date_at is not None
                assert self.code_at <= self.date_at
            done = OrderState.DONE if order.operation is Operation.REVOKE else OrderState.SUBMITTED
            self.order = replace(order, state=done, submitted_at=self.now)

    @rule(pends=st.booleans())
    def the_ca_answers(self, pends: bool) -> None:
        if self.order.state is OrderState.SUBMITTED and pends:
            self.order = replace(self.order, state=OrderState.PENDING)
        elif self.order.state in {OrderState.SUBMITTED, OrderState.PENDING}:
            self.order = replace(self.order, state=OrderState.ISSUED)

    @rule()
    def the_new_key_signs(self) -> None:
        if self.counted.require(Step.INSTALL) is None:
            assert self.order.state is OrderState.ISSUED
            self.order = replace(self.order, state=OrderState.ACTIVE)

    @rule(end=st.sampled_from([OrderState.CANCELLED, OrderState.LOCKED, OrderState.REFUSED]))
    def it_is_ended(self, end: OrderState) -> None:
        if self.counted.live and self.order.state in BEFORE_SUBMISSION:
            self.order = replace(self.counted, state=end)

    @invariant()
    def exactly_one_step_is_next_and_every_other_is_refused(self) -> None:
        order = self.counted
        allowed = [step for step in Step if order.require(step) is None]
        assert allowed == [order.next()]
        assert (order.next() in {Step.DONE, Step.ENDED}) is (not order.live)
        assert order.live is (order.state in LIVE)

    @invariant()
    def an_approval_never_counts_for_more_than_ten_minutes(self) -> None:
        order = self.counted
        if order.state in APPROVED:
            assert order.coded_at is not None
            assert timedelta(0) <= self.now - order.coded_at < timedelta(minutes=10)

    @invariant()
    def an_order_not_submitted_within_a_day_is_over(self) -> None:
        if self.now >= START + timedelta(hours=24):
            assert self.counted.state not in BEFORE_SUBMISSION

    @invariant()
    def looking_twice_shows_the_same(self) -> None:
        assert self.counted.at(self.now, TW_BROKER) == self.counted

    @invariant()
    def a_revocation_has_no_key_and_no_certificate(self) -> None:
        if self.order.operation is Operation.REVOKE:
            assert self.counted.next() not in {Step.KEY, Step.BIRTH_DATE, Step.WAIT, Step.INSTALL}


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
