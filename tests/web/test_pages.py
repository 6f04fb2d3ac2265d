"""Every page, in both languages and for two firms: complete, well-formed, safe and the firm's own."""

import re
from dataclasses import fields, replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chopmark.web.brand import (
    DEMO_BRAND,
    SERVICE_NAMES,
    Brand,
    BrandError,
    ServiceKey,
    brand_css,
    contrast_with_white,
    load_brand,
    read_brand,
)
from chopmark.web.i18n import Bilingual, Lang, Translator, load_catalogues
from chopmark.web.pages import views as v
from chopmark.web.pages.prepared import PreparedPages
from chopmark.web.pages.render import Pages
from tests.web.gallery import SECOND_BRAND, Setting, sample_pages

PAGES = Pages(Translator(load_catalogues()))
VOID = {"meta", "link", "input", "img", "br", "hr"}
PREPARED = PreparedPages(PAGES.translator)
NAMES = sorted(sample_pages(Setting(Lang.ZH_TW, DEMO_BRAND)))


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in order, and remembers what the tests ask."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.controls: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element and its attributes."""
        has = {name: value or "" for name, value in attrs}
        if len(has) != len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.attributes += [(tag, name, value) for name, value in has.items()]
        self.ids += [has["id"]] if "id" in has else []
        for name in ("aria-describedby", "aria-labelledby", "for"):
            self.references += has.get(name, "").split()
        if tag in ("input", "select") and has.get("type") not in ("hidden", "submit", "reset", "button"):
            self.controls.append(has.get("id", f"<{tag}> without id"))
        if tag == "label":
            self.labels.append(has.get("for", ""))
        if tag == "form":
            if "form" in self.open:
                self.wrong.append("a form inside a form")
            self.forms.append({"method": has.get("method", "get"), "token": ""})
        if tag == "input" and has.get("name") == "_csrf_token" and self.forms:
            self.forms[-1]["token"] = has.get("value", "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Keep what a person can read."""
        self.text.append(data.strip())


def rendered(name: str, lang: Lang, brand: Brand = DEMO_BRAND) -> str:
    """Return one sample page."""
    return PAGES.render(sample_pages(Setting(lang, brand))[name])


def readable(html: str) -> str:
    """Return what a person sees of a page: its words, its title and its labels for a screen reader."""
    reader = Reader(html)
    spoken = [value for _tag, name, value in reader.attributes if name in ("aria-label", "data-busy-label", "alt")]
    return "\n".join([*(each for each in reader.text if each), *spoken])


@pytest.mark.parametrize("lang", list(Lang))
@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_well_formed_and_every_control_has_its_label(name: str, lang: Lang) -> None:
    """Elements nest, ids are unique, and what refers to an id finds it."""
    page = Reader(rendered(name, lang))
    assert page.wrong == []
    assert sorted(page.ids) == sorted(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert set(page.controls) <= set(page.labels)


@pytest.mark.parametrize(("lang", "begins"), [(Lang.ZH_TW, "<title>錯誤： "), (Lang.EN, "<title>Error: ")])
def test_a_refused_form_puts_the_focus_on_its_summary_without_script_and_says_so_in_its_title(
    lang: Lang, begins: str
) -> None:
    pages = sample_pages(Setting(lang, DEMO_BRAND))
    refused = {name for name, page in pages.items() if getattr(page, "problem", None) is not None}
    assert refused >= {"sign-in-wrong", "reminders-wrong", "stop-wrong"}
    shown = {name: PAGES.render(page) for name, page in pages.items()}
    focused = re.compile(r'data-error-summary tabindex="-1" autofocus>')
    assert {name for name, html in shown.items() if focused.search(html)} == refused
    assert {name for name, html in shown.items() if "autofocus" in html} == refused
    assert {name for name, html in shown.items() if begins in html} == refused


@pytest.mark.parametrize("name", NAMES)
def test_every_form_that_changes_something_has_the_csrf_token_and_no_other_carries_it(name: str) -> None:
    """A GET form would put the token into the address."""
    for form in Reader(rendered(name, Lang.ZH_TW)).forms:
        assert form["token"] == ("csrf-token-of-the-gallery" if form["method"] == "post" else "")


@pytest.mark.parametrize("name", NAMES)
def test_no_page_has_an_inline_script_or_style(name: str) -> None:
    """The policy `script-src 'self'; style-src 'self'` would block them (CSP Level 3)."""
    html = rendered(name, Lang.EN)
    assert not [each for each in Reader(html).attributes if each[1] == "style" or each[1].startswith("on")]
    assert "<style" not in html
    assert "javascript:" not in html
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_one_h1_one_main_and_at_most_one_primary_button(name: str) -> None:
    """One thing to do on a page; the dialog is another page in this respect."""
    html = rendered(name, Lang.ZH_TW)
    assert html.count("<h1") == html.count("<main") == 1
    assert len(re.findall(r"cm-primary\b", html)) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_zh_tw_page_has_no_english_sentence(name: str) -> None:
    """Two English words in a row are a sentence that was not translated."""
    words = readable(rendered(name, Lang.ZH_TW))
    allowed = ("CN=Issuing CA 1", "Chrome", "English", "AM8:00-PM7:00")
    for each in allowed:
        words = words.replace(each, "")
    assert re.findall(r"[A-Za-z]{2,}(?:[ ,]+[a-z]{2,})+", words) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("inbox", "demo")])
