"""Every event of the audit's vocabulary is written somewhere: a name that nothing writes promises a record in vain."""

import ast

from chopmark.audit.events import Event
from tests.architecture.rules import Module, modules


def written(module: Module) -> set[str]:
    """The events that a module names, apart from the vocabulary itself and the verifier, which only reads."""
    if module.path in {"audit/events.py", "audit/checks.py", "audit/losscheck.py"}:
        return set()
    return {
        node.attr
        for node in module.nodes
        if isinstance(node, ast.Attribute) and module.dotted(node) == f"chopmark.audit.events.Event.{node.attr}"
    }


def test_every_event_is_written_somewhere() -> None:
    named = set[str]().union(*map(written, modules()))
    assert {event.name for event in Event} - named == set()


def test_an_event_that_only_the_vocabulary_names_is_found() -> None:
    source = "from chopmark.audit.events import Event\nx = Event.RA_KEY_BOUND\n"
    assert written(Module("ra/some.py", source)) == {"RA_KEY_BOUND"}
    assert written(Module("audit/events.py", source)) == set()
