"""Certificate files of other makers, opened by the page in three engines; `make soak` opens all of the matrix."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journey.counter import Counter
from tests.journey.makers import PASSPHRASES, PROGRAMS
from tests.journey.opener import ENGINES, Opener

CELLS = (
    ("NSS (pk12util)", "P-384", "none"),  # WebKitGTK's PBKDF2 takes no empty key
    ("layout of macOS, BER", "RSA", "emoji"),
    ("OpenSSL 3", "P-256", "Chinese"),
)


@pytest.fixture(scope="module", params=list(ENGINES))
def opener(
    request: pytest.FixtureRequest, counter: Counter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opener]:
    """A customer in that browser, with a fresh profile."""
    with ENGINES[request.param](tmp_path_factory.mktemp("engine") / "browser") as engine:
        yield Opener(counter, engine)


def test_files_of_three_makers_open_with_three_kinds_of_key(opener: Opener, tmp_path: Path) -> None:
    said = {}
    for maker, kind, secret in CELLS:
        made = tmp_path / f"{kind}.p12"
        PROGRAMS[maker](opener.holder(kind, tmp_path / kind), PASSPHRASES[secret], made)
        opener.begin(kind)
        said[maker] = opener.open(made, PASSPHRASES[secret])
        opener.end()
    assert said == {maker: "opened" for maker, _, _ in CELLS}
