"""The values that the pages show, one frozen class per template. Templates decide nothing.

The steps of an order are in `step_views`.

Every page value has `frame`; `TEMPLATE` names its file under `web/templates/`. Moments are aware UTC;
personal data arrives masked. Sentences are `Text` (message ids) and are translated when shown.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from chopmark.core.types import CertificateState, Channel, KeyHome, Operation, Reason, Text, text
from chopmark.ra.overview import Countdown
from chopmark.web.brand import SERVICE_NAMES, Brand, ServiceKey
from chopmark.web.i18n import Lang


@dataclass(frozen=True, slots=True)
class Assets:
    """Addresses of the built files, from Vite's manifest."""

    script: str | None
    stylesheet: str


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One line of the left column; `current` marks where the customer is."""

    name: str
    href: str
    current: bool = False
    children: tuple["MenuItem", ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageLink:
    """The switch in the header: the same page in that language."""

    lang: Lang
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds every page."""

    brand: Brand
    lang: Lang
    languages: tuple[LanguageLink, ...]
    assets: Assets
    csrf_token: str
    portal_id: str
    server_time: datetime
    menu: tuple[MenuItem, ...] = ()
    greeting: str | None = None
    """The signed-in customer's masked name, or None when nobody is signed in."""
    demo: bool = False
    notice: Text | None = None
    """One sentence about what was just done, shown on top as a success."""
    again: str = ""
    """Where a page that is the answer to a form stands: loaded again, it sends nothing. Empty for any other page."""


_CERTIFICATE_MENU: tuple[tuple[str, str], ...] = (
    ("Apply for a certificate", "/certificates/apply"),
    ("Renew the certificate", "/certificates/apply?operation=rekey"),
    ("Look up the certificate", "/certificates/inquiry"),
    ("Revoke the certificate", "/certificates/revoke"),
)


def menu(brand: Brand, service: ServiceKey | None = None, href: str = "") -> tuple[MenuItem, ...]:
    """Return the left column: the services the brand offers, 電子憑證 unfolded where the customer is in it.

    `href` is the entry below 電子憑證 that the page is, for example `/certificates/inquiry`.
    """
    items = []
    for key in brand.offered():
        children: tuple[MenuItem, ...] = ()
        if key is ServiceKey.CERTIFICATES:
            children = tuple(MenuItem(name, to, to == href) for name, to in _CERTIFICATE_MENU)
        items.append(MenuItem(SERVICE_NAMES[key], brand.link(key) or "", key is service, children))
    return tuple(items)


def language_links(path: str, lang: Lang) -> tuple[LanguageLink, ...]:
    """Return the two links of the switch; `path` is the page's address with its query, without `lang`."""
    joint = "&" if "?" in path else "?"
    return tuple(LanguageLink(each, f"{path}{joint}lang={each.value}", each is lang) for each in Lang)


