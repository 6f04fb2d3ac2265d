"""The values that the pages of an order's steps show, in the order of the manual. The other pages are in `views`."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

from chopmark.core.types import Channel, KeyHome, Operation, OrderState, Reason, Text, text
from chopmark.web.pages.views import AccountChoice, Action, CertificateView, Frame

LEAVING = text(
    "You may simply close this page: what you have done is kept for 24 hours. If you cancel, nothing is issued and "
    "your present certificate stays as it is."
)


class Meanwhile(StrEnum):
    """What the customer can sign with until the new certificate has proved itself."""

    PRESENT = "present"
    """The present certificate, which stays as it is."""
    ENDED = "ended"
    """Nothing: the old certificate has ended when the new one was issued."""
    NOTHING = "nothing"
    """Nothing: there was no certificate that it takes the place of."""


@dataclass(frozen=True, slots=True)
class OrderHead:
    """What every step page shows of its order. `accounts` fills 選擇帳號; choosing another keeps this order open."""

    order_id: str
    operation: Operation
    account: str
    account_label: str
    accounts: tuple[AccountChoice, ...]
    step: int
    """The number of this step, from 1; 0 hides the line of steps."""
    steps: tuple[Text, ...]
    can_cancel: bool = True
    leaving: Text = LEAVING
    """What happens if the customer closes the page or cancels."""


STEP_KEY = text("Prepare")
STEP_CODE = text("Verification code")
STEP_SLIP = text("Approval slip")
STEP_BIRTH = text("Date of birth")
STEP_REVIEW = text("Check and confirm")
STEP_INSTALL = text("Install")
STEP_DONE = text("Finished")


def steps_of(operation: Operation, *, birth_date_asked: bool, slip: bool = False) -> tuple[Text, ...]:
    """Return the line of steps of an order, as customers see it."""
    if operation is Operation.REVOKE:
        return (STEP_CODE, STEP_REVIEW, STEP_DONE)
    birth = (STEP_BIRTH,) if birth_date_asked else ()
    return (STEP_KEY, STEP_SLIP if slip else STEP_CODE, *birth, STEP_REVIEW, STEP_INSTALL, STEP_DONE)


@dataclass(frozen=True, slots=True)
class OldCertificate:
    """The valid certificate whose key must sign the renewal; `sha256` of the DER, lower-case hex.

    `issuer` is the name of the CA that issued it: a customer may have a file of the former issuer and one of ours.
    """

    serial: str
    sha256: str
    not_after: datetime
    issuer: str


@dataclass(frozen=True, slots=True)
class KeyStepPage:
    """The page makes the key or finds it in the browser's storage; for a renewal the old key signs."""

    TEMPLATE: ClassVar[str] = "order/key.html"
    frame: Frame
    order: OrderHead
    key_home: KeyHome
    old_certificate: OldCertificate | None = None


@dataclass(frozen=True, slots=True)
class ProgramCredential:
    """The credential that the customer enters in a program. It is shown once and must be used within `minutes`."""

    user: str
    password: str = field(repr=False)
    minutes: int


@dataclass(frozen=True, slots=True)
class ProgramStepPage:
    """What the customer's program needs in order to make the key; `address` is that of the EST interface."""

    TEMPLATE: ClassVar[str] = "order/program.html"
    frame: Frame
    order: OrderHead
    address: str
    renewal: bool
    credential: ProgramCredential | None = None


@dataclass(frozen=True, slots=True)
class ProgramInstallPage:
    """The customer's program fetches the certificate and proves it."""

    TEMPLATE: ClassVar[str] = "order/program_install.html"
    frame: Frame
    order: OrderHead
    certificate: CertificateView
    meanwhile: Meanwhile = Meanwhile.PRESENT


@dataclass(frozen=True, slots=True)
class PossessionStepPage:
    """The order's key was bound in another login. Here the customer proves possession of the key, or begins again.

    `by_words`: a program made the key, and the customer types the key words that it shows. `needed`: the order cannot
    go on without this proof.
    """

    TEMPLATE: ClassVar[str] = "order/possession.html"
    frame: Frame
    order: OrderHead
    key_home: KeyHome
    reason: Reason | None
    by_words: bool = False
    needed: bool = True


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """One way to receive the code: masked contact, registration day, and in `why_not` why it cannot be used."""

    channel: Channel
    masked: str
    registered_on: date
    eligible: bool = True
    why_not: Text | None = None


