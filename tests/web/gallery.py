"""Every page and every state of it, with made-up people: for the tests, and to look at.

`python tests/web/gallery.py FOLDER STYLESHEET` writes the pages of both languages and both brands.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from chopmark.core.counted import in_seconds
from chopmark.core.types import CertificateState, Channel, KeyHome, Operation, OrderState, Reason, text
from chopmark.ra.overview import Countdown
from chopmark.ra.reminders.ports import ReminderState
from chopmark.web.brand import DEMO_BRAND, Brand, ServiceKey, brand_css, read_brand
from chopmark.web.i18n import Lang, Translator, load_catalogues
from chopmark.web.pages import step_views as s
from chopmark.web.pages import views as v
from chopmark.web.pages.reminder_views import ReminderRow, RemindersPage
from chopmark.web.pages.render import Page, Pages

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
ORDER = "k5x7q2m4n6p8r3s5t7v9w2y4za"
EST = "https://est.example.com:8443"
GIVEN = s.ProgramCredential(ORDER.upper(), "g8umnb5U4qb9l4cq6YVqpwdxJOx6ytgl-M5xeLEBbd0", 10)
SERIAL = "1F3A90C45B7E22D0A41877FE3C5D6B09"

SECOND_BRAND: Brand = read_brand(
    {
        "key": "cingyu",
        "logo": "/brand/logo.svg",
        "mail": "hello@cingyu.example",
        "firm": {"zh": "青嶼證券", "en": "Cingyu Securities"},
        "portal": {"zh": "客戶天地", "en": "Client corner"},
        "product": {"zh": "簽章中心", "en": "Signature centre"},
        "legal_name": {"zh": "青嶼證券股份有限公司", "en": "Cingyu Securities Co., Ltd."},
        "hotline": {"zh": "0800-555-123", "en": "0800-555-123"},
        "hotline_name": {"zh": "服務電話", "en": "Service line"},
        "hotline_note": {"zh": "國外請撥+886-6-555-0123", "en": "From abroad call +886-6-555-0123"},
        "service_hours": {"zh": "每日 9:00-18:00", "en": "Every day 9:00 to 18:00"},
        "address": {"zh": "澎湖縣青嶼路1號", "en": "1 Cingyu Road, Penghu"},
        "ca_name": {"zh": "青嶼憑證中心", "en": "Cingyu CA"},
        "colours": {"brand": "#0b5c6b", "brand_dark": "#073f4a"},
        "links": {"statements": "https://cingyu.example/statements"},
    }
)


@dataclass(frozen=True)
class Setting:
    """One language and one brand, and the samples in it."""

    lang: Lang
    brand: Brand
    stylesheet: str = "/static/build/styles.css"
    signed_in: bool = True
    accounts: tuple[v.AccountChoice, ...] = field(
        default=(
            v.AccountChoice("F014000-0000007", "(期) F014000-0000007", selected=True),
            v.AccountChoice("9A95-0000018", "(證) 9A95-0000018"),
        )
    )

    def frame(self, service: ServiceKey | None = None, href: str = "", *, signed_in: bool = True) -> v.Frame:
        """Return the frame of a page."""
        return v.Frame(
            brand=self.brand,
            lang=self.lang,
            languages=v.language_links("/certificates", self.lang),
            assets=v.Assets(None, self.stylesheet),
            csrf_token="csrf-token-of-the-gallery",
            portal_id="portal-of-the-gallery",
            server_time=NOW,
            menu=v.menu(self.brand, service, href) if signed_in else (),
            greeting="王•明" if signed_in else None,
            demo=self.brand is DEMO_BRAND,
        )

    def order(self, operation: Operation, step: int, *, can_cancel: bool = True, slip: bool = False) -> s.OrderHead:
        """Return the head of an order page."""
        return s.OrderHead(
            ORDER,
            operation,
            "F014000-0000007",
            "(期) F014000-0000007",
            self.accounts,
            step,
            s.steps_of(operation, birth_date_asked=True, slip=slip),
            can_cancel,
        )


def certificate(state: CertificateState = CertificateState.ACTIVE, days: int = 20) -> v.CertificateView:
    """Return a certificate that ends in so many days."""
    end = NOW + timedelta(days=days)
    return v.CertificateView(
        SERIAL, state, end - timedelta(days=365), end, max(days, 0), "(期) F014000-0000007", KeyHome.BROWSER
    )


CONSENT = s.ConsentView(
    "1",
    "0" * 64,
    (
        text("My key %(key)s was made in this browser and stays in it; no copy of it can be made.", key="HJKL"),
        text("My old certificate stays valid until the new one works; then it is revoked."),
        text("I use it to sign my orders of account %(account)s.", account="F014000-0000007"),
    ),
)
MOBILE = s.ChannelChoice(Channel.MOBILE, "09•• ••• 678", date(2021, 3, 8))
EMAIL = s.ChannelChoice(Channel.EMAIL, "z•••@g•••.com", date(2019, 11, 30))
COOLING = text("This was changed only recently. For your safety it can be used from %(date)s on.", date="2026-11-28")
WAITS = text("Your first code was right. From %(at)s on a second one can be sent to you.", at="2026-11-22 10:30")
CHALLENGE = s.ChallengeView("AB-7Q", Channel.MOBILE, "09•• ••• 678", 259, 41, 5, 2, key_name="HJKL")
RECEIPT = s.Receipt("R-2026-000018", NOW, Channel.EMAIL, "z•••@g•••.com")
WHY_RENEW = text("Your certificate ends on %(date)s. Renew it now; it takes a minute.", date="2026-12-12")


def way_in(w: Setting) -> dict[str, Page]:
    """Return the pages before the portal."""
    outside = w.frame(signed_in=False)
    wrong = v.Problem(
        text("The customer number (or id) and the trading password do not match. Please check both and try again."),
        "who",
    )
    slowed = v.Problem(text("There were several wrong attempts from here. Please wait %(wait)s.", wait=in_seconds(30)))
    return {
        "sign-in": v.SignInPage(outside),
        "sign-in-wrong": v.SignInPage(outside, "A123456789", problem=wrong),
        "sign-in-slowed": v.SignInPage(outside, "A123456789", problem=slowed),
        "stop": v.StopPage(outside),
        "stop-wrong": v.StopPage(outside, v.Problem(text("Please enter the code of the message."), "reference")),
        "stopped-order": v.StoppedPage(outside, on_hold=False),
        "stopped-certificate": v.StoppedPage(outside, on_hold=True),
        "launch": v.LaunchShellPage(outside),
        "launch-confirm": v.LaunchConfirmPage(outside, "王•明", "(期) F014000-0000007"),
        "demo": v.DemoPage(
            outside,
            (
                v.DemoCustomer("C0000001", "王小明", text("My certificate has expired")),
                v.DemoCustomer("C0000002", "林美玉", text("This is my first certificate")),
                v.DemoCustomer(
                    "C0000003",
                    "好運實業股份有限公司",
                    text("no mobile registered: the code comes by e-mail; ends in 18 days"),
                    selected=True,
                ),
            ),
        ),
        "inbox": v.InboxPage(
            outside,
            (
                v.InboxMessage(
                    Channel.MOBILE,
                    "09•• ••• 678",
                    NOW,
                    "",
                    "憑證展延驗證碼 048213（參考編號 AB-7Q），5分鐘內有效。請勿告訴他人。",
                ),
                v.InboxMessage(
                    Channel.EMAIL,
                    "z•••@g•••.com",
                    NOW,
                    "憑證展延完成通知",
                    "您的憑證已於115年11月22日展延完成。\n若非您本人申請，請立即來電。",
                ),
                v.InboxMessage(
                    Channel.EMAIL,
                    "z•••@g•••.com",
                    NOW,
                    "電子憑證即將到期",
                    "附件可將最後可交易日加入您的行事曆。",
                    ("reminder.ics", "/demo/inbox/R1/reminder.ics"),
                ),
            ),
        ),
        "inbox-empty": v.InboxPage(outside, ()),
    }


def portal(w: Setting) -> dict[str, Page]:
    """Return the pages of the customer's area that are not steps of an order."""
    certificates = w.frame(ServiceKey.CERTIFICATES, "")
    apply = w.frame(ServiceKey.CERTIFICATES, "/certificates/apply")
    inquiry = w.frame(ServiceKey.CERTIFICATES, "/certificates/inquiry")
    revoke = w.frame(ServiceKey.CERTIFICATES, "/certificates/revoke")
    renew = v.Action(text("Renew the certificate"), "/certificates/apply?operation=rekey")
    apply_now = v.Action(text("Apply for a certificate"), "/certificates/apply?operation=enrol")
    others = (
        v.Action(text("Look up the certificate"), "/certificates/inquiry"),
        v.Action(text("Revoke the certificate"), "/certificates/revoke"),
    )
    open_order = v.OpenOrder(ORDER, Operation.REKEY, NOW - timedelta(hours=2), NOW + timedelta(hours=22))
    go_on = v.Action(text("Next"), f"/orders/{ORDER}")
    old_ca = "舊憑證管理中心" if w.lang is Lang.ZH_TW else "The Old CA"
    brought = replace(certificate(CertificateState.REVOKED, -700), issuer=old_ca, key_home=None)
    old = (certificate(CertificateState.SUPERSEDED, -300), brought)
    reasons = (Reason.LOST, Reason.COMPROMISED, Reason.NEW_DEVICE, Reason.REPLACE)
    nothing = text("Your certificate is in order. You can renew it from %(date)s on.", date="2027-05-10")
    first = text("You have no certificate yet. Apply for one to be able to trade.")
    unfinished = text("You have another order open. Please go on with it, or end it and begin this one.")
    too_early = text("Your certificate is in order. You can renew it from %(date)s on.", date="2027-05-10")
    lapsed = certificate(CertificateState.EXPIRED, -1)
    expired = text("Your certificate ended on %(date)s. Apply for a new one.", date="2026-11-21")
    soon = replace(certificate(days=5), countdown=Countdown(3, date(2026, 11, 26)))
    last = replace(certificate(days=2), countdown=Countdown(0, date(2026, 11, 20)))
    fine = certificate(days=200)
    return {
        "home": v.HomePage(w.frame(), certificate()),
        "home-soon": v.HomePage(w.frame(), soon),
        "home-none": v.HomePage(w.frame()),
        "overview-renew": v.OverviewPage(certificates, w.accounts, certificate(), renew, WHY_RENEW, None, others),
        "overview-soon": v.OverviewPage(certificates, w.accounts, soon, renew, WHY_RENEW, None, others),
        "overview-last": v.OverviewPage(certificates, w.accounts, last, renew, WHY_RENEW, None, others),
        "overview-nothing": v.OverviewPage(certificates, w.accounts, fine, None, nothing, None, others),
        "overview-none": v.OverviewPage(certificates, w.accounts, None, apply_now, first),
        "overview-expired": v.OverviewPage(
            certificates, w.accounts, replace(lapsed, issuer=old_ca), apply_now, expired
        ),
        "overview-resume": v.OverviewPage(certificates, w.accounts, certificate(), go_on, unfinished, open_order),
        "apply-rekey": v.ApplyPage(apply, w.accounts, "F014000-0000007", Operation.REKEY),
        "apply-replace": v.ApplyPage(apply, w.accounts, "F014000-0000007", Operation.REPLACE, reasons),
        "apply-blocked": v.ApplyPage(
            apply, w.accounts, "F014000-0000007", Operation.REKEY, blocked=too_early, instead=apply_now
        ),
        "inquiry": v.InquiryPage(inquiry, w.accounts, certificate(), old),
        "inquiry-none": v.InquiryPage(inquiry, w.accounts, None),
        **reminders(w),
        "revoke": v.RevokePage(revoke, w.accounts, "F014000-0000007", (certificate(),)),
        "revoke-none": v.RevokePage(revoke, w.accounts, "F014000-0000007", ()),
        "profile": v.ProfilePage(
            w.frame(ServiceKey.PROFILE),
            "王•明",
            "A2•••••••9",
            (
                v.ContactRow(Channel.MOBILE, "09•• ••• 678", date(2026, 11, 21), date(2026, 11, 28)),
                v.ContactRow(Channel.EMAIL, None, None),
            ),
            w.accounts,
        ),
        "elsewhere": v.ElsewherePage(w.frame(ServiceKey.STATEMENTS), ServiceKey.STATEMENTS),
        "capability": v.CapabilityPage(w.frame()),
        "repository": v.RepositoryPage(
            w.frame(signed_in=False),
            (
                v.AuthorityView(
                    "CN=Issuing CA 1",
                    NOW,
                    NOW + timedelta(days=3650),
                    ":".join(["A7"] * 32),
                    "/ca/issuing.der",
                    "/ca/issuing.pem",
                    (v.CrlView("/crl/1.crl", 42, NOW, NOW + timedelta(hours=6)),),
                ),
            ),
        ),
        "repository-empty": v.RepositoryPage(w.frame(signed_in=False), ()),
    }


