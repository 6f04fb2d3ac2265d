"""The pages as a customer gets them: every page, every person, both languages; every step; every error."""

import html
import re

import httpx2
import pytest

from chopmark.app.worker import tasks
from chopmark.core.types import ActingLogin, CustomerId, OrderId
from chopmark.demo.people import PEOPLE
from chopmark.ra.consent import consent_for
from chopmark.store.engine.script import Script, query
from tests.web.counter import PERSON, URL, Answer, Browser, World, errand

PAGES = ["/home", "/certificates", "/certificates/apply", "/certificates/inquiry", "/certificates/revoke", "/profile"]
OPEN = ["/sign-in", "/launch", "/help/browser", "/repository", "/demo", "/demo/inbox", "/elsewhere/products"]
LANGS = {"zh-TW": "zh-Hant-TW", "en": "en"}
LEFTOVER = re.compile(r"%\(\w+\)|\{\{|\{%|Undefined|>None<")


def whole(answer: Answer, lang: str) -> str:
    """The page's text, after what every page must be has been checked."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<html lang="{LANGS[lang]}"' in answer.text
    assert LEFTOVER.search(answer.text) is None
    assert '<meta name="csrf-token" content="' in answer.text
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.text))


@pytest.mark.parametrize("lang", sorted(LANGS))
@pytest.mark.parametrize("half", [0, 1])
async def test_every_page_renders_for_every_customer_of_the_demo(world: World, lang: str, half: int) -> None:
    for person in PEOPLE[half::2]:
        browser = await world.signed_in(person.number)
        for path in PAGES:
            text = whole(await browser.get(f"{path}?lang={lang}"), lang)
            assert not person.birth or person.name not in text, (
                f"{person.number} {path}: a person's name is shown whole"
            )
            assert person.person_id not in text
            for contact in (person.mobile, person.email, person.birth):
                assert not contact or contact not in text, f"{person.number} {path}"
            assert re.search("[\u4e00-\u9fff]", text) or lang == "en"
        for operation in ("rekey", "enrol", "replace", "nonsense"):
            whole(await browser.get(f"/certificates/apply?operation={operation}&lang={lang}"), lang)


@pytest.mark.parametrize(
    ("number", "said"), [("C10021", "renew it now"), ("C10022", "in order"), ("C10023", "revoked")]
)
async def test_a_certificate_of_the_ca_before_has_its_recommendation(world: World, number: str, said: str) -> None:
    # The counter of this test is a copy elsewhere: the list of the CA before is another file, which is taken first.
    (job,) = [task.job for task in tasks(world.services) if task.name == "former-lists"]
    await job()
    text = whole(await (await world.signed_in(number)).get("/certificates?lang=en"), "en")
    assert said in text.lower()


@pytest.mark.parametrize("lang", sorted(LANGS))
@pytest.mark.parametrize("path", OPEN)
async def test_every_open_page_renders_without_a_session(world: World, lang: str, path: str) -> None:
    whole(await world.browser().get(f"{path}?lang={lang}"), lang)


def step_of(answer: Answer) -> str:
    """The name of the step that a page shows."""
    assert answer.status_code == 200
    marks = {
        "data-poll=": "wait",
        "data-done=": "done",
        "data-ended=": "ended",
        r'cm-primary"[^>]*\?step=apply': "passed",
    }
    for mark, name in marks.items():
        if re.search(mark, answer.text):
            return name
    found = re.search(r'data-step="([\w-]+)"', answer.text)
    return found[1].replace("-", "_") if found else ""


@pytest.mark.parametrize("lang", sorted(LANGS))
async def test_an_orders_page_shows_the_step_at_which_the_order_stands(world: World, lang: str) -> None:
    """Key, channel, code, passed, birth date, review, install, done; reloading never goes on."""
    order = await errand(world, "C10001")
    await order.start("rekey")
    path = f"/orders/{order.order['id']}"
    seen = []
    for act in ("bind", "send_code", "enter_code", "enter_birth_date", "confirm", "prove", ""):
        first, again = await order.browser.get(f"{path}?lang={lang}"), await order.browser.get(f"{path}?lang={lang}")
        whole(first, lang)
        assert step_of(first) == step_of(again)
        seen.append(step_of(first))
        if act == "enter_birth_date":
            seen.append(step_of(await order.browser.get(f"{path}?step=apply")))
        if act:
            assert (await getattr(order, act)()).is_success, act
    assert seen == ["key", "channel", "code", "passed", "birth_date", "review", "install", "done"]


async def test_what_ended_an_order_is_said_with_what_to_do(world: World) -> None:
    sentences = {}
    for number, end in (("C10001", "cancel"), ("C10006", "dispute"), ("C10008", "day")):
        order = await (await errand(world, number)).until("channel", "rekey")
        if end == "cancel":
            await order.call(f"{order.path}/cancel")
        elif end == "dispute":
            await order.call(f"{order.path}/dispute", {"channel": "mobile"})
        else:
            world.clock.later(hours=25)
            await order.browser.sign_in(number)
        page = await order.browser.get(f"/orders/{order.order['id']}?lang=en")
        assert step_of(page) == "ended"
        sentences[end] = whole(page, "en")
        assert 'href="/certificates"' in page.text
    assert "You cancelled this order." in sentences["cancel"]
    assert "You told us that a contact is not yours. This order was ended" in sentences["dispute"]
    assert "The order was not finished within its time." in sentences["day"]


PRESENT = "present certificate"


async def test_who_has_no_certificate_yet_reads_of_no_present_one(world: World) -> None:
    """C10005 applies for the first one: at each step, on the page of the installation, and at the end."""
    order = await (await errand(world, "C10005")).until("channel", "enrol")
    path = f"/orders/{order.order['id']}?lang=en"
    early = whole(await order.browser.get(path), "en")
    assert "If you cancel, nothing is issued." in early
    await order.until("install", "enrol")
    install = whole(await order.browser.get(path), "en")
    assert "within three days. If you cancel, the new certificate is revoked." in install
    await order.call(f"{order.path}/cancel")
    ended = whole(await order.browser.get(path), "en")
    assert "The certificate that was issued is revoked. You can begin again." in ended
    assert [page for page in (early, install, ended) if PRESENT in page] == []


async def test_who_cancels_a_renewal_that_is_issued_already_is_told_what_is_revoked_and_what_stays(
    world: World,
) -> None:
    order = await (await errand(world, "C10001")).until("install", "rekey")
    path = f"/orders/{order.order['id']}?lang=en"
    install = whole(await order.browser.get(path), "en")
    assert "the new certificate is revoked and your present one stays as it is" in install
    await order.call(f"{order.path}/cancel")
    ended = whole(await order.browser.get(path), "en")
    assert "The certificate that was issued is revoked, and your present one is as it was." in ended


async def test_a_submitted_order_shows_that_it_is_being_worked_on(world: World) -> None:
    """The state that a crash between submitting and issuing leaves."""
    order = await (await errand(world, "C10001")).until("review", "rekey")
    consent = order.order["consent"]["sha256"]
    snapshot = await world.services.ra.context.snapshots.order(CustomerId("C10001"), order.order["id"])
    assert snapshot is not None
    assert snapshot.order.approved_login is not None
    acting = ActingLogin(snapshot.order.approved_login, snapshot.order.login_factors, snapshot.order.login_factors)
    assert await world.services.ra.rekey.issuing.submit(snapshot, consent, acting) is not None
    page = await order.browser.get(f"/orders/{order.order['id']}?lang=en")
    assert step_of(page) == "wait"
    assert (await order.browser.api(f"{order.path}", method="GET")).json()["next"] == "wait"
    world.clock.later(seconds=120)
    await world.once("resume")
    assert step_of(await order.browser.get(f"/orders/{order.order['id']}")) == "install"


async def test_a_revocation_has_its_own_steps(world: World) -> None:
    order = await errand(world, "C10002")
    serial = (await order.browser.get("/api/v1/certificates")).json()[0]["serial"]
    await order.start("revoke", reason="lost", serial=serial)
    path, seen = f"/orders/{order.order['id']}?step=apply", []
    for act in ("send_code", "enter_code", "confirm", ""):
        seen.append(step_of(await order.browser.get(path)))
        if act:
            await getattr(order, act)()
    assert seen == ["channel", "code", "review", "done"]


async def test_another_channel_can_be_asked_for_while_a_code_is_out(world: World) -> None:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    assert step_of(await order.browser.get(f"/orders/{order.order['id']}?step=channel")) == "channel"


# Errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/no-such-page", f"/orders/{'A' * 26}", "/repository/x.pem", "/elsewhere/x"])
@pytest.mark.parametrize("lang", sorted(LANGS))
async def test_what_is_not_there_is_a_page_that_helps(world: World, path: str, lang: str) -> None:
    browser = await world.signed_in("C10001")
    answer = await browser.get(f"{path}?lang={lang}")
    assert answer.status_code == 404
    assert f'<html lang="{LANGS[lang]}"' in answer.text
    assert (
        world.web_services.brand.hotline.en if lang == "en" else world.web_services.brand.hotline.zh
    ) in html.unescape(answer.text)
    assert 'href="/certificates"' in answer.text


@pytest.mark.parametrize("name", ["a%00b", "a" * 300, "favicon.svg/more"])
async def test_a_name_that_no_file_can_have_is_a_file_that_is_not_there(world: World, name: str) -> None:
    """NUL, more than 255 octets, a file for a folder: the file system's own errors."""
    assert (await world.browser().get(f"/static/{name}")).status_code == 404


