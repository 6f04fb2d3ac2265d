"""What the verifier can find, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  # the records are not what was written
    WARNING = "warning"  # the records hold, and somebody should look
    NOTICE = "notice"  # the records hold, and say that something else is lost


class Code(StrEnum):
    """The kinds of finding; stable words for programs."""

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
"""The findings that say nothing against the records: a table beside them was edited."""


OF_TIMES = frozenset({Code.PLACED_LATE, Code.PLACED_EARLY})
"""The findings that say nothing against what the records say, but for when."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what, where (an index, chain@version, a head's size), in a sentence."""

    code: Code
    place: str
    sentence: str
    level: Level = Level.ERROR


MOST_FINDINGS = 1000


@dataclass(frozen=True, slots=True)
class Anchored:
    """What the anchors that hold say: how many they are, and of the newest how many records it covers and its time.

    With `chains_checked` False nobody has looked at who signed them.
    """

    anchors: int = 0
    size: int = 0
    at: datetime | None = None
    chains_checked: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What the verifier saw: `size` is the tree's, `records` counts the unsequenced too.

    With `tables_checked` False nobody has compared the tables with what the records say.
    `findings` holds the first MOST_FINDINGS, `omitted` counts the rest. With `macs_checked` False a
    leaf that no head covers could have been rewritten together with its chain row; with
    `file_checked` False rows and heads could have been cut together.
    """

    findings: tuple[Finding, ...]
    omitted: int
    records: int
    size: int
    chains: int
    heads: int
    macs_checked: bool
    file_checked: bool
    anchored: Anchored = Anchored()
    tables_checked: bool = False

    @property
    def sound(self) -> bool:
        """True when nothing worse than a warning was found."""
        return not self.omitted and all(finding.level is not Level.ERROR for finding in self.findings)

    @property
    def of_tables_only(self) -> bool:
        """True when whatever is worse than a warning speaks against the tables, and not against the records."""
        return all(one.level is not Level.ERROR or one.code in OF_TABLES | OF_TIMES for one in self.findings)

    @property
    def of_times_only(self) -> bool:
        """True when whatever is worse than a warning speaks against the times of records, and against nothing else."""
        return all(one.level is not Level.ERROR or one.code in OF_TIMES for one in self.findings)

    @property
    def restored(self) -> bool:
        """True when records were lost with a restore, and the trail says so."""
        return any(one.code is Code.RECORDS_LOST for one in self.findings)
