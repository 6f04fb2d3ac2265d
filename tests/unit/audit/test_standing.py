"""Detection: whether the ledger is the one that wrote the heads file, over heads alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chopmark.audit.head import Head, HeadDraft, Lost, encode_head, head_hash
from chopmark.audit.standing import Behind, Whole, standing


def head(size: int, *, previous: bytes = bytes(32), root: int = 0, lost: Lost | None = None) -> Head:
    at = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
    return HeadDraft(size, bytes([root]) * 32, at, previous, 1, lost).signed(b"signature")


SEVEN = head(7)
LINE = encode_head(SEVEN)


@pytest.mark.parametrize(
    ("latest", "at_size", "filed", "expected"),
    [
        (None, None, None, Whole()),
        (SEVEN, None, None, Whole()),
        (SEVEN, LINE, SEVEN, Whole()),
        (head(9), LINE, SEVEN, Whole()),
        (None, None, SEVEN, Behind(0, SEVEN)),
        (head(5), None, SEVEN, Behind(5, SEVEN)),
        (head(9), None, SEVEN, Behind(9, SEVEN)),
        (head(7, root=1), encode_head(head(7, root=1)), SEVEN, Behind(7, SEVEN)),
        (head(9), encode_head(head(7, root=1)), SEVEN, Behind(9, SEVEN)),
        (head(9), "what somebody wrote", SEVEN, Behind(9, SEVEN)),
    ],
)
def test_a_ledger_is_whole_when_it_holds_the_files_last_head(latest, at_size, filed, expected) -> None:
    assert standing(latest, at_size, filed) == expected


def test_a_successor_that_a_crash_kept_from_the_file_continues_it() -> None:
    lost = Lost(head_hash(head(5)), SEVEN.root, SEVEN.size)
    made = head(6, previous=head_hash(SEVEN), lost=lost)
    assert standing(made, None, SEVEN) == Whole()


def test_a_successor_of_another_head_does_not() -> None:
    lost = Lost(head_hash(head(5)), SEVEN.root, SEVEN.size)
    other = head(6, previous=head_hash(head(8)), lost=lost)
    assert standing(other, None, SEVEN) == Behind(6, SEVEN)


def test_nor_does_a_head_that_only_names_it_without_being_a_successor() -> None:
    assert standing(head(6, previous=head_hash(SEVEN)), None, SEVEN) == Behind(6, SEVEN)


def test_a_head_of_the_same_content_and_another_signature_is_another_head() -> None:
    other = replace(SEVEN, signature=b"another")
    assert standing(other, encode_head(other), SEVEN) == Behind(7, SEVEN)
