"""The house rules that a reader of the syntax tree can judge: each takes a module and names what breaks it."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "chopmark"

LONGEST_FILE = 500
LONGEST_FUNCTION = 60

CLOCK_READERS = {"app/foundation.py", "app/machine.py"}
CATCH_ALL_HOMES = {"web/problems.py", "jobs/loop.py", "cli/command_line.py"}
WRITERS = {
    "audit/durable.py",
    "audit/journalfile.py",  # a probe
    "cli/audit.py",  # a public key, to a file or device that the operator names
    "cli/customers.py",  # a report
    "store/engine/sqlite_notifier.py",  # a watched folder, which holds nothing
}
PRINTERS = {"cli/command_line.py"}

CLOCKS_AND_DICE = re.compile(
    r"(datetime\.(datetime\.(now|utcnow|today)|date\.today)|(time|secrets|random)(\..+)?|os\.(urandom|getrandom)"
    r"|uuid\.uuid[14]|ssl\.RAND_bytes)"
)
SQL = re.compile(
    r"\bSELECT\s.*\bFROM\b|\b(INSERT\s+INTO|DELETE\s+FROM|ALTER\s+TABLE|DROP\s+TABLE|CREATE\s+(TABLE|INDEX|UNIQUE))\b"
    r"|\bUPDATE\s+\w+\s+SET\b|\binsert into \w+ ?\(|\bdelete from \w+ where\b|\bupdate \w+ set \w+ ?=",
    re.DOTALL,
)
CLOCK_IN_SQL = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|random|randomblob|gen_random_uuid|unixepoch"
    r"|julianday)\s*\(|\bcurrent_(timestamp|time|date)\b|'now'",
    re.IGNORECASE,
)
SECRET_NAME = re.compile(
    r"(\w+_)?(mac|hmac|token|otp|secret|password|passphrase)|((given|right|wanted|expected|derived|typed|sent)_)?code"
)
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|pragma: no cover|type: ignore")
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Module:
    """One Python file of the package; `path` is relative to src/chopmark, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def imported(self) -> dict[str, str]:
        """What each imported name stands for, dotted: `dt` -> `datetime.datetime`."""
        names: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    def dotted(self, node: ast.AST) -> str | None:
        """The full name of `datetime.now` and the like, when it begins with an import."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id)
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)):
            return f"{owner}.{node.attr}"
        return None

    @cached_property
    def literals(self) -> list[tuple[int, str]]:
        """Every string in the code with its line, docstrings apart; the parts of an f-string joined."""
        skip: set[int] = set()
        found: list[tuple[int, str]] = []
        for node in self.nodes:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                skip.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "x" for v in node.values]
                skip.update(id(v) for v in node.values)
                found.append((node.lineno, "".join(map(str, parts))))
        found += [
            (n.lineno, n.value)
            for n in self.nodes
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in skip
        ]
        return found


Rule = Callable[[Module], Iterator[str]]


def time_and_randomness_are_arguments(module: Module) -> Iterator[str]:
    if module.path in CLOCK_READERS:
        return
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            name = module.dotted(node)
            if name and CLOCKS_AND_DICE.fullmatch(name):
                yield f"{module.path}:{node.lineno} {name}"


def sql_stands_in_store(module: Module) -> Iterator[str]:
    if not module.path.startswith("store/"):
        for line, literal in module.literals:
            if SQL.search(literal):
                yield f"{module.path}:{line} {literal[:60]!r}"


CLOCK_ASKED = ("store/repositories/readiness.py", "SELECT CURRENT_TIMESTAMP AS now")


def sql_reads_no_clock_and_rolls_no_dice(module: Module) -> Iterator[str]:
    """But for one question, which `chopmark check` compares with the machine's clock."""
    for line, literal in module.literals:
        if (module.path, literal) == CLOCK_ASKED:
            continue
        if module.path.startswith("store/") and (found := CLOCK_IN_SQL.search(literal)):
            yield f"{module.path}:{line} {found[0]}"


LOCKING = re.compile(r"\bLIMIT\s+\S+\s+(?:\{lock\}|FOR\s+UPDATE)")


def rows_to_lease_are_chosen_once(module: Module) -> Iterator[str]:
    """What locks rows up to a LIMIT stands in a materialised WITH (`store/repositories/leases.py`)."""
    for line, literal in module.literals if module.path.startswith("store/") else ():
        for found in LOCKING.finditer(literal):
            depth, place = 0, found.start()
            while place > 0 and depth >= 0:
                place -= 1
                depth += {")": 1, "(": -1}.get(literal[place], 0)
            if not literal[:place].rstrip().endswith("AS MATERIALIZED"):
                yield f"{module.path}:{line} {literal[place : place + 60]!r}"


def postgresql_is_reached_by_one_route(module: Module) -> Iterator[str]:
    """There the address is judged, and the session's settings are made and read back."""
    if module.path == "store/engine/postgres_route.py":
        return
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            name = module.dotted(node)
            if name and re.fullmatch(r"asyncpg\.(connection\.connect|connect|create_pool|pool\.create_pool)", name):
                yield f"{module.path}:{node.lineno} {name}"