@dataclass(frozen=True, slots=True)
class ChannelStepPage:
    """驗證碼接收方式 and 發送驗證碼. A code may be sent `resend_in_s` seconds after the frame's server time."""

    TEMPLATE: ClassVar[str] = "order/channel.html"
    frame: Frame
    order: OrderHead
    channels: tuple[ChannelChoice, ...]
    code_life_minutes: int = 5
    code_digits: int = 6
    resend_in_s: int = 0
    both_codes: bool = False
    """Whether the customer has to enter two codes, one sent to each of the two contacts."""
    delay_hours: int = 0
    """Hours that the order waits between the first code and the second."""
    waits_until: datetime | None = None
    """The first code was right, and no other code is sent before this moment."""
    password_alone_helps: bool = False
    """Whether signing in with the password alone would help: then a channel could be used, now none can (TW-01)."""


@dataclass(frozen=True, slots=True)
class ChallengeView:
    """A sent code and what the customer may still do with it. Seconds count from the frame's server time."""

    reference: str
    channel: Channel
    masked: str
    remaining_s: int
    resend_in_s: int
    attempts_left: int
    sends_left: int
    digits: int = 6
    life_s: int = 300
    key_name: str | None = None
    """The short name of the key that the code approves, as written in the message."""
    undelivered: bool = False
    """No gateway took the message, so the page offers the other channel first."""


@dataclass(frozen=True, slots=True)
class CodeStepPage:
    """OTP 憑證驗證流程: countdown, code, resend, 檢核驗證碼."""

    TEMPLATE: ClassVar[str] = "order/code.html"
    frame: Frame
    order: OrderHead
    challenge: ChallengeView


@dataclass(frozen=True, slots=True)
class SlipStepPage:
    """An approval slip from a branch replaces the code; the branch prints it for the key with these `key_words`."""

    TEMPLATE: ClassVar[str] = "order/slip.html"
    frame: Frame
    order: OrderHead
    key_words: str
    until: datetime


@dataclass(frozen=True, slots=True)
class PassedStepPage:
    """檢核成功。 立即去申請憑證"""

    TEMPLATE: ClassVar[str] = "order/passed.html"
    frame: Frame
    order: OrderHead


@dataclass(frozen=True, slots=True)
class BirthDateStepPage:
    """電子簽章憑證申請: the second check."""

    TEMPLATE: ClassVar[str] = "order/birth_date.html"
    frame: Frame
    order: OrderHead
    masked_id: str
    issuer_name: str


@dataclass(frozen=True, slots=True)
class ConsentView:
    """The text that the customer consents to; `confirm` sends back its `sha256`."""

    version: str
    sha256: str
    paragraphs: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class ReviewStepPage:
    """The summary of the order, the consent, and the dialog 確定要送出憑證申請？"""

    TEMPLATE: ClassVar[str] = "order/review.html"
    frame: Frame
    order: OrderHead
    masked_name: str
    masked_id: str
    consent: ConsentView
    key_home: KeyHome | None
    issuer_name: str
    replaces: CertificateView | None = None
    """The certificate that ends: the old one, or the one to be revoked."""
    reason: Reason | None = None
    overlap: bool = True
    """Whether the old certificate stays valid until the new one is installed."""


@dataclass(frozen=True, slots=True)
class WaitStepPage:
    """處理中: a script asks for the state again and again; the page tells the customer that it may be closed."""

    TEMPLATE: ClassVar[str] = "order/wait.html"
    frame: Frame
    order: OrderHead
    poll_s: int = 3


@dataclass(frozen=True, slots=True)
class InstallStepPage:
    """安裝憑證: into this browser, or as a .p12 file. Afterwards a signature proves that the new key works."""

    TEMPLATE: ClassVar[str] = "order/install.html"
    frame: Frame
    order: OrderHead
    key_home: KeyHome
    certificate: CertificateView
    meanwhile: Meanwhile = Meanwhile.PRESENT
    kept_days: int = 7
    """How long the old certificate stays valid if the customer only confirms that the file has arrived."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the customer may note down: the number, the time, and where the notice was sent."""

    number: str
    completed_at: datetime
    notice_channel: Channel | None = None
    notice_masked: str = ""


@dataclass(frozen=True, slots=True)
class DoneStepPage:
    """安裝憑證成功; 憑證申請完成 or 憑證展延完成; for a revocation 憑證廢止完成."""

    TEMPLATE: ClassVar[str] = "order/done.html"
    frame: Frame
    order: OrderHead
    certificate: CertificateView
    receipt: Receipt
    key_home: KeyHome | None = None
    old_ends: bool = False
    old_ends_at: datetime | None = None
    """The old certificate stays valid until then, because the customer only confirmed that the new one has arrived."""


@dataclass(frozen=True, slots=True)
class EndedStepPage:
    """The order ended without a certificate: why, and what the customer can do."""

    TEMPLATE: ClassVar[str] = "order/ended.html"
    frame: Frame
    order: OrderHead
    state: OrderState
    why: Text
    what_next: Text
    retry: Action | None = None