def reminders(w: Setting) -> dict[str, Page]:
    """Return the page of a certificate's reminders."""
    frame, end = w.frame(ServiceKey.CERTIFICATES, "/certificates/inquiry"), NOW + timedelta(days=20)
    sent = ReminderRow(None, NOW - timedelta(days=9), ReminderState.SENT, Channel.EMAIL)
    unknown = ReminderRow(14, NOW - timedelta(hours=3), ReminderState.UNKNOWN, Channel.EMAIL)
    days = ((7, Channel.EMAIL), (3, Channel.MOBILE), (1, Channel.MOBILE), (0, Channel.MOBILE))
    coming = [ReminderRow(n, end - timedelta(days=n), ReminderState.PLANNED, channel) for n, channel in days]
    paused = (sent, unknown, replace(coming[0], paused=True), *coming[1:])
    lost = (replace(sent, state=ReminderState.UNREACHABLE, channel=None), *(replace(r, channel=None) for r in coming))
    pauses = (date(2026, 11, 29), date(2026, 12, 6), date(2026, 12, 8))
    both = (Channel.EMAIL, Channel.MOBILE)
    wrong = v.Problem(
        text("Please choose one of the days. The reminders of the last days cannot be paused."), "paused_until"
    )
    saved = text("We have noted how you want to be reminded.")
    return {
        "reminders": RemindersPage(frame, end, (sent, unknown, *coming), both, None, pauses),
        "reminders-saved": RemindersPage(replace(frame, notice=saved), end, (sent, *coming), both, None, pauses),
        "reminders-paused": RemindersPage(frame, end, paused, both, Channel.MOBILE, pauses, pauses[1]),
        "reminders-wrong": RemindersPage(frame, end, (sent, *coming), both, None, pauses, problem=wrong),
        "reminders-unreachable": RemindersPage(frame, end, lost, ()),
        "reminders-none": RemindersPage(frame, None),
    }


