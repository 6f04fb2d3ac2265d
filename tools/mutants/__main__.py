"""Runs faults against the tests that concern them, and says which nobody noticed (docs/mutants.md).

    python -m tools.mutants run [--sample N] [--again] [--sql] [--engine postgresql] [MODULE ...]
    python -m tools.mutants table
    python -m tools.mutants survivors [MODULE ...]

What was found is kept in `.mutants/`: a run that was ended goes on where it stood, and `--again` tries only those once
more that survived. A module is named as in tools/mutants/modules.py, or by a group of it: codes, issuance ...
"""

import argparse
import ast
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.mutants import stage, trial
from tools.mutants.equivalent import EQUIVALENT
from tools.mutants.faults import Fault, faults
from tools.mutants.modules import GROUPS, MODULES, tests_of

KEPT = trial.REPOSITORY / ".mutants"
ENGINES = ("sqlite", "postgresql")
LIMIT_S = 300
FILES_AT_ONCE = 8
"""So many files with tests are asked together what they call."""
NOTICED = {"killed", "broken", "timeout"}


def numbered(module: str) -> dict[str, Fault]:
    """Return a module's faults by names that stay when something else in the module changes."""
    named: dict[str, Fault] = {}
    seen = Counter[str]()
    for fault in faults(source(module)):
        seen[fault.name] += 1
        named[f"{fault.name}|{seen[fault.name]}"] = fault
    return named


def source(module: str) -> str:
    """Return the text of a module."""
    return (trial.SOURCE / "chopmark" / module).read_text(encoding="utf-8")


def sampled(module: str, most: int | None, *, sql: bool) -> dict[str, Fault]:
    """Return at most so many faults: always the same ones, and more of them when more are asked for."""
    named = {name: fault for name, fault in numbered(module).items() if not sql or fault.kind.startswith("SQL")}
    order = sorted(named, key=lambda name: hashlib.sha256(f"{module}|{name}".encode()).digest())
    return {name: named[name] for name in order[:most]}


