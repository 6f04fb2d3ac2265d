"""The bench's arithmetic: what stands in its table and JSON is what the rounds say."""

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from bench import chart, issuing, lapses, people
from bench.figures import Result, as_json, median, percentile, ratios, shown, spread, table
from bench.machine import Sample, between
from bench.profiling import layers
from chopmark.audit.record import AuditKey, AuditKeys
from chopmark.ca.approval import Approval, ApprovalTerms, judge
from chopmark.core.types import OrderId
from chopmark.ra.customer_import.sheet import Column as SheetColumn
from chopmark.ra.customer_import.sheet import Row, check_cells
from chopmark.tw.zone import local_date

MEMBERS = {"id", "value", "unit", "against", "ratio", "spread", "target", "limited_by", "conditions"}


def test_the_median_is_the_middle_round_or_the_mean_of_the_two_middle_ones():
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_the_spread_is_the_distance_of_the_extremes_as_a_part_of_the_median():
    assert spread([90, 100, 130]) == pytest.approx(0.4)
    assert spread([7]) == 0


def test_a_percentile_is_the_nearest_rank():
    hundred = list(range(1, 101))
    assert percentile(hundred, 0.99) == 99
    assert percentile(hundred, 0.5) == 50
    assert percentile([5], 0.99) == 5
    assert percentile([1, 2, 3], 1.0) == 3


def test_a_ratio_pairs_each_round_with_the_limit_measured_next_to_it():
    assert ratios([50, 30], [100, 100]) == [0.5, 0.3]
    with pytest.raises(ValueError, match="zip"):
        ratios([1, 2], [1])


def result(**more):
    return Result("J", "journeys/s", (100.0, 120.0, 110.0), "the yardstick", 0.61, "0.6", "CPU", {"cores": 2}, **more)


def test_the_json_has_the_median_the_ratio_the_spread_and_the_conditions_of_each_result():
    document = json.loads(as_json([result(), Result("M", "MiB", (90.0,))], {"cores": 2}))
    assert document["machine"] == {"cores": 2}
    first, second = document["results"]
    assert set(first) == set(second) == MEMBERS
    assert (first["id"], first["value"], first["unit"]) == ("J", 110.0, "journeys/s")
    assert (first["against"], first["ratio"]) == ("the yardstick", 0.61)
    assert first["spread"] == pytest.approx(20 / 110, abs=1e-4)
    assert first["conditions"] == {"cores": 2}
    assert second["ratio"] is None


def test_the_table_is_markdown_with_a_row_a_result():
    lines = table([result(), Result("M", "MiB", (1234.5,))]).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "0.61" in lines[2]
    assert "1,234" in lines[3]


def test_a_number_is_shown_with_what_counts():
    assert [shown(value) for value in (12345.6, 99.94, 1.234)] == ["12,346", "99.9", "1.23"]


def test_what_strangers_used_is_told_apart_from_what_the_bench_used():
    use = between(Sample({"server": 1.0}, 10.0, 40.0), Sample({"server": 3.0}, 16.0, 50.0))
    assert use.busy_share == pytest.approx(0.6)
    assert use.share("server") == pytest.approx(0.2)
    assert use.strangers == pytest.approx(0.4)


@pytest.mark.parametrize("i", [0, 1, 7, 999_999, 5_000_000])
def test_every_made_up_customer_is_a_line_that_intake_takes(i):
    row = people.row(i)
    cells = {column: row[column.value] for column in SheetColumn}
    checked = check_cells(cells, 2, local_date(datetime(2026, 3, 16, tzinfo=UTC)))
    assert isinstance(checked, Row)
    assert checked.customer == people.number(i)
    assert checked.email == people.email(i)
    assert checked.mobile == people.mobile(i)
    assert checked.accounts[0].number == people.account(i)
    assert checked.person.value == people.person_id(i)


def test_the_records_of_the_orders_that_the_bench_issues_for_show_an_approval():
    key, order = AuditKey("k", bytes(32)), OrderId("A" * 26)
    records = issuing.approved_records(order, b"a key", people.number(1), key)
    terms = ApprovalTerms(AuditKeys([key]), timedelta(hours=1), timedelta(0))

    assert isinstance(judge(order, records, terms), Approval)


def test_the_chart_is_well_formed_and_has_a_line_a_series():
    drawn = chart.lines("Cost & size", {"a<b": [(10, 1), (100, 2)], "c": [(10, 3), (100, 4)]}, "customers", "ms")
    root = ET.fromstring(drawn)
    strokes = [one for one in root.iter("{http://www.w3.org/2000/svg}path") if one.get("fill") == "none"]
    assert len(strokes) == 2


def test_bars_are_as_long_as_their_values_and_names_cannot_break_the_drawing():
    drawing = ET.fromstring(chart.bars("Lapses & more", {"none": 50.0, "<all>": 25.0}, "%"))
    widths = [float(bar.attrib["width"]) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert any(word.text == "<all>" for word in drawing.iter("{http://www.w3.org/2000/svg}text"))
    with pytest.raises(ValueError, match="needs a value"):
        chart.bars("empty", {}, "%")


def test_the_simulation_is_the_same_every_time_and_reminders_help():
    first, again = (lapses.run(60, 200, 7) for _ in range(2))
    assert lapses.table(first) == lapses.table(again)
    none, shipped = first["no reminder"], first["as shipped"]
    assert none.messages.total() == 0
    assert none.share > shipped.share > 0
    assert shipped.lapsed.total() >= shipped.unreachable


def test_a_profile_counts_a_sample_for_the_innermost_layer_and_leaves_idle_threads_out() -> None:
    raw = """\
run (asyncio/runners.py:190);handle (litestar/routes/http.py:62);once (chopmark/web/api.py:95) 2
run (asyncio/runners.py:190);bind (chopmark/ra/rekey.py:90);replace (dataclasses.py:1453) 5
run (asyncio/runners.py:190);poll (selectors.py:451) 1
main (elsewhere.py:1) 2
_bootstrap (threading.py:1002);_worker (concurrent/futures/thread.py:81) 90"""
    found = {line[:34].strip(): line[34:].split() for line in layers(raw, 20.0).splitlines()[1:]}
    assert found == {
        "ra, stepup, identity": ["50.0%", "10.00"],
        "own web layer, Jinja": ["20.0%", "4.00"],
        "what is in no layer": ["20.0%", "4.00"],
        "event loop": ["10.0%", "2.00"],
        "all": ["20.00"],
    }
