"""The brand: the firm's names, words, colours and pictures."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path

from chopmark.web.i18n import Bilingual


class BrandError(ValueError):
    """The brand file cannot be used; the message says which entry and why."""


class ServiceKey(StrEnum):
    """The eight services of the customer's area, in the manual's order."""

    PROFILE = "profile"
    PASSWORD = "password"
    CERTIFICATES = "certificates"
    STATEMENTS = "statements"
    SUBSCRIPTION = "subscription"
    SIGNING = "signing"
    COUNTER = "counter"
    PRODUCTS = "products"


SERVICE_NAMES: Mapping[ServiceKey, str] = {
    ServiceKey.PROFILE: "My details",
    ServiceKey.PASSWORD: "Trading password",
    ServiceKey.CERTIFICATES: "Electronic certificate",
    ServiceKey.STATEMENTS: "Electronic statements",
    ServiceKey.SUBSCRIPTION: "Share subscription",
    ServiceKey.SIGNING: "Document signing",
    ServiceKey.COUNTER: "Online counter",
    ServiceKey.PRODUCTS: "Products",
}
"""Message ids; the catalogue has the manual's words."""

OWN_LINKS: Mapping[ServiceKey, str] = {
    ServiceKey.PROFILE: "/profile",
    ServiceKey.CERTIFICATES: "/certificates",
}
"""What this portal serves itself; a brand cannot point these elsewhere."""


@dataclass(frozen=True, slots=True)
class Colours:
    """The brand's colours, `#rrggbb`; each carries white text and must reach 4.5:1 (WCAG 2.2 s.1.4.3)."""

    brand: str = "#b3271e"
    brand_dark: str = "#7c140e"


DEFAULT_ICON = "/static/favicon.svg"
"""The seal that a browser's tab shows when a brand has no icon of its own."""


@dataclass(frozen=True, slots=True)
class Brand:
    """One firm. Words in two languages; paths and links begin with `/` or `https://`."""

    key: str
    firm: Bilingual
    portal: Bilingual
    product: Bilingual
    legal_name: Bilingual
    logo: str
    hotline: Bilingual
    hotline_name: Bilingual
    hotline_note: Bilingual
    service_hours: Bilingual
    address: Bilingual
    mail: str
    ca_name: Bilingual
    colours: Colours = field(default_factory=Colours)
    links: tuple[tuple[ServiceKey, str], ...] = ()
    icon: str = DEFAULT_ICON

    def link(self, service: ServiceKey) -> str | None:
        """Return where a service is found, or None when it is not offered."""
        return OWN_LINKS.get(service) or dict(self.links).get(service)

    def offered(self) -> tuple[ServiceKey, ...]:
        """Return the services to show, in the manual's order."""
        return tuple(service for service in ServiceKey if self.link(service))


DEMO_BRAND = Brand(
    key="haojing",
    firm=Bilingual("好景期貨", "Haojing Futures"),
    portal=Bilingual("客戶服務專區", "Customer service area"),
    product=Bilingual("憑證管理", "Certificate management"),
    legal_name=Bilingual("好景期貨股份有限公司（示範）", "Haojing Futures Co., Ltd. (demonstration)"),
    logo="/static/logo.svg",
    hotline=Bilingual("412-0000轉9", "412-0000 ext. 9"),
    hotline_name=Bilingual("證券客服專線", "Customer hotline"),
    hotline_note=Bilingual(
        "外島地區及行動電話用戶撥打時，請加(02)或(07)",
        "From the outer islands or a mobile phone, dial (02) or (07) first",
    ),
    service_hours=Bilingual("國內股市開盤日 AM8:00-PM7:00", "Trading days of the Taiwan stock market, 8:00 to 19:00"),
    address=Bilingual("臺北市示範區好景路100號", "100 Haojing Road, Demonstration District, Taipei"),
    mail="service@haojing.example",
    ca_name=Bilingual("好景示範憑證管理中心", "Haojing Demonstration CA"),
    links=tuple((service, f"/elsewhere/{service.value}") for service in ServiceKey if service not in OWN_LINKS),
)
"""The fictional firm that `chopmark demo` shows."""


