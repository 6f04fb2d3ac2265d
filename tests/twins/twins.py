"""Broken twins: places where one wrong word would cost a customer, each with that word and the test that must notice.

A twin is the house with one fault. It says where the fault is, by a text that stands exactly once in its module, and
what stands there instead. A twin whose text is gone is a failure: whoever changes a guard looks at its twin.
"""

from dataclasses import dataclass

CODES = "tests/contract/test_journey_codes.py"
GUARDS = "tests/contract/test_guards_codes.py"
ORDERS = "tests/contract/test_guards_orders.py"
ISSUANCE = "tests/contract/test_guards_issuance.py"
BARRIERS = "tests/contract/test_barriers.py"
BROKEN = "tests/property/pki/test_broken_fields.py"
TICKETS = "tests/contract/test_guards_tickets.py"
WHOSE = "tests/contract/test_whose_key.py"


@dataclass(frozen=True)
class Twin:
    """One fault: `name` says what is wrong, `path` is below src/chopmark, `test` is the node that fails because of it.

    `changes` are pairs of a text and what stands there instead; two pairs where two guards say the same.
    """

    name: str
    path: str
    changes: tuple[tuple[str, str], ...]
    test: str


def twin(name: str, path: str, text: str, instead: str, test: str) -> Twin:
    """A twin with one change."""
    return Twin(name, path, ((text, instead),), test)


