"""Every rule that a comment, a docstring or a page cites by its id is defined in docs/rules.md, once."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.rules import REPOSITORY

PAGE = REPOSITORY / "docs" / "rules.md"
CITED = re.compile(r"(?<![\w.*`-])(?:[IF][1-9]\d?|(?:TW|OTP|SES|PKI)-\d\d)(?![\w.*-])")
INCIDENTS = re.compile(r"\bincidents? (\d+(?:(?:, | and )\d+)*)", re.IGNORECASE)
DEFINED = re.compile(r"^\| ([IF]\d+|(?:TW|OTP|SES|PKI)-\d\d|Incident \d+) \|", re.MULTILINE)


def prose_of_python(source: str) -> str:
    """Comments and docstrings; what stands in other strings is data."""
    said, statement_begins = [], True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and statement_begins):
            said.append(token.string)
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            statement_begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(said)


def prose_of_typescript(source: str) -> str:
    return "\n".join(re.findall(r"//[^\n]*|/\*.*?\*/", source, re.DOTALL))


def cited_in(text: str) -> set[str]:
    incidents = {f"Incident {n}" for found in INCIDENTS.findall(text) for n in re.findall(r"\d+", found)}
    return set(CITED.findall(text)) | incidents


def sources() -> Iterator[tuple[Path, str]]:
    for top in ("src", "tests", "tools", "bench"):
        for path in (REPOSITORY / top).rglob("*.py"):
            if path != Path(__file__):
                yield path, prose_of_python(path.read_text(encoding="utf-8"))
    for path in [*(REPOSITORY / "browser/src").rglob("*.ts"), *(REPOSITORY / "browser/test").rglob("*.ts")]:
        yield path, prose_of_typescript(path.read_text(encoding="utf-8"))
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]:
        if path != PAGE:
            yield path, path.read_text(encoding="utf-8")


def definitions() -> list[str]:
    return DEFINED.findall(PAGE.read_text(encoding="utf-8"))


def test_every_id_that_is_cited_is_defined() -> None:
    known = set(definitions())
    assert [
        f"{path.relative_to(REPOSITORY)}: {sorted(unknown)}"
        for path, text in sources()
        if (unknown := cited_in(text) - known)
    ] == []


def test_an_id_is_defined_once() -> None:
    found = definitions()
    assert sorted(set(found)) == sorted(found)


def test_the_search_reads_comments_and_docstrings_and_no_data() -> None:
    prose = prose_of_python('"""Once (I2, F11; incidents 18 and 19)."""\nx = "I99"  # TW-16\ndef f():\n    "OTP-04"\n')
    assert cited_in(prose) == {"I2", "F11", "Incident 18", "Incident 19", "TW-16", "OTP-04"}
    assert cited_in(prose_of_typescript('const a = "I99"; // SES-01\n/* F3 */')) == {"SES-01", "F3"}
