"""The whole matrix of makers: who made which file, which engine opened it, and the table in docs/browsers.md."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.journey.makers import FIREFOX, PASSPHRASES, PROGRAMS, UNMADE, Holder, Make, Unmade, backups

DOCUMENT = Path(__file__).parents[2] / "docs" / "browsers.md"
BEGIN, END = "<!-- the matrix of makers: `make soak` writes it -->", "<!-- end of the matrix -->"
KINDS = ("P-256", "P-384", "RSA")
MAKERS = (*PROGRAMS, FIREFOX)
Cell = tuple[str, str, str]
"""The maker, the kind of key, the pass-phrase's name."""


@dataclass
class Files:
    """What the programs have made, and what they refuse to make."""

    made: dict[Cell, Path] = field(default_factory=dict)
    unmade: dict[Cell, str] = field(default_factory=dict)

    @classmethod
    def of(cls, holders: Mapping[str, Holder], folder: Path) -> "Files":
        """Have every program write every file."""
        files = cls()
        with backups(folder / "firefox") as back_up:
            programs: dict[str, Make] = {**PROGRAMS, FIREFOX: back_up}
            for kind, holder in holders.items():
                for maker, make in programs.items():
                    for secret, passphrase in PASSPHRASES.items():
                        cell = (maker, kind, secret)
                        path = folder / f"{len(files.made)}.p12"
                        try:
                            make(holder, passphrase, path)
                            files.made[cell] = path
                        except Unmade as refused:
                            files.unmade[cell] = str(refused)
        return files

    def unexplained(self) -> dict[Cell, str]:
        """Return what was refused without the reason that is written down."""
        return {
            cell: said
            for cell, said in self.unmade.items()
            if (reason := UNMADE.get((cell[0], cell[2]))) is None or reason not in said
        }


@dataclass
class Table:
    """What each engine has opened; its columns are known by the name that the browser gives itself."""

    names: dict[str, str] = field(default_factory=dict)
    said: dict[tuple[str, Cell], str] = field(default_factory=dict)

    def counts(self, engine: str) -> int:
        """Return how many files an engine has been given."""
        return sum(name == engine for name, _ in self.said)

    def lines(self, files: Files) -> Iterator[str]:
        """Give the table and what it does not show."""
        yield f"| made by | {' | '.join(self.names.values())} |"
        yield "|---" * (len(self.names) + 1) + "|"
        for maker in MAKERS:
            mine = [cell for cell in files.made if cell[0] == maker]
            counts = (
                f"{sum(self.said.get((engine, cell)) == 'opened' for cell in mine)} of {len(mine)}"
                for engine in self.names
            )
            yield f"| {maker} | {' | '.join(counts)} |"
        yield ""
        for (maker, secret), reason in UNMADE.items():
            yield f"- {maker} makes no file with this pass-phrase ({secret}): “{reason}”."
        for (engine, (maker, kind, secret)), said in sorted(self.said.items()):
            if said != "opened" and engine in self.names:
                yield f"- {self.names[engine]} does not open {maker}, {kind}, pass-phrase {secret}: {said}"

    def write(self, files: Files) -> None:
        """Put it between its marks in docs/browsers.md."""
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text("\n".join([f"{before}{BEGIN}", *self.lines(files), f"{END}{after}"]))
