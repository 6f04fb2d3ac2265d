"""What a script is before any engine runs it: placeholders and steps."""

import pytest

from chopmark.store.engine.script import Notify, Script, ScriptRun, compiled, query, whole


@pytest.mark.parametrize(
    ("sql", "numbered", "names"),
    [
        ("SELECT :a", "SELECT $1", ("a",)),
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
        ("SELECT a::text, :a::bigint", "SELECT a::text, $1::bigint", ("a",)),
        ("SELECT ':a', :b", "SELECT ':a', $1", ("b",)),
        ("SELECT 'it''s :a', :b", "SELECT 'it''s :a', $1", ("b",)),
        (r"SELECT E'\' :a', :b", r"SELECT E'\' :a', $1", ("b",)),
        ('SELECT ":a", :b', 'SELECT ":a", $1', ("b",)),
        ("SELECT $q$ :a $q$, $$ :a $$, :b", "SELECT $q$ :a $q$, $$ :a $$, $1", ("b",)),
        ("SELECT f(x := 1, y => :b)", "SELECT f(x := 1, y => $1)", ("b",)),
        ("SELECT 1 -- it's :a\n, :b", "SELECT 1 -- it's :a\n, $1", ("b",)),
        ("SELECT /* it's :a */ :b", "SELECT /* it's :a */ $1", ("b",)),
        ("SELECT :a1_b,:a1", "SELECT $1,$2", ("a1_b", "a1")),
    ],
)
def test_only_placeholders_are_numbered(sql, numbered, names):
    statement = compiled(sql)

    assert (statement.numbered, statement.names) == (numbered, names)


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_values_that_do_not_fit_the_placeholders_are_a_mistake_of_ours(values):
    with pytest.raises(ValueError, match="differ"):
        compiled("SELECT :a, :b").arguments(values)


def test_a_value_may_be_called_sql():
    assert query("SELECT :sql", sql="x").values == {"sql": "x"}


def test_notices_are_kept_and_never_reach_the_database():
    def script() -> Script[str]:
        yield Notify("work")
        yield query("SELECT 1")
        yield Notify("heads")
        return "done"

    script_run = ScriptRun(script())

    assert script_run.first() == query("SELECT 1")
    assert script_run.next([]) is None
    assert (script_run.answer, script_run.channels) == ("done", ["work", "heads"])


@pytest.mark.parametrize("first_is_whole", [True, False])
def test_a_whole_statement_has_no_other_beside_it(first_is_whole):
    def script() -> Script[None]:
        yield whole("SELECT 1") if first_is_whole else query("SELECT 1")
        yield query("SELECT 2") if first_is_whole else whole("SELECT 2")

    script_run = ScriptRun(script())
    script_run.first()

    with pytest.raises(RuntimeError, match="whole"):
        script_run.next([])