_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LINK = re.compile(r"(/(?!/)|https://)[^\s\"'<>]*")


def load_brand(path: Path) -> Brand:
    """Return the brand described by a TOML file; raises BrandError naming the entry that is wrong.

    Tables: top level `key, logo, mail`, and `icon` if there is one; one table with `zh` and `en` for each two-language
    entry of Brand; `[colours] brand, brand_dark`; `[links]` with a service key and its address each.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrandError(f"{path.name}: not readable as TOML: {error}") from error
    return read_brand(content)


def read_brand(content: Mapping[str, object]) -> Brand:
    """Return the brand that the tables describe; raises BrandError naming the entry that is wrong."""
    known = {entry.name for entry in fields(Brand)}
    if unknown := sorted(set(content) - known):
        raise BrandError(f"unknown entry: {', '.join(unknown)}")
    return Brand(
        key=_words(content, "key"),
        firm=_both(content, "firm"),
        portal=_both(content, "portal"),
        product=_both(content, "product"),
        legal_name=_both(content, "legal_name"),
        logo=_picture(content, "logo"),
        hotline=_both(content, "hotline"),
        hotline_name=_both(content, "hotline_name"),
        hotline_note=_both(content, "hotline_note"),
        service_hours=_both(content, "service_hours"),
        address=_both(content, "address"),
        mail=_words(content, "mail"),
        ca_name=_both(content, "ca_name"),
        colours=_colours(content.get("colours", {})),
        links=_links(content.get("links", {})),
        icon=_picture(content, "icon") if "icon" in content else DEFAULT_ICON,
    )


def _words(content: Mapping[str, object], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BrandError(f"{name}: must be words, and may not be empty")
    return value.strip()


def _picture(content: Mapping[str, object], name: str) -> str:
    address = _words(content, name)
    if not _LINK.fullmatch(address):
        raise BrandError(f"{name}: must begin with / or https://")
    return address


def _both(content: Mapping[str, object], name: str) -> Bilingual:
    table = content.get(name)
    if not isinstance(table, dict) or set(table) != {"zh", "en"}:
        raise BrandError(f"{name}: needs exactly the entries zh and en")
    return Bilingual(_words(table, "zh"), _words(table, "en"))


def _colours(table: object) -> Colours:
    if not isinstance(table, dict) or set(table) - {"brand", "brand_dark"}:
        raise BrandError("colours: may have the entries brand and brand_dark")
    colours = replace(Colours(), **{name: str(value).lower() for name, value in table.items()})
    for name in ("brand", "brand_dark"):
        value = getattr(colours, name)
        if not _COLOUR.fullmatch(value):
            raise BrandError(f"colours.{name}: must be written #rrggbb")
        if contrast_with_white(value) < 4.5:
            raise BrandError(f"colours.{name}: too pale, white text on it needs a contrast of 4.5 to 1")
    return colours


def _links(table: object) -> tuple[tuple[ServiceKey, str], ...]:
    if not isinstance(table, dict):
        raise BrandError("links: must be a table of service and address")
    for name, address in table.items():
        if name not in set(ServiceKey) or ServiceKey(name) in OWN_LINKS:
            raise BrandError(f"links.{name}: not a service that can be linked")
        if not isinstance(address, str) or not _LINK.fullmatch(address):
            raise BrandError(f"links.{name}: must begin with / or https://")
    return tuple((ServiceKey(name), address) for name, address in table.items())


def contrast_with_white(colour: str) -> float:
    """Return the contrast ratio of a `#rrggbb` colour with white (WCAG 2.2, definition of contrast ratio)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def brand_css(brand: Brand) -> str:
    """Return the style sheet that carries the brand's colours; served at `/brand.css`."""
    colours = brand.colours
    return (
        ":root{"
        f"--cm-brand:{colours.brand};--cm-brand-dark:{colours.brand_dark};"
        f"--govuk-brand-colour:{colours.brand};"
        "}\n"
    )