class Book:
    """What was found about a module's faults on one engine, a line for each trial; the last line counts."""

    def __init__(self, module: str, engine: str) -> None:
        self._file = KEPT / engine / f"{module.replace('/', '.')}.jsonl"
        self.known: dict[str, dict[str, Any]] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.known[entry["name"]] = entry

    def add(self, entry: dict[str, Any]) -> None:
        """Note what a trial has shown."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.known[entry["name"]] = entry


class Reach:
    """Which functions of the table's modules each test calls: asked for once, and again when a text has changed.

    It is asked for on SQLite: what a test calls above the engines is the same on each.
    """

    def __init__(self) -> None:
        self._file = KEPT / "sqlite" / "reached.json"
        self._known = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        every = sorted((trial.SOURCE / "chopmark").rglob("*.py"))
        self._house = hashlib.sha256(b"".join(one.read_bytes() for one in every))

    def learn(self, modules: Sequence[str], near: int | None) -> None:
        """Run the tests of these modules once, all that are not known as they stand today."""
        wanted = dict.fromkeys(one for module in modules for one in test_files(module, near))
        missing = [one for one in wanted if self._known.get(one, {}).get("digest") != self._digest(one)]
        for begin in range(0, len(missing), FILES_AT_ONCE):
            self._learn(missing[begin : begin + FILES_AT_ONCE])

    def _learn(self, missing: Sequence[str]) -> None:
        found: list[trial.Outcome] = []
        one = trial.Trial("reach", None, [*stage.SQLITE, *missing], [f"chopmark/{module}" for module in MODULES])
        trial.run([one], lambda _, outcome: found.append(outcome), limit_s=3600)
        if found[0].status in {"broken", "timeout"}:
            raise SystemExit(f"tests do not run without a fault ({found[0].status}): {', '.join(missing)}")
        for test, how in found[0].failed:
            sys.stdout.write(f"left out, it fails without a fault ({how}): {test}\n")
        for file in missing:
            tests = {test: files for test, files in found[0].reached.items() if test.startswith(f"{file}::")}
            self._known[file] = {"digest": self._digest(file), "tests": tests}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known), encoding="utf-8")

    def of(self, module: str, near: int | None, engine: str) -> dict[str, list[str]]:
        """Return each function of a module with the tests that call it, and under no name those that call any."""
        by: dict[str, list[str]] = {"": []}
        files_here = test_files(module, near)
        there = on_postgresql(files_here) if engine == "postgresql" else None
        for file in files_here:
            for called, files in self._known[file]["tests"].items():
                test = called if there is None else there.get(called)
                if test is None:
                    continue
                functions = files.get(f"chopmark/{module}", [])
                by[""] += [test] if functions else []
                for function in functions:
                    by.setdefault(function.replace(".<locals>", ""), []).append(test)
        return by

    def _digest(self, file: str) -> str:
        told = self._house.copy()
        told.update((trial.REPOSITORY / file).read_bytes())
        return told.hexdigest()


def on_postgresql(files: Sequence[str]) -> dict[str, str]:
    """Return the tests of these files that PostgreSQL has too, by their names on SQLite."""
    found: list[trial.Outcome] = []
    one = trial.Trial("tests", None, ["--collect-only", *stage.POSTGRESQL, *files])
    trial.run([one], lambda _, outcome: found.append(outcome), limit_s=300)
    return {re.sub(r"\bpostgresql\b(?=[^\[]*\]$)", "sqlite", test, count=1): test for test in found[0].reached}


def test_files(module: str, near: int | None) -> list[str]:
    """Return the files with the tests of a module, folders opened, the nearest first."""
    found: list[str] = []
    for one in tests_of(module)[:near]:
        path = trial.REPOSITORY / one
        files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
        found += [str(file.relative_to(trial.REPOSITORY)) for file in files]
    return list(dict.fromkeys(found))


def users(text: str) -> dict[str, set[str]]:
    """Return each name of a module's top level with the functions that use it, through other such names too."""
    tree = ast.parse(text)
    uses: dict[str, set[str]] = {}
    made: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and node.value is not None:
                made[target.id] = {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
    for function, body in _functions(tree, ""):
        for one in ast.walk(body):
            if isinstance(one, ast.Name) and one.id in made:
                uses.setdefault(one.id, set()).add(function)
    for _ in made:
        for name, parts in made.items():
            for part in parts & made.keys():
                uses.setdefault(part, set()).update(uses.get(name, set()))
    return uses


def remembered(text: str) -> set[str]:
    """Return the functions whose answers are kept: they are called once a process, whoever asks."""
    kept = set[str]()
    for name, function in _functions(ast.parse(text), ""):
        marks = function.decorator_list if isinstance(function, ast.FunctionDef) else []
        kept |= {name} if any("cache" in ast.unparse(mark) for mark in marks) else set()
    return kept


def _functions(node: ast.AST, above: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{above}.{child.name}" if above else child.name
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _functions(child, name)


def concerned(fault: Fault, by: dict[str, list[str]], used: dict[str, set[str]], kept: set[str]) -> list[str]:
    """Return the tests that come where the fault is, in their order; all where that cannot be told."""
    every = by[""]
    constant = fault.scope.lstrip("_").isupper()
    elsewhere = constant and not fault.scope.startswith("_")  # other modules may use it
    if elsewhere or fault.scope in kept or used.get(fault.scope, set()) & kept:  # what is kept is called once
        wanted = set(every)
    elif fault.scope in by:
        wanted = set(by[fault.scope])
    elif fault.scope in used:
        wanted = {test for function in used[fault.scope] for test in by.get(function, ())}
    elif constant or any(name.startswith(f"{fault.scope}.") for name in by):
        wanted = set(every)
    else:
        return []  # a function that no test calls
    return [test for test in every if test in wanted]


def run(options: argparse.Namespace) -> None:
    """Try the faults that were not tried yet, and write down what became of each."""
    postgresql = options.engine == "postgresql"
    left = {module: faults for module in named_modules(options.modules) if (faults := untried(module, options))}
    if not left:
        return
    with stage.ready(postgresql=postgresql):
        reach = Reach()
        reach.learn(list(left), options.near)
        for module, wanted in left.items():
            try_all(module, wanted, reach.of(module, options.near, options.engine), options)


def untried(module: str, options: argparse.Namespace) -> dict[str, Fault]:
    """Return the faults of a module's sample that are to be tried now."""
    known = Book(module, options.engine).known
    return {
        name: fault
        for name, fault in sampled(module, options.sample, sql=options.sql or options.engine == "postgresql").items()
        if (module, name) not in EQUIVALENT
        and (name not in known or (options.again and known[name]["status"] not in NOTICED))
    }


def try_all(module: str, wanted: dict[str, Fault], by: dict[str, list[str]], options: argparse.Namespace) -> None:
    """Run one trial for each fault of a module."""
    book, text = Book(module, options.engine), source(module)
    used, kept = users(text), remembered(text)

    def trials() -> Iterator[trial.Trial]:
        for name, fault in wanted.items():
            tests = concerned(fault, by, used, kept)
            if not tests:
                book.add({"name": name, "line": fault.line, "status": "unreached", "seconds": 0, "by": ""})
                continue
            yield trial.Trial(name, trial.Change(f"chopmark/{module}", fault.applied(text)), tests)

    def done(one: trial.Trial, outcome: trial.Outcome) -> None:
        if unsaid(wanted[one.name], outcome.status):
            sys.stdout.write(f"{module}:{wanted[one.name].line} not tried, nothing ran  {one.name}\n")
            return
        by_whom = outcome.failed[0][0] if outcome.failed else ""
        entry = {"name": one.name, "line": wanted[one.name].line, "status": outcome.status}
        book.add({**entry, "seconds": outcome.seconds, "by": by_whom})
        sys.stdout.write(f"{module}:{wanted[one.name].line} {outcome.status} {outcome.seconds:.0f} s  {one.name}\n")
        sys.stdout.flush()

    trial.run(trials(), done, at_once=options.at_once, limit_s=LIMIT_S)


def unsaid(fault: Fault, status: str) -> bool:
    """Tell whether a trial says nothing: a fault in SQL breaks no import, so what broke is something else."""
    return status == "broken" and fault.kind.startswith("SQL")


def named_modules(names: Sequence[str]) -> list[str]:
    """Return the modules that are named by themselves or by their group; all where none is."""
    found = [one for name in names for one in GROUPS.get(name, (name,))]
    unknown = [one for one in found if one not in MODULES]
    if unknown:
        raise SystemExit(f"not in tools/mutants/modules.py: {', '.join(unknown)}")
    return found or list(MODULES)


def standing(module: str, engine: str) -> dict[str, dict[str, Any]]:
    """Return what is known about faults that the module's present text still has, equivalent ones apart."""
    present = numbered(module)
    known = Book(module, engine).known
    return {name: one for name, one in known.items() if name in present and (module, name) not in EQUIVALENT}


def table(options: argparse.Namespace) -> None:
    """Print how many faults were noticed, for each module and for each group: on SQLite, and those in SQL on both."""
    chosen = named_modules(options.modules)
    rows = {module: [standing(module, engine) for engine in ENGINES] for module in chosen}
    print("| module | faults | tried | noticed | survived | score | SQL on PostgreSQL |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for module, found in rows.items():
        if any(found):
            print(_line(f"`{module}`", len(numbered(module)), *found))
    for group, modules in GROUPS.items():
        known = [[entry for one in modules if one in rows for entry in rows[one][place].values()] for place in (0, 1)]
        if any(known):
            first, second = (dict(enumerate(entries)) for entries in known)
            print(_line(f"**{group}**", sum(len(numbered(one)) for one in modules), first, second))


def _line(name: str, made: int, found: Mapping[Any, dict[str, Any]], there: Mapping[Any, dict[str, Any]]) -> str:
    noticed, noticed_there = (sum(one["status"] in NOTICED for one in entries.values()) for entries in (found, there))
    share = f"{100 * noticed / len(found):.0f} %" if found else ""
    on_postgresql = f"{noticed_there} of {len(there)}" if there else ""
    return f"| {name} | {made} | {len(found)} | {noticed} | {len(found) - noticed} | {share} | {on_postgresql} |"


def survivors(options: argparse.Namespace) -> None:
    """Print the faults that nobody noticed."""
    for module in named_modules(options.modules):
        for name, one in standing(module, options.engine).items():
            if one["status"] not in NOTICED:
                print(f"{module}:{numbered(module)[name].line} {one['status']} {name}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants")
    parser.add_argument("what", choices=["run", "table", "survivors"])
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--sample", type=int, help="so many faults a module at most, always the same ones")
    parser.add_argument("--again", action="store_true", help="try survivors again")
    parser.add_argument("--sql", action="store_true", help="only faults in SQL, as on PostgreSQL always")
    parser.add_argument("--near", type=int, help="only so many of a module's files with tests, the nearest")
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_intermixed_args()
    {"run": run, "table": table, "survivors": survivors}[options.what](options)


if __name__ == "__main__":
    main()