def milliseconds(moment: datetime) -> int:
    """Return a moment as scripts count it, from 1970 on."""
    return int(moment.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal to show on a page: the sentence, and the field it belongs to."""

    message: Text
    field: str | None = None


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """One account of 選擇帳號; `label` is as the firm writes it: `(期) F014000-0000007`."""

    number: str
    label: str
    selected: bool = False


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate as the customer sees it."""

    serial: str
    state: CertificateState
    not_before: datetime
    not_after: datetime
    days_left: int
    account_label: str
    key_home: KeyHome | None
    superseded_by: str | None = None
    issuer: str | None = None
    """The name of its former issuer; None for a certificate of the firm's own CA."""
    countdown: Countdown | None = None
    """The trading days that are left, shown beside the days; None if the trading days are not known."""


# --- signing in -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignInPage:
    """客戶登入: posts `who`, `password` and `next` to /sign-in."""

    TEMPLATE: ClassVar[str] = "pages/sign_in.html"
    frame: Frame
    who: str = ""
    next: str = "/home"
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class StopPage:
    """The form that stops a replacement, posting `reference` to /stop. The receiver of the message need not sign in."""

    TEMPLATE: ClassVar[str] = "pages/stop.html"
    frame: Frame
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class StoppedPage:
    """Says whether the code stopped an application or put its certificate on hold, and whom to call."""

    TEMPLATE: ClassVar[str] = "pages/stopped.html"
    frame: Frame
    on_hold: bool


@dataclass(frozen=True, slots=True)
class LaunchShellPage:
    """GET /launch: a script reads the ticket from the fragment of the address and posts `ticket` to /launch."""

    TEMPLATE: ClassVar[str] = "pages/launch_shell.html"
    frame: Frame


@dataclass(frozen=True, slots=True)
class LaunchConfirmPage:
    """Asks whether the ticket is for the customer who looks at it; posts to /launch/confirm or /launch/refuse."""

    TEMPLATE: ClassVar[str] = "pages/launch_confirm.html"
    frame: Frame
    masked_name: str
    account_label: str


@dataclass(frozen=True, slots=True)
class HomePage:
    """客戶服務專區: the greeting and the services, which are the frame's menu."""

    TEMPLATE: ClassVar[str] = "pages/home.html"
    frame: Frame
    certificate: CertificateView | None = None


# --- 電子憑證 ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """Something the customer can do next: the button's words and where it leads."""

    label: Text
    href: str


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An unfinished order that the customer can continue."""

    order_id: str
    operation: Operation
    begun_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """電子憑證: the account, its certificate, and the one recommended action with the reason for it.

    `recommended` is None if there is nothing to do; then `why` says so. If an order is open, `recommended` is to
    continue it.
    """

    TEMPLATE: ClassVar[str] = "pages/overview.html"
    frame: Frame
    accounts: tuple[AccountChoice, ...]
    certificate: CertificateView | None
    recommended: Action | None
    why: Text
    open_order: OpenOrder | None = None
    others: tuple[Action, ...] = ()
    swap: Text | None = None
    """A warning, if the CA ends the old certificate as soon as it issues the new one."""


@dataclass(frozen=True, slots=True)
class ApplyPage:
    """The form for where to store the key, and for a replacement why. `blocked` says why no order can begin now."""

    TEMPLATE: ClassVar[str] = "pages/apply.html"
    frame: Frame
    accounts: tuple[AccountChoice, ...]
    account: str
    operation: Operation
    reasons: tuple[Reason, ...] = ()
    key_homes: tuple[KeyHome, ...] = (KeyHome.BROWSER, KeyHome.FILE)
    blocked: Text | None = None
    instead: Action | None = None
    swap: Text | None = None


@dataclass(frozen=True, slots=True)
class InquiryPage:
    """憑證查詢: the certificate in use first, then the earlier ones."""

    TEMPLATE: ClassVar[str] = "pages/inquiry.html"
    frame: Frame
    accounts: tuple[AccountChoice, ...]
    current: CertificateView | None
    history: tuple[CertificateView, ...] = ()


@dataclass(frozen=True, slots=True)
class RevokePage:
    """憑證廢止: which certificate to revoke and why. `blocked` says why none can be revoked now."""

    TEMPLATE: ClassVar[str] = "pages/revoke.html"
    frame: Frame
    accounts: tuple[AccountChoice, ...]
    account: str
    certificates: tuple[CertificateView, ...]
    reasons: tuple[Reason, ...] = (Reason.LOST, Reason.COMPROMISED, Reason.NO_LONGER_NEEDED)
    blocked: Text | None = None


# --- the other pages --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContactRow:
    """One registered contact, masked. `usable_from` is set while a contact is too newly changed to be used."""

    channel: Channel
    masked: str | None
    registered_on: date | None
    usable_from: date | None = None


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """個人資料: what is registered, masked, and how to have it corrected."""

    TEMPLATE: ClassVar[str] = "pages/profile.html"
    frame: Frame
    masked_name: str
    masked_id: str
    contacts: tuple[ContactRow, ...]
    accounts: tuple[AccountChoice, ...] = ()


@dataclass(frozen=True, slots=True)
class ElsewherePage:
    """The demo's stand-in for a system of the firm's own."""

    TEMPLATE: ClassVar[str] = "pages/elsewhere.html"
    frame: Frame
    service: ServiceKey

    @property
    def name(self) -> str:
        """The service's name, a message id."""
        return SERVICE_NAMES[self.service]


@dataclass(frozen=True, slots=True)
class CapabilityPage:
    """What this browser can do; the script fills the results."""

    TEMPLATE: ClassVar[str] = "pages/capability.html"
    frame: Frame


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """A customer of the demo whom the visitor may choose to be: number, name and what is special about them."""

    number: str
    name: str
    note: Text
    selected: bool = False


@dataclass(frozen=True, slots=True)
class DemoPage:
    """The demo's trading program; 憑證管理 posts `customer` to /demo/launch."""

    TEMPLATE: ClassVar[str] = "pages/demo.html"
    frame: Frame
    customers: tuple[DemoCustomer, ...]


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One message of the demo inbox; `body` is exactly what was sent, `attachment` the file's name and address."""

    channel: Channel
    masked: str
    at: datetime
    subject: str
    body: str
    attachment: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class InboxPage:
    """The demo's phone and mail box, newest message first."""

    TEMPLATE: ClassVar[str] = "pages/inbox.html"
    frame: Frame
    messages: tuple[InboxMessage, ...]

    def on(self, channel: str) -> tuple[InboxMessage, ...]:
        """Return the messages of one channel."""
        return tuple(each for each in self.messages if each.channel.value == channel)


@dataclass(frozen=True, slots=True)
class CrlView:
    """A published revocation list."""

    href: str
    number: int
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """A CA certificate to fetch, with its SHA-256 fingerprint as upper-case hex pairs joined by `:`."""

    name: str
    not_before: datetime
    not_after: datetime
    sha256: str
    der_href: str
    pem_href: str
    crls: tuple[CrlView, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryPage:
    """憑證公告: what relying parties need (RFC 3647 s.4.2)."""

    TEMPLATE: ClassVar[str] = "pages/repository.html"
    frame: Frame
    authorities: tuple[AuthorityView, ...]


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A request that could not be served: what happened and what to do, in plain words."""

    TEMPLATE: ClassVar[str] = "pages/error.html"
    frame: Frame
    status: int
    title: Text
    detail: Text
    request_id: str
    action: Action | None = None


_ERRORS: dict[int, tuple[Text, Text]] = {
    401: (
        text("You have been signed out"),
        text(
            "For your safety you are signed out after ten minutes without activity. "
            "Please sign in again; an order you have begun is kept."
        ),
    ),
    403: (
        text("This page cannot be shown to you"),
        text("Please go back and begin again from the certificate page. If this comes again, please call us."),
    ),
    404: (
        text("There is no such page"),
        text("Please check the address, or begin again from the certificate page."),
    ),
    405: (
        text("This page cannot be opened that way"),
        text("Please begin again from the certificate page. Nothing has been changed."),
    ),
    413: (
        text("What was sent is too large"),
        text("Please go back and send a smaller file. A certificate file is never larger than 64 kilobytes."),
    ),
    429: (
        text("Too many attempts"),
        text("Please wait a few minutes and try again. Nothing you have done so far is lost."),
    ),
    500: (
        text("Something went wrong on our side"),
        text(
            "It is not your fault, and nothing has been sent twice. "
            "Please try again in a minute; if it comes again, call us and give the number below."
        ),
    ),
    503: (
        text("The service is not available at the moment"),
        text("Your certificate is not affected. Please try again in a few minutes."),
    ),
}


def error_page(
    frame: Frame, status: int, request_id: str, detail: Text | None = None, otherwise: Text | None = None
) -> ErrorPage:
    """Return the page for an HTTP status; `otherwise` is the title of one that has no words of its own."""
    title, usual = _ERRORS.get(status) or _ERRORS[500 if status >= 500 else 404]
    if status not in _ERRORS and otherwise is not None:
        title = otherwise
    action = Action(text("Sign in again"), "/sign-in") if status == 401 else None
    if status in (403, 404, 405) or status not in _ERRORS:
        action = Action(text("Go to the certificate page"), "/certificates")
    return ErrorPage(frame, status, title, detail or usual, request_id, action)