def test_an_english_page_has_no_chinese_but_the_names(name: str) -> None:
    """Names, the switch of the language and account labels stay as they are."""
    words = readable(rendered(name, Lang.EN))
    for each in ("王•明", "中文", "(期)", "(證)", "（", "）"):
        words = words.replace(each, "")
    assert re.findall(r"[\u4e00-\u9fff]+", words) == []


def words_of(brand: Brand) -> list[str]:
    """Return every word of a brand that could show; the product is called by the manual's own word."""
    values = [getattr(brand, each.name) for each in fields(brand) if each.name != "product"]
    both = [part for value in values if isinstance(value, Bilingual) for part in (value.zh, value.en)]
    return [*both, brand.mail, brand.colours.brand, brand.colours.brand_dark, brand.firm.zh[:2], "aojing"]


@pytest.mark.parametrize("lang", list(Lang))
@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_the_second_firm_has_no_word_of_the_first(name: str, lang: Lang) -> None:
    """White-label: all words, pictures and colours of the firm come from its brand."""
    html = rendered(name, lang, SECOND_BRAND) + brand_css(SECOND_BRAND)
    assert [word for word in words_of(DEMO_BRAND) if word in html] == []


def test_the_zh_tw_catalogue_has_every_message_of_the_templates() -> None:
    """No sentence of a page falls back to English."""
    catalogue = load_catalogues()[Lang.ZH_TW]
    assert [name for name in SERVICE_NAMES.values() if catalogue.gettext(name) == name] == []


MANUAL = {
    "home": "個人資料 交易密碼 電子憑證 電子對帳單 承銷申購 文件簽署 線上e櫃檯 商品專區",
    "overview-renew": "請選擇帳號 查詢 憑證申請 憑證展延 憑證查詢 憑證廢止",
    "overview-none": "證券客服專線 附註 服務時間 版權所有 地址 客服信箱",
    "channel": "選擇帳號 查詢 驗證碼接收方式 行動電話 電子郵件 不是我的號碼 發送驗證碼",
    "code": "OTP_憑證驗證流程 驗證碼有效期限： 倒數 259 秒 請輸入驗證碼 檢核驗證碼",
    "passed": "檢核成功。 立即去申請憑證",
    "birth-date": "電子簽章憑證申請 需要二次驗證，請輸入民國的出生日期 身分證 生日(民國) 年 月 日 確定 清除",
    "review": "確定要送出憑證申請？ 確定 取消",
    "done-renew": "安裝憑證成功 憑證展延完成",
    "done-apply": "安裝憑證成功 憑證申請完成",
    "demo": "系統 憑證管理",
}


@pytest.mark.parametrize("name", sorted(MANUAL))
def test_a_page_has_the_manuals_words(name: str) -> None:
    """The customer finds the words of the manual, as written there."""
    words = readable(rendered(name, Lang.ZH_TW)).split("\n")
    for wanted in MANUAL[name].split():
        assert [each for each in words if wanted.replace("_", " ") in each], wanted


def test_the_menu_of_the_home_page_keeps_the_manuals_order() -> None:
    """個人資料 first, 商品專區 last."""
    frame = Setting(Lang.ZH_TW, DEMO_BRAND).frame()
    assert [PAGES.translator.translate(item.name, Lang.ZH_TW) for item in frame.menu] == MANUAL["home"].split()


def test_the_fifth_entry_of_the_demos_system_menu_is_the_certificates() -> None:
    """步驟 2: 左邊數來第五個【憑證管理】."""
    html = rendered("demo", Lang.ZH_TW)
    entries = re.findall(r"<li><(?:span|button)[^>]*>([^<]+)<", html)
    assert entries[4] == "憑證管理"


def test_the_sentence_about_the_issuer_names_the_issuer_and_nobody_else() -> None:
    """臺灣網路認證 is named only where it issues."""
    other = rendered("birth-date", Lang.ZH_TW)
    assert "本公司使用好景示範憑證管理中心核發之電子憑證，提供您進行網路下單作業使用。" in other
    assert "臺灣網路認證" not in other


