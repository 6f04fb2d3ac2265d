"""The house rules hold in every file of the package, and each rule finds what it is there for."""

import pytest

from tests.architecture import rules
from tests.architecture.rules import Module, Rule

MODULES = rules.modules()

# rule -> (a path, a source that breaks it), ...
BROKEN: dict[Rule, list[tuple[str, str]]] = {
    rules.time_and_randomness_are_arguments: [
        ("ra/x.py", "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
        ("ra/x.py", "import datetime as dt\nnow = dt.datetime.utcnow()"),
        ("ra/x.py", "from datetime import date\ntoday = date.today()"),
        ("jobs/x.py", "import time\nstart = time.monotonic()"),
        ("web/x.py", "from time import time\nt = time()"),
        ("web/x.py", "from secrets import token_bytes\nt = token_bytes(16)"),
        ("web/x.py", "import random\nrandom.random()"),
        ("web/main.py", "import os\nos.urandom(16)"),
        ("web/x.py", "import uuid\nuuid.uuid4()"),
        (
            "ra/x.py",
            "from dataclasses import field\nfrom datetime import datetime\nf = field(default_factory=datetime.now)",
        ),
    ],
    rules.sql_stands_in_store: [
        ("ra/x.py", "q = 'SELECT id FROM orders'"),
        ("ra/x.py", "q = f'SELECT id FROM {table}'"),
        ("ra/x.py", "q = '''WITH a AS (SELECT 1\\nFROM b) UPDATE orders SET state = 1'''"),
        ("jobs/x.py", "q = 'INSERT INTO leaves VALUES (1)'"),
        ("jobs/x.py", "q = 'delete from leaves where id = 1'"),
    ],
    rules.sql_reads_no_clock_and_rolls_no_dice: [
        ("store/x.py", "q = 'SELECT now()'"),
        ("store/x.py", "q = 'UPDATE orders SET at = CURRENT_TIMESTAMP'"),
        ("store/x.py", "q = \"SELECT strftime('%s', 'now')\""),
        ("store/x.py", "q = 'SELECT gen_random_uuid()'"),
    ],
    rules.rows_to_lease_are_chosen_once: [
        ("store/x.py", "q = 'UPDATE w SET a = 1 WHERE id IN (SELECT id FROM w ORDER BY (b) LIMIT :most {lock})'"),
        ("store/x.py", "q = f'UPDATE w SET a = 1 WHERE id = ANY(ARRAY(SELECT id FROM {w} LIMIT 5 FOR UPDATE))'"),
        ("store/x.py", "q = 'WITH c AS (SELECT id FROM w LIMIT :most {lock}) UPDATE w SET a = 1'"),
    ],
    rules.postgresql_is_reached_by_one_route: [
        ("store/x.py", "import asyncpg\nc = asyncpg.connect(url)"),
        ("store/db.py", "from asyncpg import connect\nmake = lambda: connect(url)"),
        ("store/x.py", "import asyncpg\nc = asyncpg.create_pool(url)"),
    ],
    rules.everything_is_caught_in_three_homes_only: [
        ("ra/x.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("ra/x.py", "try:\n    f()\nexcept:\n    pass"),
        ("web/api/orders.py", "try:\n    f()\nexcept (OSError, BaseException) as e:\n    pass"),
        ("ra/x.py", "try:\n    f()\nexcept Exception:\n    g()\n    raise"),
        ("ra/x.py", "def h():\n  try:\n    f()\n  except BaseException:\n    if g(): return\n    raise"),
        ("ra/x.py", "from contextlib import suppress\nwith suppress(Exception):\n    f()"),
    ],
    rules.files_and_folders_are_made_durably: [
        ("app/x.py", "path.write_bytes(secret)"),
        ("cli/x.py", "await asyncio.to_thread(path.write_text, words)"),
        ("app/x.py", "path.mkdir(parents=True)"),
    ],
    rules.what_is_counted_agrees_with_its_number: [
        ("cli/x.py", 'say(f"{count} lines written to {file}.")'),
        ("cli/x.py", 'say(f"Nothing: {len(found.faults)} faults.")'),
        ("audit/x.py", 'f"{many:,} imported certificates are here"'),
    ],
    rules.only_commands_print: [("web/x.py", "print('hello')")],
    rules.secrets_are_compared_in_constant_time: [
        ("stepup/x.py", "ok = code == given"),
        ("stepup/x.py", "ok = given != self.right_code"),
        ("web/x.py", "ok = csrf_token == form.token"),
        ("audit/x.py", "ok = leaf.mac == mac(leaf)"),
        ("identity/x.py", "ok = password.reveal() == typed"),
    ],
    rules.a_file_tells_one_story: [("ra/x.py", "a = 1\n" * 501)],
    rules.a_function_fits_a_screen: [("ra/x.py", "def f():\n" + "    a = 1\n" * 61)],
    rules.nothing_is_left_for_later: [
        ("ra/x.py", "a = 1  # TODO later"),
        ("ra/x.py", "a = f()  # type: ignore[no-any-return]"),
        ("ra/x.py", "def f():\n    raise NotImplementedError"),
    ],
    rules.a_sentence_is_a_literal_with_all_its_values: [
        ("ra/x.py", "from chopmark.core.types import text\nt = text(sentence)"),
        ("ra/x.py", "from chopmark.core.types import text\nt = text(f'No {x}.')"),
        ("ra/x.py", "from chopmark.core import types\nt = types.text('Wait %(seconds)s seconds.', minutes=1)"),
        ("ra/x.py", "from chopmark.core.types import text\nt = text('Wait %(seconds)s seconds.')"),
    ],
}

# rule -> (a path, a source that keeps it), ...
KEPT: dict[Rule, list[tuple[str, str]]] = {
    rules.time_and_randomness_are_arguments: [
        ("app/foundation.py", "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
        ("app/machine.py", "import secrets\nsecrets.token_bytes(16)"),
        ("ra/x.py", "def f(clock): return clock.now()"),
        ("ra/x.py", "from datetime import datetime\nat = datetime.fromisoformat('2026-01-01')"),
    ],
    rules.sql_stands_in_store: [
        ("store/x.py", "q = 'SELECT id FROM orders'"),
        ("web/x.py", "t = 'Select an account from the list, or update your contact.'"),
        ("ra/x.py", '"""What SELECT id FROM orders would say."""'),
    ],
    rules.rows_to_lease_are_chosen_once: [
        (
            "store/x.py",
            "q = 'WITH c AS MATERIALIZED (SELECT id FROM w WHERE (a) LIMIT :most {lock}) UPDATE w SET a = 1'",
        ),
        ("store/x.py", "q = 'UPDATE w SET a = 1 WHERE id IN (SELECT id FROM w LIMIT :most)'"),
    ],
    rules.everything_is_caught_in_three_homes_only: [
        ("jobs/loop.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("ra/x.py", "try:\n    f()\nexcept OSError:\n    pass"),
        ("store/x.py", "try:\n    f()\nexcept BaseException:\n    rollback()\n    raise"),
    ],
    rules.what_is_counted_agrees_with_its_number: [
        ("cli/x.py", "say(f\"{counted(count, 'line')} written to {file}.\")"),
        ("cli/x.py", 'f"at most {MOST} characters and {MOST_LINES} lines"'),
    ],
    rules.secrets_are_compared_in_constant_time: [
        ("web/x.py", "if refusal.code == 'expired': pass"),
        ("web/x.py", "if response.status_code == expected: pass"),
        ("stepup/x.py", "from hmac import compare_digest\nok = compare_digest(code, given)"),
        ("ra/x.py", "if factor == FactorClass.PASSWORD: pass"),
    ],
    rules.a_sentence_is_a_literal_with_all_its_values: [
        ("ra/x.py", "from chopmark.core.types import text\nt = text('Wait %(seconds)s ' 'seconds.', seconds=3)"),
    ],
}


def name_of(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", BROKEN, ids=name_of)
def test_the_rule_holds_in_every_file_of_the_package(rule: Rule) -> None:
    assert [finding for module in MODULES for finding in rule(module)] == []


@pytest.mark.parametrize("rule", BROKEN, ids=name_of)
def test_the_rule_finds_each_sample_that_breaks_it(rule: Rule) -> None:
    assert [sample for sample in BROKEN[rule] if not list(rule(Module(*sample)))] == []


@pytest.mark.parametrize("rule", KEPT, ids=name_of)
def test_the_rule_accepts_each_sample_that_keeps_it(rule: Rule) -> None:
    assert [finding for sample in KEPT[rule] for finding in rule(Module(*sample))] == []