TWINS_OF_CODES = (
    twin(
        "an attempt is not counted",
        "store/repositories/stepup/challenges.py",
        "SET attempts = attempts + 1",
        "SET attempts = attempts + 0",
        f"{CODES}::test_i10_a_wrong_code_costs_an_attempt_even_though_the_request_fails[sqlite]",
    ),
    twin(
        "a challenge that is over is charged",
        "store/repositories/stepup/challenges.py",
        "WHERE id = :order_id) AND state = 'live'\n",
        "WHERE id = :order_id)\n",
        f"{GUARDS}::test_a_challenge_that_is_over_is_neither_charged_nor_compared_when_it_is_read_stale[sqlite-cancelled]",
    ),
    twin(
        "a challenge of before is charged",
        "store/repositories/stepup/challenges.py",
        "AND id = (SELECT challenge FROM orders WHERE id = :order_id)",
        "AND EXISTS (SELECT challenge FROM orders WHERE id = :order_id)",
        f"{GUARDS}::test_an_older_code_that_somehow_lives_again_is_not_its_orders_code[sqlite]",
    ),
    twin(
        "a code lives for ever",
        "store/repositories/stepup/challenges.py",
        "AND attempts < max_attempts AND expires_at > :now AND",
        "AND attempts < max_attempts AND (expires_at > :now OR 1 = 1) AND",
        f"{CODES}::test_i13_at_300_seconds_sharp_the_right_code_is_dead_and_not_compared[sqlite]",
    ),
    Twin(
        "a code of a clock that was ahead is good",
        "store/repositories/stepup/challenges.py",
        (
            (
                "AND attempts < max_attempts AND expires_at > :now AND created_at <= {AHEAD}\nRETURNING",
                "AND expires_at > :now\nRETURNING",
            ),
            (
                "AND state = 'live' AND expires_at > :now AND created_at <= {AHEAD}",
                "AND state = 'live' AND expires_at > :now",
            ),
        ),
        "tests/contract/test_clock.py::"
        "test_a_code_of_a_clock_ahead_is_worth_nothing_and_another_one_may_be_sent_at_once[sqlite]",
    ),
    twin(
        "with its key destroyed every code is right",
        "stepup/verifier.py",
        "if expected is not None and pure.matches(expected, given):",
        "if expected is None or pure.matches(expected, given):",
        f"{GUARDS}::test_when_its_key_is_destroyed_no_code_is_right[sqlite]",
    ),
    twin(
        "every challenge has the same nonce",
        "stepup/verifier.py",
        "nonce=self._entropy.token(16),",
        "nonce=bytes(16),",
        f"{GUARDS}::test_no_two_challenges_share_a_nonce[sqlite]",
    ),
    twin(
        "a code does not belong to its key",
        "stepup/derive.py",
        "        challenge.spki.encode(),\n",
        "",
        "tests/unit/stepup/test_derive.py::"
        "test_a_code_belongs_to_its_challenge_nonce_operation_key_channel_and_contact",
    ),
    twin(
        "a customer has no day's budget over the channels",
        "stepup/verifier.py",
        'RateLimit(f"send-customer:{customer}:1d", rules.per_day, day),',
        'RateLimit(f"send-customer:{customer}:1d", rules.per_day, hour),',
        f"{GUARDS}::test_the_budget_of_a_day_is_the_customers_over_both_channels[sqlite]",
    ),
    twin(
        "a customer has no hour's budget over the channels",
        "stepup/verifier.py",
        '        RateLimit(f"send-customer:{customer}:1h", rules.per_hour, hour),\n',
        "",
        f"{GUARDS}::test_the_budget_of_an_hour_is_the_customers_over_both_channels[sqlite]",
    ),
    twin(
        "a number has no day's budget over its customers",
        "stepup/verifier.py",
        'RateLimit(f"send:{destination_hash}:1d", rules.per_day, day),',
        'RateLimit(f"send:{destination_hash}:1d", rules.per_day, hour),',
        f"{GUARDS}::test_the_budget_of_a_day_is_the_numbers_over_two_customers[sqlite]",
    ),
    twin(
        "an order may send without end",
        "store/repositories/stepup/challenges.py",
        "(SELECT COUNT(*) FROM ({_COUNTED}) counted) < :per_order",
        "(SELECT COUNT(*) FROM ({_COUNTED}) counted) < 100 * :per_order",
        f"{CODES}::test_i16_three_codes_an_order[sqlite]",
    ),
    twin(
        "a locked customer gets codes",
        "store/repositories/stepup/challenges.py",
        "WHERE NOT {CODES_LOCKED} AND NOT EXISTS",
        "WHERE NOT EXISTS",
        f"{BARRIERS}::test_a_customer_put_on_hold_between_reading_and_sending_gets_no_code[sqlite]",
    ),
    Twin(
        "a hold ends with the day of its failures",
        "store/repositories/stepup/failures.py",
        (
            ("AND {elder_ever} < :ever AND NOT {locked}\n", "AND {elder_ever} < :ever\n"),
            ("WHERE failures.held_at IS NULL AND failures.ever", "WHERE failures.ever"),
        ),
        f"{GUARDS}::test_a_hold_that_begins_a_minute_before_the_day_is_over_binds_a_minute_after_it[sqlite]",
    ),
    twin(
        "more than a hundred are compared",
        "store/repositories/stepup/failures.py",
        "AND failures.ever + {elder_ever} < :ever\n",
        "\n",
        f"{GUARDS}::test_of_many_guesses_at_once_after_98_failures_ever_two_are_compared[sqlite]",
    ),
    twin(
        "more than twenty a day are compared",
        "store/repositories/stepup/failures.py",
        "ELSE failures.in_window END + {elder_spent} < :most",
        "ELSE failures.in_window END + {elder_spent} < 100 * :most",
        "tests/contract/test_races_codes.py::test_i11_the_last_failures_of_a_day_are_not_given_out_twice[sqlite]",
    ),
    twin(
        "a release forgets the day and not the hundred",
        "store/repositories/stepup/failures.py",
        "hold = NULL, in_window = 0, ever = 0",
        "hold = NULL, in_window = 0",
        f"{GUARDS}::test_after_a_hundred_failures_and_a_release_codes_are_as_good_as_new[sqlite]",
    ),
    twin(
        "a code in a login without the key approves it",
        "store/repositories/stepup/challenges.py",
        "AND login_factors = :known AND {HELD_HERE} AND {NOT_WAITING}\nRETURNING id",
        "AND login_factors = :known AND {NOT_WAITING}\nRETURNING id",
        f"{WHOSE}::test_a_right_code_in_a_login_that_does_not_hold_the_key_approves_nothing[sqlite]",
    ),
    twin(
        "a compromised certificate stays good until the new one",
        "store/repositories/stepup/challenges.py",
        "AND operation = 'replace' AND reason IN ('lost', 'compromised')",
        "AND operation = 'replace' AND reason IN ('lost')",
        f"{ORDERS}::test_what_is_lost_or_compromised_is_held_here_and_at_the_ca_with_the_right_code[sqlite-compromised]",
    ),
    twin(
        "whoever replaces a certificate stops the old one by a code",
        "store/repositories/stepup/challenges.py",
        "AND operation = 'replace' AND reason IN ('lost', 'compromised')",
        "AND operation = 'replace'",
        f"{ORDERS}::test_what_is_only_replaced_is_held_nowhere[sqlite-new_device]",
    ),
    twin(
        "a ticket is used twice",
        "store/repositories/identity/launches.py",
        "WHERE ticket_hash = :ticket AND used_at IS NULL AND expires_at > :now",
        "WHERE ticket_hash = :ticket AND expires_at > :now",
        "tests/contract/test_launch.py::test_f24_of_fifty_uses_at_once_one_is_taken[sqlite]",
    ),
    twin(
        "a ticket is confirmed by another visitor",
        "store/repositories/identity/launches.py",
        "AND visitor_hash = :visitor AND confirmed_at IS NULL",
        "AND (visitor_hash = :visitor OR 1 = 1) AND confirmed_at IS NULL",
        "tests/contract/test_launch.py::test_only_the_visitor_who_took_the_ticket_can_confirm_it[sqlite]",
    ),
    twin(
        "a ticket is confirmed twice",
        "store/repositories/identity/launches.py",
        "AND visitor_hash = :visitor AND confirmed_at IS NULL",
        "AND visitor_hash = :visitor",
        "tests/contract/test_launch.py::test_of_many_confirmations_at_once_one_opens_a_session[sqlite]",
    ),
    twin(
        "a ticket that was taken may be confirmed tomorrow",
        "store/repositories/identity/launches.py",
        "AND confirmed_at IS NULL AND used_at > :since",
        "AND confirmed_at IS NULL AND (used_at > :since OR 1 = 1)",
        f"{TICKETS}::test_a_ticket_that_was_taken_is_confirmed_within_five_minutes[sqlite-0-False]",
    ),
    twin(
        "a disabled client gets tickets",
        "store/repositories/identity/launches.py",
        "AND a.number = :account AND c.id = :client AND c.disabled_at IS NULL",
        "AND a.number = :account AND c.id = :client",
        f"{TICKETS}::test_a_client_that_is_disabled_while_it_asks_gets_no_ticket[sqlite]",
    ),
    twin(
        "a session has no end but idleness",
        "store/repositories/identity/customers.py",
        "AND seen_at > :idle_since AND ends_at > :now AND",
        "AND seen_at > :idle_since AND (ends_at > :now OR 1 = 1) AND",
        "tests/contract/test_sessions.py::test_a_session_ends_after_thirty_minutes_whatever_happens[sqlite]",
    ),
)