async def test_the_demos_pages_are_not_there_without_the_demo(world: World) -> None:
    browser = world.with_web(demo=None, demo_mode=False).browser()
    for path in ("/demo", "/demo/inbox", "/elsewhere/products"):
        assert (await browser.get(path)).status_code == 404
    assert (await browser.get("/")).headers["location"] == "/home"
    await browser.get("/sign-in")
    assert (await browser.form("/demo/launch", customer="C10001")).status_code == 404


class Sick:
    """A part that fails with something nobody should read."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("secret-of-the-house")


@pytest.mark.parametrize("lang", sorted(LANGS))
async def test_a_failure_shows_a_number_for_the_help_line_and_nothing_else(world: World, lang: str) -> None:
    sick = world.with_web(people=Sick())
    browser = await sick.signed_in("C10001")
    answer = await browser.get(f"/home?lang={lang}")
    assert answer.status_code == 500
    assert "secret-of-the-house" not in answer.text
    assert "RuntimeError" not in answer.text
    assert re.search(r"\b[0-9A-F]{8}\b", answer.text)
    assert (
        world.web_services.brand.hotline.en if lang == "en" else world.web_services.brand.hotline.zh
    ) in html.unescape(answer.text)


# Language ----------------------------------------------------------------------------------------------------------


async def language(browser: Browser, path: str = "/sign-in", **headers: str) -> str:
    found = re.search(r'<html lang="([\w-]+)"', (await browser.get(path, **headers)).text)
    assert found
    return found[1]


async def test_a_language_once_chosen_stays_and_the_browsers_wish_comes_after_it(world: World) -> None:
    browser = world.browser()
    assert await language(browser) == "zh-Hant-TW"
    assert await language(browser, **{"accept-language": "en-GB,en;q=0.8"}) == "en"
    assert await language(browser, "/sign-in?lang=en") == "en"
    assert await language(browser, **{"accept-language": "zh-TW"}) == "en"
    assert await language(browser, "/sign-in?lang=zh-TW") == "zh-Hant-TW"
    assert await language(browser) == "zh-Hant-TW"
    assert await language(browser, "/no-such-page?lang=en") == "en"
    assert await language(browser) == "en"


@pytest.mark.parametrize("wish", ["fr", "<script>", "en%0d%0aSet-Cookie:x=1", "en,zh", "", "x" * 5000])
async def test_a_language_that_does_not_exist_sets_nothing(world: World, wish: str) -> None:
    answer = await world.browser().get(f"/sign-in?lang={wish}")
    assert answer.status_code == 200
    assert "lang=" not in answer.headers.get("set-cookie", "")


async def test_the_language_links_keep_the_page_and_its_question(world: World) -> None:
    browser = await world.signed_in("C10006")
    page = (await browser.get("/certificates?account=9A95-0002006&lang=en")).text
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*lang=[^"]*)"', page)]
    assert any(link.startswith("/certificates?") and "account=9A95-0002006" in link for link in links)


# Hostile words -----------------------------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "path",
    [
        "/certificates?account={}",
        "/certificates/apply?operation={}",
        "/sign-in?next={}",
        "/orders/{}",
        "/demo?customer={}",
    ],
)
async def test_what_the_address_says_is_never_markup(world: World, path: str) -> None:
    browser = await world.signed_in("C10001")
    assert SCRIPT not in (await browser.get(path.format(SCRIPT))).text
    assert '"onload=' not in (await browser.get(path.format('"onload=alert(1) x="'))).text


async def test_what_is_typed_at_sign_in_comes_back_as_text(world: World) -> None:
    answer = await world.browser().form("/sign-in", who=f'"{SCRIPT}', password="x", next=SCRIPT)
    assert answer.status_code == 401
    assert SCRIPT not in answer.text


async def test_huge_fields_are_cut_and_a_huge_form_is_refused(world: World) -> None:
    browser = world.browser()
    answer = await browser.form("/sign-in", who="C" * 20_000, password="x")
    assert answer.status_code == 401
    assert "C" * 201 not in answer.text
    assert (await browser.form("/sign-in", who="C" * 70_000, password="x")).status_code == 413


@pytest.mark.parametrize("who", ["\x00", "\u202e10001C", "Ｃ１０００１", "' OR 1=1 --", "%", "C10001\n", "🐉" * 60])
async def test_odd_names_at_sign_in_are_plainly_wrong(world: World, who: str) -> None:
    answer = await world.browser().form("/sign-in", who=who, password="x")
    assert answer.status_code == 401


async def test_many_and_double_fields_and_files_do_not_confuse_the_sign_in(world: World) -> None:
    browser = world.browser()
    await browser.get("/sign-in")
    token = browser.token
    files = {"who": ("a.txt", b"C10001"), "password": ("b.txt", b"x")}
    answer = await browser.request(
        "POST", "/sign-in", data={"_csrf_token": token}, files=files, headers={"Origin": URL}
    )
    assert answer.status_code == 400
    twice = f"_csrf_token={token}&who=C10001&who=C10002&password=x&password=y"
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": URL}
    assert (await browser.request("POST", "/sign-in", content=twice, headers=form)).status_code in {400, 401}
    many = f"_csrf_token={token}&" + "&".join(f"f{number}=1" for number in range(5000))
    assert (await browser.request("POST", "/sign-in", content=many, headers=form)).status_code in {400, 413}


async def test_the_profile_shows_masks_and_nothing_more(world: World) -> None:
    text = whole(await (await world.signed_in("C10001")).get("/profile?lang=en"), "en")
    person = PERSON["C10001"]
    assert "678" in text
    assert person.mobile[:6] not in text
    assert person.email.split("@")[0] not in text


async def test_a_code_that_could_not_be_delivered_is_said_and_the_other_way_is_offered(world: World) -> None:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    address = f"/orders/{order.order['id']}"
    notice = re.compile(
        r"<p [^>]*data-undelivered( hidden)?>The message could not be delivered[^<]*<a [^>]*step=channel"
    )
    for outcome, hidden in (("sent", True), ("failed:deferred", False)):

        def ended(outcome: str = outcome) -> Script[None]:
            yield query("UPDATE work SET done_at = 1, outcome = :outcome WHERE kind = 'code'", outcome=outcome)

        await world.services.foundation.engine.run(ended)
        found = notice.search((await order.browser.get(address, **{"accept-language": "en"})).text)
        assert found is not None
        assert bool(found[1]) is hidden
        answer = await order.call(order.path, method="GET")
        assert answer.json()["challenge"]["undelivered"] is not hidden


@pytest.mark.parametrize(
    "path", ["//evil.example.com/sign-in", "/%5Cevil.example.com/x", "///evil.example.com", "/%2F/evil.example.com/"]
)
async def test_a_path_that_names_another_host_is_no_link_of_the_page(world: World, path: str) -> None:
    """A browser takes //host/ and /\\host/ for another site; the page that is not found links to itself."""
    answer = await world.browser().client.get(httpx2.URL(URL).copy_with(raw_path=path.encode()))
    assert answer.status_code == 404
    links = re.findall(r'(?:href|action)="([^"]*)"', answer.text)
    assert any("evil.example.com" in link for link in links), "the switch of languages"
    for link in links:
        assert re.match(r"[/\\\\]{2}", html.unescape(link)) is None, link


@pytest.mark.parametrize(("lang", "word"), [("zh-TW", "不推定"), ("en", "does not presume")])
async def test_terms_and_the_ca_s_page_say_what_a_private_ca_s_signature_is_in_law(
    world: World, lang: str, word: str
) -> None:
    """TW-09: presumed the person's own hand's only under a CA that the authority has approved."""
    page = await world.browser().get(f"/repository?lang={lang}")
    assert page.text.count(word) == 1
    order = await errand(world, "C10003")
    await order.start("enrol")
    assert (await order.bind()).status_code == 200
    stored = await world.services.ra.context.orders.get(OrderId(order.order["id"]))
    assert stored is not None
    told = consent_for(stored, "X")
    assert sum("does not presume" in sentence.msgid for sentence in told.sentences) == 1


async def test_who_has_a_certificate_of_the_ca_before_is_told_who_can_revoke_it(world: World) -> None:
    valid, ended = await world.signed_in("C10022"), await world.signed_in("C10023")
    page = (await valid.get("/certificates/revoke?lang=en")).text
    assert "was issued by Former Certification Company (demo), and only that company can revoke it" in page
    assert (
        "You have no valid certificate that could be revoked." in (await ended.get("/certificates/revoke?lang=en")).text
    )
