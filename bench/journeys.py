"""J: complete journeys over HTTP beside the yardstick, in alternating rounds; then arrivals at a fixed rate."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine
from bench.clients import Clients, Round
from bench.figures import Result, median, percentile, ratios, shown
from bench.journey import STEPS
from bench.machine import Use
from bench.world import BenchSite, Options, measuring, say, yardstick_running

SHARE = 0.6
STEPS_COUNTED = 12
"""A journey counts for so many of the yardstick's requests, also when some of its own are merged one day."""
KEYS_A_SECOND = 60
"""New keys that each client makes before a round, for each of its seconds; more are made as they are needed."""


def measure(world: BenchSite) -> list[Result]:
    """Return J's rows."""
    with measuring(world, SHARE) as group, yardstick_running(world) as posts:
        world.groups["clients"] = group.pids
        world.groups["yardstick clients"] = posts.pids
        try:
            return _measured(world, group, posts)
        finally:
            del world.groups["clients"], world.groups["yardstick clients"]


def _measured(world: BenchSite, group: Clients, posts: Clients) -> list[Result]:
    options = world.options
    closed(world, group, options.warm)  # statements get prepared, the users spread over the steps
    journeys: list[Round] = []
    yards: list[Round] = []
    uses: list[Use] = []
    for number in range(options.rounds):
        with used(world, uses):
            journeys.append(closed(world, group, options.seconds))
        yards.append(_yard(posts, options))
        say(
            f"J round {number + 1}: {journeys[-1].journeys_a_second:.1f} journeys/s, "
            f"{journeys[-1].requests_a_second:.0f} requests/s; yardstick {yards[-1].requests_a_second:.0f}"
        )
    group.all({"do": "finish"})
    rows = _rows(world, journeys, yards, uses)
    rate = max(1.0, median([one.journeys_a_second for one in journeys]) / 2)
    return rows + _at_rate(world, group, rate)


def closed(world: BenchSite, group: Clients, seconds: float) -> Round:
    """Let the users go on for a while."""
    options = world.options
    group.all({"do": "prepare", "keys": int((options.warm + seconds) * KEYS_A_SECOND)})
    return sound(group.round({"do": "journeys", "c": options.concurrency, "warm": options.warm, "seconds": seconds}))


def _yard(posts: Clients, options: Options) -> Round:
    return sound(
        posts.round(
            {
                "do": "posts",
                "path": "/said",
                "most": options.customers,
                "c": options.concurrency,
                "warm": 0.5,
                "seconds": options.seconds,
            }
        )
    )


def sound(done: Round) -> Round:
    """Return the round; RuntimeError when a customer did not get through, because such a figure means nothing."""
    if done.failed:
        raise RuntimeError(f"{done.failed} requests or journeys failed: {'; '.join(done.faults)}")
    return done


@contextmanager
def used(world: BenchSite, uses: list[Use]) -> Iterator[None]:
    """Note the CPU time of what is measured inside (warming and draining of the round included)."""
    before = machine.sample(world.measured())
    yield
    uses.append(machine.between(before, machine.sample(world.measured())))


def _rows(world: BenchSite, journeys: list[Round], yards: list[Round], uses: list[Use]) -> list[Result]:
    options, use = world.options, machine.added(uses)
    done = sum(one.journeys_a_second for one in journeys) * (options.warm + options.seconds)
    cost = {name: round(seconds / done * 1000, 2) for name, seconds in use.groups.items() if seconds}
    twelve = [STEPS_COUNTED * one.journeys_a_second for one in journeys]
    yard = [one.requests_a_second for one in yards]
    conditions = world.conditions(
        concurrency=options.concurrency,
        requests_a_journey=len(STEPS),
        journeys_proved_within_the_windows=sum(len(one.steps.get("prove", ())) for one in journeys),
        codes="by SMTP to a sink process, read by the client",
        cpu_ms_a_journey=cost,
        busiest_client_share_of_a_core=round(max(one.busiest for one in journeys), 2),
        yardstick_client_share_of_a_core=round(max(one.busiest for one in yards), 2),
        raised_limits="none",
    )
    share = median(ratios(twelve, yard))
    limited = use.sentence()
    rows = [
        Result(
            "J",
            "journeys/s",
            tuple(one.journeys_a_second for one in journeys),
            "12 x this, over requests/s of SELECT + INSERT",
            share,
            "0.30",
            limited,
            conditions,
        ),
        Result("J.yardstick", "requests/s", tuple(yard), limited_by="CPU", conditions=conditions),
    ]
    return rows + _latencies(journeys, "J.p99", conditions)


def _at_rate(world: BenchSite, group: Clients, rate: float) -> list[Result]:
    options = world.options
    uses: list[Use] = []
    seconds = options.seconds * (1 if options.quick else 3)
    group.all({"do": "prepare", "keys": int(rate * seconds)})
    command = {"do": "journeys", "rate": rate, "warm": options.warm, "seconds": seconds}
    with used(world, uses):
        done = sound(group.round(command))
    conditions = world.conditions(
        arrivals_a_second=round(rate, 1), seconds_a_round=seconds, busiest_client_share_of_a_core=round(done.busiest, 2)
    )
    say(f"J at {rate:.1f} journeys/s: {uses[0].sentence()}")
    rows = _latencies([done], "J.half.p99", conditions)
    return [*rows, *_latencies([done], "J.half.p50", conditions, 0.5)]


def _latencies(rounds: list[Round], name: str, conditions: dict[str, object], share: float = 0.99) -> list[Result]:
    """Return a row for all requests together, with each step's own in the conditions."""
    steps: dict[str, float] = {}
    for step in STEPS:
        took = [seconds for one in rounds for seconds in one.steps.get(step, ())]
        if took:
            steps[step] = round(percentile(took, share) * 1000, 1)
    each = tuple(percentile([s for took in one.steps.values() for s in took], share) * 1000 for one in rounds)
    worst = max(steps, key=lambda step: steps[step])
    half = name == "J.half.p99"
    return [
        Result(
            name,
            "ms a request",
            each,
            target="each under 150" if half else "",
            limited_by=f"slowest: {worst} {shown(steps[worst])} ms",
            conditions={**conditions, "ms_by_request": steps},
        )
    ]
