"""The table of docs/browsers.md, from what the walk left in a folder: `tools/walk.py FOLDER`.

One row a page, one column a deed; a cell names the engines that passed, and what was said of the others. A cell that
was not walked is empty.
"""

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "browsers.md"
BEGIN, END = "<!-- walk: written by tools/walk.py -->", "<!-- /walk -->"
DEEDS = (
    "reload",
    "back",
    "second tab",
    "double click",
    "offline",
    "200 %",
    "keyboard",
    "forced colours",
    "slow 3G",
)
SHORT = {"Chromium": "C", "Firefox": "F", "WebKit": "W"}


def cell(said: dict[str, str]) -> str:
    """Return what stands in one cell: the engines that passed, then the others with what was said."""
    passed = "".join(SHORT[engine] for engine in SHORT if said.get(engine) == "ok")
    others = [f"{SHORT[engine]}: {what}" for engine, what in said.items() if what != "ok"]
    return "; ".join([passed, *others] if passed else others)


def table(columns: dict[str, list[list[str]]]) -> str:
    """Return the table of all engines' columns."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for engine, cells in columns.items():
        for page, deed, said in cells:
            found.setdefault(page, {}).setdefault(deed, {})[engine] = said
    lines = ["| page | " + " | ".join(DEEDS) + " |", "|---" * (len(DEEDS) + 1) + "|"]
    for page, deeds in found.items():
        lines.append(f"| {page} | " + " | ".join(cell(deeds.get(deed, {})) for deed in DEEDS) + " |")
    return "\n".join(lines)


def main(folder: Path) -> int:
    """Write the table between its marks."""
    columns = {
        name: [
            cell
            for path in sorted(folder.glob(f"{name}*.json"), key=lambda each: len(each.name))
            for cell in json.loads(path.read_text())
        ]
        for name in SHORT
    }
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(columns)}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
