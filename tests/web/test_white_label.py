"""Another firm's portal: every page through the real application, and no word of the first firm on it."""

from dataclasses import fields
from pathlib import Path

import pytest

from chopmark.web.brand import DEMO_BRAND, Brand, load_brand
from chopmark.web.i18n import Bilingual
from tests.web.counter import Errand, World, errand, filled, routes

SECOND = """
key = "cingyu"
logo = "/brand/logo.svg"
icon = "/brand/icon.svg"
mail = "hello@cingyu.example"
[firm]
zh = "青嶼證券"
en = "Cingyu Securities"
[portal]
zh = "客戶天地"
en = "Client corner"
[product]
zh = "簽章中心"
en = "Signature centre"
[legal_name]
zh = "青嶼證券股份有限公司"
en = "Cingyu Securities Co., Ltd."
[hotline]
zh = "0800-555-123"
en = "0800-555-123"
[hotline_name]
zh = "服務電話"
en = "Service line"
[hotline_note]
zh = "國外請撥+886-6-555-0123"
en = "From abroad call +886-6-555-0123"
[service_hours]
zh = "每日 9:00-18:00"
en = "Every day 9:00 to 18:00"
[address]
zh = "澎湖縣青嶼路1號"
en = "1 Cingyu Road, Penghu"
[ca_name]
zh = "青嶼憑證中心"
en = "Cingyu CA"
[colours]
brand = "#0b5c6b"
brand_dark = "#073f4a"
[links]
statements = "https://cingyu.example/statements"
"""


@pytest.fixture
def second(tmp_path: Path) -> Brand:
    path = tmp_path / "second.toml"
    path.write_text(SECOND, encoding="utf-8")
    return load_brand(path)


def words_of(brand: Brand) -> set[str]:
    """Every word, picture and colour that is the firm's own."""
    said = {brand.key, brand.logo, brand.mail, brand.colours.brand, brand.colours.brand_dark}
    for entry in fields(Brand):
        value = getattr(brand, entry.name)
        if isinstance(value, Bilingual):
            said |= {value.zh, value.en}
    return said | {"好景", "Haojing", "haojing"}


async def opened_at(world: World, second: Brand) -> tuple[World, Errand]:
    """The second firm's portal, without the demo's own pages; its CA is named as the firm's CA."""
    theirs = world.with_web(brand=second, issuer_title=second.ca_name.zh, demo=None, demo_mode=False)
    return theirs, await (await errand(theirs, "C10001")).until("channel", "rekey")


@pytest.mark.parametrize("lang", ["zh-TW", "en"])
async def test_no_page_of_the_second_firm_has_a_word_of_the_first(world: World, second: Brand, lang: str) -> None:
    """The certificates in the repository and the messages sent are the installation's, made under the first firm."""
    theirs, order = await opened_at(world, second)
    first = words_of(DEMO_BRAND) - shared()
    serial = (await order.browser.get("/api/v1/certificates")).json()[0]["serial"]
    values = {"order_id": order.order["id"], "serial": serial, "service": "products", "name": "root.pem"}
    installation = {"/repository", "/repository/{name:str}", "/demo/inbox", "/static/{file_path:path}"}
    seen = 0
    for method, path in routes(theirs.portal):
        if method != "GET" or path in installation or path.startswith("/api/"):
            continue
        answer = await order.browser.get(f"{filled(path, **values)}?lang={lang}")
        assert [word for word in first if word in answer.text] == [], path
        seen += answer.headers.get("content-type", "").startswith("text/html")
    for path in ("/no-such-page", f"/orders/{'A' * 26}"):
        answer = await order.browser.get(f"{path}?lang={lang}")
        assert [word for word in first if word in answer.text] == [], path
    assert seen >= 12


def shared() -> set[str]:
    """What both firms say alike."""
    return {value for value in words_of(DEMO_BRAND) if value in SECOND}


@pytest.mark.parametrize("lang", ["zh-TW", "en"])
async def test_every_step_of_an_order_speaks_for_the_second_firm(world: World, second: Brand, lang: str) -> None:
    theirs = world.with_web(brand=second, issuer_title=second.ca_name.zh)
    first = words_of(DEMO_BRAND) - shared()
    order = await errand(theirs, "C10005")
    await order.start("enrol")
    for step in ("bind", "send_code", "enter_code", "enter_birth_date", "confirm", "prove"):
        page = await order.browser.get(f"/orders/{order.order['id']}?lang={lang}")
        assert page.status_code == 200
        found = [word for word in first if word in page.text and word != world.services.ca.issuer.name]
        assert found == [], step
        assert second.hotline.zh in page.text
        assert (await getattr(order, step)()).is_success, step
    done = await order.browser.get(f"/orders/{order.order['id']}?lang={lang}")
    assert [word for word in first if word in done.text] == []


async def test_the_demos_own_pages_name_the_second_firm_too(world: World, second: Brand) -> None:
    browser = world.with_web(brand=second).browser()
    for path in ("/demo", "/elsewhere/products"):
        page = (await browser.get(path)).text
        assert "好景" not in page
        assert "aojing" not in page


async def test_what_the_second_firm_does_not_offer_is_not_in_its_menu(world: World, second: Brand) -> None:
    theirs = world.with_web(brand=second)
    page = (await (await theirs.signed_in("C10001")).get("/home", **{"accept-language": "en"})).text
    assert "https://cingyu.example/statements" in page
    assert "/elsewhere/" not in page
    assert "Cingyu Securities" in page


async def test_the_second_firms_colours_are_served(world: World, second: Brand) -> None:
    css = (await world.with_web(brand=second).browser().get("/brand.css")).text
    assert "#0b5c6b" in css
    assert DEMO_BRAND.colours.brand not in css
