"""The faults that `make mutants` makes: wrong guards that are still programs, and nothing else."""

import re

import pytest

from tests.architecture.rules import REPOSITORY, SOURCE
from tools.mutants import modules as table
from tools.mutants.equivalent import EQUIVALENT
from tools.mutants.faults import faults
from tools.mutants.modules import GROUPS, MODULES

SQL = '''
_TAKE = f"""
UPDATE t SET used = used + 1, old = NULL
WHERE id = :id AND state IN ('open', 'bound') AND {OURS} AND until > :now AND used < :most RETURNING id
"""
'''
PYTHON = '''
"""A docstring about 5 things where a = b."""

LIMIT = 5


def verb(given: str, now: int = 0) -> Refusal | None:
    """Say no to 3 things."""
    if now > LIMIT and given:
        return Refusal(Kind.CONFLICT, text("Please wait 7 minutes."), retry_after_s=8)
    if given in {"a", "b"}:
        raise ValueError("no")
    log.info("said", count=9)
    check(given)
    at = clock().replace(microsecond=11)
    return None if not given else first(given)
'''


def made(text: str) -> set[tuple[str, str]]:
    return {(one.before, one.after) for one in faults(text)}


def test_each_guard_in_sql_is_left_out_and_keeps_its_placeholders() -> None:
    found = made(SQL)
    for guard in ("id = :id", "state IN ('open', 'bound')", "{OURS}", "until > :now", "used < :most"):
        assert (guard, f"({guard} OR 1 = 1)") in found
    assert ("used < :most", "used <= :most") in found
    assert ("until > :now", "until >= :now") not in found, "a millisecond is no fault"
    assert {("'open', 'bound'", "'open'"), ("'open', 'bound'", "'bound'")} <= found
    assert ("used + 1", "used + 0") in found
    assert ("old = NULL", "old = old") in found
    names = set(re.findall(r":(\w+)", SQL))
    assert all(set(re.findall(r":(\w+)", one.applied(SQL))) == names for one in faults(SQL))


def test_conditions_checks_steps_elements_and_numbers_are_changed() -> None:
    found = made(PYTHON)
    for before, after in (
        ("now > LIMIT", "(now >= LIMIT)"),
        ("now > LIMIT and given", "(given)"),
        ("now > LIMIT and given", "(now > LIMIT)"),
        ("now > LIMIT and given", "False"),
        ('given in {"a", "b"}', "(given not in {'a', 'b'})"),
        ('{"a", "b"}', "({'b'})"),
        ("check(given)", "pass"),
        ("not given", "(given)"),
        ("5", "(6)"),
    ):
        assert (before, after) in found


def test_words_for_people_logs_types_and_docstrings_are_left_alone() -> None:
    for kept in ("about 5 things", "to 3 things", "wait 7 minutes", "retry_after_s=8", "count=9", "Refusal | None"):
        assert [one for one in faults(PYTHON) if kept not in one.applied(PYTHON)] == []
    assert not {"9", "7", "8", "3", "11"} & {one.before for one in faults(PYTHON)}


@pytest.mark.parametrize(
    "module", ["store/repositories/stepup/challenges.py", "stepup/challenge.py", "ca/embedded.py", "pki/cms.py"]
)
def test_every_fault_is_a_program_and_differs_from_the_module(module: str) -> None:
    text = (SOURCE / module).read_text(encoding="utf-8")
    found = faults(text)
    assert len(found) > 50
    for one in found:
        assert one.applied(text) != text
        compile(one.applied(text), module, "exec")


def beside(module: str) -> list[str]:
    """The modules of today that have this one's name."""
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob(module.rpartition("/")[2]))


def test_the_table_names_modules_and_tests_that_there_are() -> None:
    moved = {module: beside(module) for module in MODULES if not (SOURCE / module).exists()}
    assert moved == {}, "each with the files of its name that there are now"
    named = {path for module in MODULES for path in table.tests_of(module)}
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []
    assert {module for group in GROUPS.values() for module in group} <= MODULES.keys()


def test_what_is_called_equivalent_is_a_fault_of_today_with_a_reason() -> None:
    from tools.mutants.__main__ import numbered

    for (module, name), reason in EQUIVALENT.items():
        assert name in numbered(module), f"{module}: {name}"
        assert len(reason) > 20


def test_a_fault_in_sql_with_which_nothing_ran_was_not_tried() -> None:
    from tools.mutants.__main__ import unsaid

    in_sql, in_python = faults('GONE = "DELETE FROM t WHERE n = :n"\nMOST = 3\n')
    assert [unsaid(one, "broken") for one in (in_sql, in_python)] == [True, False]
    assert not any(unsaid(in_sql, status) for status in ("killed", "survived", "timeout"))
