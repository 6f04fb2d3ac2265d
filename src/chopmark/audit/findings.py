"""The findings of the verifier and its report, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  # the records, or the tables that have to agree with them, were changed
    WARNING = "warning"  # the records are right, but somebody should look into this
    NOTICE = "notice"  # the records are right, and they tell that a restore has lost others


class Code(StrEnum):
    """The kinds of finding; programs may rely on the words."""

    RECORD_MALFORMED = "record-malformed"
    MAC_WRONG = "mac-wrong"
    KEY_UNKNOWN = "key-unknown"
    EVENT_UNKNOWN = "event-unknown"
    CHAIN_GAP = "chain-gap"
    CHAIN_REPEATED = "chain-repeated"
    CHAIN_LINK_WRONG = "chain-link-wrong"
    CHAIN_TIP_WRONG = "chain-tip-wrong"
    CHAIN_ROW_MISSING = "chain-row-missing"
    CHAIN_WITHOUT_LEAVES = "chain-without-leaves"
    INDEX_MISSING = "index-missing"
    INDEX_REPEATED = "index-repeated"
    ROOT_WRONG = "root-wrong"
    FRONTIER_WRONG = "frontier-wrong"
    HEAD_MALFORMED = "head-malformed"
    HEAD_SIGNATURE_WRONG = "head-signature-wrong"
    HEAD_LINK_WRONG = "head-link-wrong"
    HEAD_ORDER_WRONG = "head-order-wrong"
    TREE_CUT = "tree-cut"
    TREE_WITHOUT_HEAD = "tree-without-head"
    FILE_UNREADABLE = "file-unreadable"
    FILE_SIGNATURE_WRONG = "file-signature-wrong"
    FILE_AHEAD = "file-ahead"
    FILE_ROOT_WRONG = "file-root-wrong"
    FILE_HEAD_MISSING = "file-head-missing"
    UNSEQUENCED_LATE = "unsequenced-late"
    PLACED_LATE = "placed-late"
    PLACED_EARLY = "placed-early"
    ANCHOR_MALFORMED = "anchor-malformed"
    ANCHOR_WRONG = "anchor-wrong"
    ANCHOR_WITHOUT_HEAD = "anchor-without-head"
    ANCHOR_TIME_WRONG = "anchor-time-wrong"
    ANCHOR_MISSING = "anchor-missing"
    ANCHOR_UNTOLD = "anchor-untold"
    ANCHOR_LATE = "anchor-late"
    FILE_ANCHOR_MISSING = "file-anchor-missing"
    SUCCESSOR_WRONG = "successor-wrong"
    SUCCESSOR_REPEATED = "successor-repeated"
    SUCCESSOR_UNTOLD = "successor-untold"
    RECORDS_LOST = "records-lost"
    ANCHORS_LOST = "anchors-lost"
    ROW_MALFORMED = "row-malformed"
    CERTIFICATE_STATE_WRONG = "certificate-state-wrong"
    CERTIFICATE_ROW_MISSING = "certificate-row-missing"
    HOLDING_STATE_WRONG = "holding-state-wrong"
    CONTACT_STATE_WRONG = "contact-state-wrong"
    COOLDOWN_RESET = "cooldown-reset"
    LOCK_LIFTED = "lock-lifted"
    FAILURES_LOWERED = "failures-lowered"
    SLIP_WRONG = "slip-wrong"


OF_TABLES = frozenset(
    {
        Code.ROW_MALFORMED,
        Code.CERTIFICATE_STATE_WRONG,
        Code.CERTIFICATE_ROW_MISSING,
        Code.HOLDING_STATE_WRONG,
        Code.CONTACT_STATE_WRONG,
        Code.COOLDOWN_RESET,
        Code.LOCK_LIFTED,
        Code.FAILURES_LOWERED,
        Code.SLIP_WRONG,
    }
)
"""The findings about tables beside the records: a table was edited, and the records are right."""


OF_TIMES = frozenset({Code.PLACED_LATE, Code.PLACED_EARLY})
"""The findings about the times of records: only their times are in doubt, not what they say."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, its place (an index, stream@version or a head's size), and a sentence."""

    code: Code
    place: str
    sentence: str
    level: Level = Level.ERROR


MOST_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Anchored:
    """What the valid time-stamps of tree heads prove.

    `anchors` is how many are valid. `size` and `at` are of the newest one: how many records it covers, and its time.
    With `chains_checked` False it was not checked who signed them.
    """

    anchors: int = 0
    size: int = 0
    at: datetime | None = None
    chains_checked: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """The result of the verifier.

    `findings` holds the first MOST_FINDINGS, `omitted` counts the rest. `size` is the size of the tree; `records`
    counts also the records without a place in the tree. Without the audit keys (`macs_checked` False), a record that no
    tree head covers yet could have been rewritten unnoticed, together with the row of its stream. Without the heads
    file (`file_checked` False), the newest records and heads could have been deleted unnoticed. With `tables_checked`
    False, the tables were not compared with the records.
    """

    findings: tuple[Finding, ...]
    omitted: int
    records: int
    size: int
    streams: int
    heads: int
    macs_checked: bool
    file_checked: bool
    anchored: Anchored = Anchored()
    tables_checked: bool = False

    @property
    def sound(self) -> bool:
        """True when no error was found; warnings and notices are allowed."""
        return not self.omitted and all(finding.level is not Level.ERROR for finding in self.findings)

    @property
    def of_tables_only(self) -> bool:
        """True when every error is about the tables or about the times of records, and none about their content."""
        return all(one.level is not Level.ERROR or one.code in OF_TABLES | OF_TIMES for one in self.findings)

    @property
    def of_times_only(self) -> bool:
        """True when every error is about the times of records."""
        return all(one.level is not Level.ERROR or one.code in OF_TIMES for one in self.findings)

    @property
    def restored(self) -> bool:
        """True when the records tell of a restore in which other records were lost."""
        return any(one.code is Code.RECORDS_LOST for one in self.findings)