def steps(w: Setting) -> dict[str, Page]:
    """Return the steps of an order, in the manual's order, with their states."""
    f = w.frame(ServiceKey.CERTIFICATES, "/certificates/apply")
    rekey, enrol, revoke = Operation.REKEY, Operation.ENROL, Operation.REVOKE
    ca = w.brand.ca_name.to(w.lang)
    old = s.OldCertificate(SERIAL, "ab" * 32, NOW + timedelta(days=20), ca)
    late = replace(CHALLENGE, remaining_s=0, resend_in_s=0, attempts_left=2, channel=Channel.EMAIL)
    cooling = replace(MOBILE, eligible=False, why_not=COOLING)
    browser, file = KeyHome.BROWSER, KeyHome.FILE
    masked = ("王•明", "A2•••••••9")
    issued = certificate(CertificateState.ISSUED, 365)
    active = certificate(CertificateState.ACTIVE, 365)
    counted = replace(active, countdown=Countdown(242, date(2027, 11, 22)))
    pages: dict[str, Page] = {
        "key-browser": s.KeyStepPage(f, w.order(enrol, 1), browser),
        "key-renew-file": s.KeyStepPage(f, w.order(rekey, 1), file, old),
        "key-program": s.ProgramStepPage(f, w.order(enrol, 1), EST, renewal=False),
        "key-program-shown": s.ProgramStepPage(f, w.order(enrol, 1), EST, renewal=False, credential=GIVEN),
        "key-program-renew": s.ProgramStepPage(f, w.order(rekey, 1), EST, renewal=True),
        "possession": s.PossessionStepPage(f, w.order(enrol, 1), browser, Reason.FIRST),
        "possession-words": s.PossessionStepPage(f, w.order(enrol, 1), KeyHome.HELPER, None, by_words=True),
        "channel": s.ChannelStepPage(f, w.order(rekey, 2), (MOBILE, EMAIL)),
        "channel-cooling": s.ChannelStepPage(f, w.order(rekey, 2), (cooling, EMAIL)),
        "channel-soon": s.ChannelStepPage(f, w.order(rekey, 2), (MOBILE, EMAIL), resend_in_s=41),
        "channel-none": s.ChannelStepPage(f, w.order(rekey, 2), (cooling,)),
        "channel-delay": s.ChannelStepPage(f, w.order(Operation.REPLACE, 2), (MOBILE,), delay_hours=24),
        "channel-waits": s.ChannelStepPage(
            f, w.order(Operation.REPLACE, 2), (replace(MOBILE, eligible=False, why_not=WAITS),), waits_until=NOW
        ),
        "channel-both": s.ChannelStepPage(f, w.order(Operation.REPLACE, 2), (MOBILE, EMAIL), both_codes=True),
        "channel-password": s.ChannelStepPage(f, w.order(rekey, 2), (cooling,), password_alone_helps=True),
        "slip": s.SlipStepPage(f, w.order(Operation.REPLACE, 2, slip=True), "BCDF-GHJK-LMNP", NOW + timedelta(days=7)),
        "code": s.CodeStepPage(f, w.order(rekey, 2), CHALLENGE),
        "code-over": s.CodeStepPage(f, w.order(rekey, 2), late),
        "code-last": s.CodeStepPage(f, w.order(rekey, 2), replace(CHALLENGE, sends_left=0, attempts_left=1)),
        "passed": s.PassedStepPage(f, w.order(rekey, 2)),
        "birth-date": s.BirthDateStepPage(f, w.order(rekey, 3), masked[1], ca),
        "review": s.ReviewStepPage(f, w.order(rekey, 4), *masked, CONSENT, browser, ca, certificate()),
        "review-enrol": s.ReviewStepPage(f, w.order(enrol, 4), *masked, CONSENT, file, ca, None, Reason.FIRST),
        "review-revoke": s.ReviewStepPage(
            f, w.order(revoke, 2), *masked, CONSENT, None, ca, certificate(), Reason.COMPROMISED
        ),
        "wait": s.WaitStepPage(f, w.order(rekey, 4, can_cancel=False)),
        "install-browser": s.InstallStepPage(f, w.order(rekey, 5), browser, issued),
        "install-file": s.InstallStepPage(f, w.order(rekey, 5), file, issued),
        "install-program": s.ProgramInstallPage(f, w.order(rekey, 5), issued),
        "done-renew": s.DoneStepPage(f, w.order(rekey, 6, can_cancel=False), counted, RECEIPT, browser, old_ends=True),
        "done-apply": s.DoneStepPage(f, w.order(enrol, 6, can_cancel=False), active, RECEIPT, file),
        "done-said": s.DoneStepPage(
            f,
            w.order(rekey, 6, can_cancel=False),
            active,
            RECEIPT,
            file,
            old_ends=True,
            old_ends_at=NOW + timedelta(days=7),
        ),
        "done-revoke": s.DoneStepPage(
            f, w.order(revoke, 3, can_cancel=False), certificate(CertificateState.REVOKED), RECEIPT
        ),
    }
    return pages | endings(w, f)


