"""The pages of an order whose key a program makes: they need no script, and go on where the order stands."""

import base64
import re

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from chopmark.web.est.service import Est
from tests.web.counter import Answer, Browser, World, errand
from tests.web.test_est import TYPE, URL, ask, body, door, escaped


def fields(page: Answer) -> dict[str, str]:
    """What the page's list of facts says."""
    rows = re.findall(r"<dt[^>]*>\s*(.*?)\s*</dt>\s*<dd[^>]*>\s*(.*?)\s*</dd>", page.text, re.DOTALL)
    return dict(rows)


async def opened(browser: Browser, path: str) -> Answer:
    answer = await browser.get(path, **{"accept-language": "en"})
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_program_is_offered_where_the_firm_has_a_door_for_it(world: World) -> None:
    for url, offered in (("", False), (URL, True)):
        browser = await world.with_web(est_url=url).signed_in("C10003")
        page = await opened(browser, "/certificates/apply?operation=enrol")
        assert ('value="helper"' in page.text) is offered
        assert 'value="browser"' in page.text


async def test_the_pages_lead_a_program_s_customer_from_the_credential_to_the_end(world: World) -> None:
    order = await errand(world.with_web(est_url=URL), "C10003")
    await order.start("enrol", key_home="helper")
    page, est = f"/orders/{order.order['id']}", door(world)
    first = await opened(order.browser, page)
    assert f'action="{page}/credential"' in first.text
    shown = await order.browser.form(f"{page}/credential")
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    stands = re.search(r'data-shown-once="([^"]+)"', shown.text)
    assert stands is not None
    led = await order.browser.form(stands[1])
    assert led.headers["location"] == f"{page}/credential", "WebKit reloads so, and makes none anew"
    given = list(fields(shown).values())
    assert given[:2] == [URL, order.order["id"]]
    credential = (given[1], given[2])
    again = await opened(order.browser, page)
    assert credential[1] not in again.text, "a credential is shown once"
    assert (await order.browser.get(f"{page}/credential")).headers["location"] == page
    sent = body(order.key)
    assert (await ask(est, "simpleenroll", headers=TYPE, auth=credential, content=sent)).status_code == 202
    asked = await opened(order.browser, page)
    assert 'data-step="possession"' in asked.text
    assert order.key.words[:4] not in asked.text, "the customer reads the words in the program, not on the page"
    await order.call(order.path, method="GET")
    for step in (order.name_key, order.send_code, order.enter_code, order.enter_birth_date):
        assert (await step()).is_success
    review = await opened(order.browser, page)
    assert order.key.words in review.text, "the customer sees which key"
    assert (await order.confirm()).is_success
    assert "Your program fetches it" in (await opened(order.browser, page)).text
    made = await ask(est, "simpleenroll", headers=TYPE, auth=credential, content=sent)
    await proved(est, made, sent)
    await order.call(order.path, method="GET")
    assert order.order["state"] == "active"
    assert (await opened(order.browser, page)).status_code == 200


async def proved(est: Est, made: Answer, sent: bytes) -> None:
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(made.content))
    own = {**TYPE, "X-Client-Certificate": escaped(certificate.public_bytes(Encoding.DER))}
    assert (await ask(est, "simplereenroll", headers=own, content=sent)).status_code == 200


async def test_a_renewal_s_page_asks_for_the_present_certificate_and_gives_no_credential(world: World) -> None:
    order = await errand(world.with_web(est_url=URL), "C10001")
    await order.start("rekey", key_home="helper")
    page = await opened(order.browser, f"/orders/{order.order['id']}")
    assert "with the certificate that you use today" in page.text
    assert "/credential" not in page.text
    refused = await order.browser.form(f"/orders/{order.order['id']}/credential")
    assert refused.status_code == 409


async def test_another_customer_s_page_gives_no_credential(world: World) -> None:
    watched = world.with_web(est_url=URL)
    order = await errand(watched, "C10003")
    await order.start("enrol", key_home="helper")
    other = await watched.signed_in("C10001")
    assert (await other.form(f"/orders/{order.order['id']}/credential")).status_code == 404
    assert await world.rows("SELECT order_id FROM credentials") == []