TWINS_OF_CERTIFICATES = (
    twin(
        "an approval may be old when it is submitted",
        "store/repositories/ra/orders.py",
        "AND state = :start AND coded_at > :since AND expires_at > :now",
        "AND state = :start AND expires_at > :now",
        f"{BARRIERS}::test_no_approval_is_submitted_by_a_look_at_the_clock_after_it_grew_too_old[sqlite]",
    ),
    twin(
        "an order that has run out is submitted",
        "store/repositories/ra/orders.py",
        "AND state = :start AND coded_at > :since AND expires_at > :now",
        "AND state = :start AND coded_at > :since",
        f"{BARRIERS}::test_no_verb_is_taken_by_a_look_at_the_clock_after_its_order_ran_out[sqlite-confirm]",
    ),
    twin(
        "one code is enough where two are asked",
        "store/repositories/ra/orders.py",
        "AND spki_sha256 = :spki AND {BOTH_GIVEN}\n",
        "AND spki_sha256 = :spki AND ({BOTH_GIVEN} OR 1 = 1)\n",
        "tests/contract/test_both_codes.py::test_the_guard_stands_in_the_sql_and_the_ca_demands_both[sqlite]",
    ),
    twin(
        "a renewal goes on while its old certificate is on hold",
        "store/repositories/ra/successors.py",
        "WHERE serial = :serial AND state = 'active' RETURNING serial",
        "WHERE serial = :serial RETURNING serial",
        f"{BARRIERS}::test_a_certificate_put_on_hold_while_its_renewal_is_signed_gets_no_successor[sqlite]",
    ),
    twin(
        "an ended certificate becomes active",
        "store/repositories/ra/fulfilment.py",
        "WHERE serial = :serial AND state = 'issued' RETURNING serial",
        "WHERE serial = :serial RETURNING serial",
        f"{ORDERS}::test_a_certificate_that_was_ended_before_its_proof_never_becomes_active[sqlite-revoked]",
    ),
    twin(
        "a renewed certificate on hold is superseded",
        "store/repositories/ra/fulfilment.py",
        "WHERE serial = :old AND (state = 'active' OR",
        "WHERE serial = :old AND (state IN ('active', 'held') OR",
        f"{BARRIERS}::test_a_certificate_put_on_hold_before_its_successor_is_proved_keeps_it_from_being_active[sqlite]",
    ),
    twin(
        "a nonce signs two keys",
        "store/repositories/ra/binding.py",
        "AND (CAST(:used AS {bytes}) IS NULL OR nonce = :used) AND login_factors = :known\n  AND (spki",
        "AND login_factors = :known\n  AND (spki",
        "tests/contract/test_races_orders.py::test_a_key_bound_from_two_nodes_with_one_proof_uses_its_nonce_once[sqlite]",
    ),
    twin(
        "another login's key is replaced",
        "store/repositories/ra/binding.py",
        "AND (spki_sha256 IS NULL OR bound_login = :login OR proved_login = :login)",
        "",
        f"{WHOSE}::test_the_guard_against_another_logins_key_stands_in_the_sql[sqlite]",
    ),
    twin(
        "another customer's key is certified",
        "store/repositories/ra/binding.py",
        "WHERE keys.customer = :customer AND keys.blocked IS NULL",
        "WHERE keys.blocked IS NULL",
        "tests/contract/test_journey_keys.py::"
        "test_i7_another_customers_key_is_refused_even_with_its_proof_of_possession[sqlite]",
    ),
    twin(
        "a revocation needs no fresh approval",
        "store/repositories/ra/revoking.py",
        "AND state = 'coded' AND coded_at > :since AND",
        "AND state = 'coded' AND (coded_at > :since OR 1 = 1) AND",
        f"{BARRIERS}::test_no_certificate_is_revoked_by_a_look_at_the_clock_after_its_approval_grew_too_old[sqlite]",
    ),
    twin(
        "a revocation is confirmed by another login than the one that gave the code",
        "store/repositories/ra/revoking.py",
        "  AND approved_login = :login AND login_factors = :known",
        "  AND (approved_login = :login OR 1 = 1) AND login_factors = :known",
        f"{BARRIERS}::test_a_revocation_that_another_login_has_approved_meanwhile_is_not_confirmed_by_this_one[sqlite]",
    ),
    twin(
        "an order is submitted though its code's channel was a factor of a login",
        "store/repositories/ra/orders.py",
        "AND {HELD_HERE} AND login_factors = :known AND spki_sha256 = :spki",
        "AND {HELD_HERE} AND (login_factors = :known OR 1 = 1) AND spki_sha256 = :spki",
        f"{BARRIERS}::test_a_login_that_uses_the_codes_channel_meanwhile_keeps_a_renewal_from_being_submitted[sqlite]",
    ),
    twin(
        "two lists have one number",
        "store/repositories/va/lists.py",
        "WHERE crls.number < :number RETURNING number",
        "WHERE (crls.number < :number OR 1 = 1) RETURNING number",
        f"{ISSUANCE}::test_of_two_lists_with_one_number_the_second_is_not_published[sqlite]",
    ),
    twin(
        "a list that lacks a revocation is as good as new",
        "store/repositories/va/lists.py",
        "AND seen_mark IS NOT now.mark AS changed",
        "AND seen_mark IS NULL AS changed",
        "tests/contract/test_list_marks.py::test_i26_a_revocation_of_another_shard_or_issuer_is_none_of_a_list[sqlite]",
    ),
    twin(
        "a revocation is confirmed by any terms",
        "ra/revocation.py",
        "if consent != consent_for(order, self._issuer.name).sha256:",
        "if not consent:",
        f"{ORDERS}::test_a_revocation_is_confirmed_by_its_own_terms_only[sqlite]",
    ),
    twin(
        "a year is a month",
        "ra/revocation.py",
        "context.policy.revocations_per_year, timedelta(days=365)",
        "context.policy.revocations_per_year, timedelta(days=30)",
        f"{ORDERS}::test_twenty_revocations_count_for_a_year[sqlite-40-False]",
    ),
    twin(
        "a signed statement may name another certificate",
        "pki/proof.py",
        "statement.certificate_sha256 == expected.certificate_sha256 == digest",
        "expected.certificate_sha256 == digest",
        f"{ORDERS}::test_a_renewal_whose_signed_statement_names_another_certificate_is_refused[sqlite]",
    ),
    twin(
        "the CA's certificate is of another key",
        "ra/issuing.py",
        "if answer.spki_sha256 != order.spki_sha256:",
        "if not answer.spki_sha256:",
        f"{ISSUANCE}::test_a_certificate_of_another_key_than_the_orders_is_taken_from_no_ca[sqlite]",
    ),
    twin(
        "what was given up is handed out",
        "ca/embedded.py",
        "if not await self._record(reservation, issued.certificate_der):",
        "if await self._record(reservation, issued.certificate_der) is None:",
        f"{ISSUANCE}::test_the_ca_itself_hands_out_no_certificate_whose_serial_was_given_up_meanwhile[sqlite]",
    ),
    twin(
        "a late signature is recorded",
        "store/repositories/ca/certificates.py",
        "SET der = :der, state = 'issued', issued_at = :now, answer_due = :now\n"
        "WHERE serial = :serial AND state = 'reserved'",
        "SET der = :der, state = 'issued', issued_at = :now, answer_due = :now\nWHERE serial = :serial",
        f"{ISSUANCE}::test_a_signature_that_comes_after_its_serial_was_given_up_is_not_recorded[sqlite]",
    ),
    twin(
        "what is revoked is given as issued",
        "ca/embedded.py",
        "_GIVEN = frozenset({CertificateState.ISSUED, CertificateState.HELD})",
        "_GIVEN = frozenset({CertificateState.ISSUED, CertificateState.HELD, CertificateState.REVOKED})",
        f"{ISSUANCE}::test_a_certificate_that_was_revoked_is_never_given_as_issued[sqlite]",
    ),
    twin(
        "a release brings back what was revoked",
        "store/repositories/ca/certificates.py",
        "WHERE serial = :serial AND state = 'held' RETURNING serial",
        "WHERE serial = :serial RETURNING serial",
        "tests/contract/test_guards_issuance.py::"
        "test_a_release_that_met_a_revocation_on_its_way_brings_nothing_back[sqlite]",
    ),
    twin(
        "a later reason takes the first one's place",
        "store/repositories/ca/certificates.py",
        "WHERE serial = :serial AND state IN ('issued', 'held') RETURNING serial",
        "WHERE serial = :serial AND state IN ('issued', 'held', 'revoked') RETURNING serial",
        "tests/contract/test_guards_issuance.py::"
        "test_a_revocation_that_met_another_on_its_way_leaves_the_first_ones_reason[sqlite]",
    ),
    twin(
        "a reserved serial is good",
        "va/responder.py",
        "if found is None or found.state is CertificateState.RESERVED:",
        "if found is None:",
        "tests/contract/test_issuance.py::"
        "test_i1_i4_a_crash_around_the_signature_orphans_the_serial_and_the_order_gets_another[sqlite-before]",
    ),
    twin(
        "an answer signed before a change is given after it",
        "va/responder.py",
        "            or signed.status_version != found.status_version\n",
        "",
        "tests/contract/test_presigning.py::test_i25_an_answer_signed_before_a_revocation_is_never_given_after_it[sqlite]",
    ),
    twin(
        "a kept answer is given whatever the record says",
        "va/responder.py",
        "            if kept is not None and kept.status == statuses[0] and now < kept.fresh_until:",
        "            if kept is not None and now < kept.fresh_until:",
        "tests/contract/test_status.py::"
        "test_i25_a_revocation_shows_on_every_node_at_once_though_their_answers_were_kept[sqlite]",
    ),
    twin(
        "an answer outlives the certificate that signs it",
        "va/responder.py",
        "next_update = min(now + LIFE, responder.not_after)",
        "next_update = now + LIFE",
        "tests/contract/test_status.py::test_i28_no_answer_outlives_the_certificate_that_signs_it[sqlite]",
    ),
    twin(
        "a request has unused bits behind its signature",
        "pki/csr.py",
        'info.subject.tag_bytes != b"0" or request.signature.padding_bits():',
        'info.subject.tag_bytes != b"0":',
        f"{BROKEN}::test_every_broken_field_of_a_request_is_refused[ec]",
    ),
    twin(
        "a signed attribute has two values",
        "pki/cms.py",
        "if len(single) != 1 or attribute.type in values:",
        "if not single or attribute.type in values:",
        f"{BROKEN}::test_a_proof_whose_broken_attributes_are_signed_is_refused[ec]",
    ),
    twin(
        "an approval may be as old as it likes in the records",
        "ca/approval.py",
        "if max(times) - min(times) > terms.approval_life + MARGIN:",
        "if max(times) < min(times):",
        "tests/contract/test_distrust.py::"
        "test_an_approval_that_was_too_old_is_missed_though_the_row_says_that_it_is_fresh[sqlite]",
    ),
)