def endings(w: Setting, f: v.Frame) -> dict[str, Page]:
    """Return the orders that ended without a certificate."""
    why = text("This order is older than a day and has ended. Please start again.")
    again = v.Action(text("Apply for a certificate"), "/certificates")
    call = text("This order is on hold. Please call us; a person will help you.")
    begin = text("This order was cancelled. Please start again.")
    head = w.order(Operation.REKEY, 0, can_cancel=False)
    pages: dict[str, Page] = {}
    for state in (OrderState.EXPIRED, OrderState.CANCELLED, OrderState.LOCKED, OrderState.REFUSED):
        held = state is OrderState.LOCKED
        what, retry = (call, None) if held else (begin, again)
        pages[f"ended-{state.value}"] = s.EndedStepPage(f, head, state, why, what, retry)
    return pages


def errors(w: Setting) -> dict[str, Page]:
    """Return the error pages."""
    return {
        f"error-{status}": v.error_page(w.frame(signed_in=False), status, "req-7Q2M4N")
        for status in (401, 403, 404, 405, 413, 429, 500, 503)
    }


PARTS: tuple[Callable[[Setting], dict[str, Page]], ...] = (way_in, portal, steps, errors)


def sample_pages(world: Setting) -> dict[str, Page]:
    """Return every page and state, by name."""
    pages: dict[str, Page] = {}
    for part in PARTS:
        pages |= part(world)
    return pages


def main(folder: Path, stylesheet: Path) -> None:
    """Write the pages, the style sheets and the pictures they need."""
    pages = Pages(Translator(load_catalogues()))
    static = Path(__file__).parents[2] / "src/chopmark/web/static"
    for brand in (DEMO_BRAND, SECOND_BRAND):
        for lang in Lang:
            here = folder / f"{brand.key}-{lang.value}"
            (here / "static").mkdir(parents=True, exist_ok=True)
            for picture in static.glob("*.svg"):
                (here / "static" / picture.name).write_bytes(picture.read_bytes())
            (here / "main.css").write_bytes(stylesheet.read_bytes())
            (here / "brand.css").write_text(brand_css(brand), encoding="utf-8")
            for name, page in sample_pages(Setting(lang, brand, "main.css")).items():
                html = pages.render(page).replace('"/static/', '"static/').replace('"/brand.css"', '"brand.css"')
                (here / f"{name}.html").write_text(html, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