def everything_is_caught_in_three_homes_only(module: Module) -> Iterator[str]:
    """Cleaning up on the way out is no catching: `except BaseException: ...; raise` lets everything pass."""
    if module.path in CATCH_ALL_HOMES:
        return
    for node in module.nodes:
        caught: list[ast.AST | None] = []
        if isinstance(node, ast.ExceptHandler) and not _passes_on(node):
            caught = list(node.type.elts) if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and module.dotted(node.func) == "contextlib.suppress":
            caught = list(node.args)
        for kind in caught:
            if kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}):
                yield f"{module.path}:{getattr(node, 'lineno', 0)} catches everything"


def _passes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    records = any(isinstance(n, ast.Return | ast.Break | ast.Continue) for n in ast.walk(handler))
    return (
        isinstance(handler.type, ast.Name)
        and handler.type.id == "BaseException"
        and isinstance(last, ast.Raise)
        and last.exc is None
        and not records
    )


def files_and_folders_are_made_durably(module: Module) -> Iterator[str]:
    """By `audit.durable`: what was acknowledged survives the pulled plug. Demo and tests may lose theirs."""
    if module.path in WRITERS or module.path.startswith(("demo/", "testing/")):
        return
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"write_bytes", "write_text", "mkdir"}:
            yield f"{module.path}:{node.lineno} {node.attr}"


COUNTED = (
    "alarms|anchors|certificates|chains|contacts|customers|entries|faults|failures|files|heads|jobs|keys|leaves|lines"
    "|mails|messages|minutes|octets|orders|proxies|records|reminders|seconds|tickets|times"
)


def what_is_counted_agrees_with_its_number(module: Module) -> Iterator[str]:
    """`1 customer`, `2 customers`: `core.counted` writes both. A constant is never one."""
    for node in module.nodes:
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for value, following in pairwise(parts):
            if not (isinstance(value, ast.FormattedValue) and isinstance(following, ast.Constant)):
                continue
            found = re.match(rf" (?:(?!of )[a-z-]+ )?(?:{COUNTED})\b", str(following.value))
            if found and not _last_name(value.value).isupper():
                yield f"{module.path}:{value.lineno} {{{ast.unparse(value.value)}}}{found[0]}"


def only_commands_print(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if (
            module.path not in PRINTERS
            and isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ):
            yield f"{module.path}:{node.lineno} print"


def secrets_are_compared_in_constant_time(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if not isinstance(node, ast.Compare) or not any(isinstance(o, ast.Eq | ast.NotEq) for o in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if not any(map(_is_public_word, sides)) and any(SECRET_NAME.fullmatch(_last_name(s)) for s in sides):
            yield f"{module.path}:{node.lineno} {ast.unparse(node)}"


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    return getattr(node, "attr", None) or getattr(node, "id", None) or ""


def _is_public_word(node: ast.AST) -> bool:
    """A literal or an enum's member: nothing an attacker could learn by timing."""
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Attribute) and node.attr.isupper())


def a_file_tells_one_story(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{module.path}: {lines} lines"


def a_function_fits_a_screen(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if body and (lines := (node.end_lineno or 0) - body[0].lineno + 1) > LONGEST_FUNCTION:
                yield f"{module.path}:{node.lineno} {node.name}: {lines} lines"


def nothing_is_left_for_later(module: Module) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT and LEFTOVER.search(token.string):
            yield f"{module.path}:{token.start[0]} {token.string}"
    for node in module.nodes:
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield f"{module.path}:{node.lineno} NotImplementedError"


def a_sentence_is_a_literal_with_all_its_values(module: Module) -> Iterator[str]:
    """`words.text("... %(n)s ...", n=...)`: found by the translator, and complete."""
    for call in text_calls(module):
        msgid = call.args[0] if call.args else None
        if not isinstance(msgid, ast.Constant) or not isinstance(msgid.value, str):
            yield f"{module.path}:{call.lineno} the message id is not a literal"
            continue
        given = {k.arg for k in call.keywords}
        if None not in given and given != set(PLACEHOLDER.findall(msgid.value)):
            yield f"{module.path}:{call.lineno} values {sorted(map(str, given))} for {msgid.value!r}"


def text_calls(module: Module) -> Iterator[ast.Call]:
    """The calls of `words.text`, however it was imported."""
    for node in module.nodes:
        if isinstance(node, ast.Call) and module.dotted(node.func) == "chopmark.core.types.text":
            yield node


def message_ids(module: Module) -> Iterator[str]:
    """The sentences of a module that a translator must know."""
    for call in text_calls(module):
        if call.args and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def modules() -> list[Module]:
    """Every Python file under src/chopmark."""
    return [
        Module(p.relative_to(SOURCE).as_posix(), p.read_text(encoding="utf-8")) for p in sorted(SOURCE.rglob("*.py"))
    ]