@pytest.mark.parametrize(("name", "rare"), [("王•明", False), ("王•\U00020bb7", True), ("\ue001•明", True)])
def test_a_name_with_a_character_that_may_have_no_picture_is_shown_with_a_note(name: str, rare: bool) -> None:
    """Both kinds that people have: an ideograph outside of the first plane, and a character of a firm's own."""
    page = sample_pages(Setting(Lang.ZH_TW, DEMO_BRAND))["profile"]
    assert isinstance(page, v.ProfilePage)
    html = PAGES.render(replace(page, masked_name=name))
    assert name in html
    assert ("罕用字" in html) is rare


def test_what_a_customer_typed_is_shown_as_text_and_never_as_markup() -> None:
    """Autoescape holds in attributes and in text."""
    frame = Setting(Lang.EN, DEMO_BRAND).frame()
    html = PAGES.render(v.SignInPage(frame, who='"><script>alert(1)</script>', next="/home"))
    assert "<script>alert" not in html


def test_an_error_without_words_of_its_own_is_shown_as_its_family() -> None:
    """418 as 404, 502 as 500."""
    frame = Setting(Lang.EN, DEMO_BRAND).frame()
    assert v.error_page(frame, 418, "r").title == v.error_page(frame, 404, "r").title
    assert v.error_page(frame, 502, "r").title == v.error_page(frame, 500, "r").title


BRAND_TOML = """
key = "x"
logo = "/brand/x.svg"
mail = "a@x.example"
firm = { zh = "甲", en = "A" }
portal = { zh = "乙", en = "B" }
product = { zh = "丙", en = "C" }
legal_name = { zh = "丁", en = "D" }
hotline = { zh = "戊", en = "E" }
hotline_name = { zh = "己", en = "F" }
hotline_note = { zh = "庚", en = "G" }
service_hours = { zh = "辛", en = "H" }
address = { zh = "壬", en = "I" }
ca_name = { zh = "癸", en = "J" }
[colours]
brand = "#0B5C6B"
[links]
statements = "https://x.example/statements"
"""


def test_a_brand_is_read_from_toml_and_what_it_does_not_link_is_hidden(tmp_path: Path) -> None:
    """What Chopmark serves itself is always there."""
    file = tmp_path / "brand.toml"
    file.write_text(BRAND_TOML, encoding="utf-8")
    brand = load_brand(file)
    assert brand.firm == Bilingual("甲", "A")
    assert brand.colours.brand == "#0b5c6b"
    assert brand.offered() == (ServiceKey.PROFILE, ServiceKey.CERTIFICATES, ServiceKey.STATEMENTS)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"firm": "甲"}, "firm"),
        ({"firm": {"zh": "甲"}}, "firm"),
        ({"mail": " "}, "mail"),
        ({"logo": "javascript:x"}, "logo"),
        ({"colours": {"brand": "red"}}, "colours.brand"),
        ({"colours": {"brand": "#ffcc00"}}, "too pale"),
        ({"links": {"certificates": "/x"}}, "links.certificates"),
        ({"links": {"products": "//evil.example"}}, "links.products"),
        ({"slogan": "x"}, "slogan"),
    ],
)
def test_a_brand_that_cannot_be_used_is_refused_by_the_name_of_the_entry(wrong: dict[str, object], named: str) -> None:
    """The person who writes the file is told which line."""
    words: dict[str, object] = {each.name: {"zh": "甲", "en": "A"} for each in fields(Brand) if each.type is Bilingual}
    right = {"key": "x", "logo": "/x.svg", "mail": "a@x.example", **words}
    assert read_brand(right).key == "x"
    with pytest.raises(BrandError, match=named):
        read_brand(right | wrong)


def test_contrast_is_computed_as_wcag_defines_it() -> None:
    """Black on white is 21:1, #767676 is the well-known grey that just passes 4.5:1 (WCAG 2.2)."""
    assert contrast_with_white("#000000") == pytest.approx(21.0)
    assert contrast_with_white("#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast_with_white("#777777") < 4.5


@pytest.mark.parametrize("name", ["王○明", "<b>&\"'\x02csrf_token\x03", "王\ue000明", "𠀋○"])
def test_a_page_of_a_launch_that_was_prepared_for_somebody_else_is_the_page_itself(name):
    for brand in (DEMO_BRAND, SECOND_BRAND):
        for lang in Lang:
            for frame in (Setting(lang, brand).frame(signed_in=False), Setting(lang, brand).frame()):
                mine = replace(frame, csrf_token=f"{name}-{lang}", server_time=frame.server_time + timedelta(days=1))
                for one in (v.LaunchShellPage, lambda it: v.LaunchConfirmPage(it, name, f"({name}) F014000")):
                    PREPARED.render(one(replace(frame, csrf_token="another's")))
                    assert PREPARED.render(one(mine)) == PAGES.render(one(mine))


def test_other_pages_are_not_prepared():
    page = sample_pages(Setting(Lang.EN, DEMO_BRAND))["home"]
    assert PREPARED.render(page) == PAGES.render(page)
