"""The list of gateways: read, checked, in order; and kinds that a firm's own package brings."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from chopmark.app.gateways import GatewayUnfit, channels_of, gateways_of
from chopmark.app.settings import Settings
from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayMisconfigured, SendLimits, read_gateways
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.registry import gateway_of
from chopmark.web.brand import DEMO_BRAND

TWO = """
[[gateway]]
name = "second"
kind = "every8d"
user = "u"
order = 20
secrets = { password = "e8d" }

[[gateway]]
name = "first"
kind = "mitake"
order = 10
user = "u"
answer_s = 2
limits = { per_day = 5000, spend_per_day = 100000, price = 80 }
secrets = { password = "mitake" }
"""
ONE = '[[gateway]]\nname = "a"\nkind = "mitake"\nuser = "u"\n'


class Nowhere:
    async def store(self, entry: InboxEntry) -> None:
        """The demo's inbox is not there."""


def secret(name: str) -> Secret:
    return Secret(f"of-{name}")


def test_a_list_is_read_in_its_order_with_limits_and_secrets() -> None:
    first, second = read_gateways(TWO, secret)
    assert (first.name, first.kind, first.channel) == ("first", "mitake", Channel.MOBILE)
    assert first.limits == SendLimits(5000, 100000, 80)
    assert first.secrets["password"].reveal() == "of-mitake"
    assert [gateway_of(one, []).name for one in (first, second)] == ["first", "second"]
    assert "of-mitake" not in repr(first)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[gateway", "no TOML"),
        ("smtp = 1", "nothing else"),
        ('[[gateway]]\nkind = "mitake"', "its name has"),
        ('[[gateway]]\nname = "A b"\nkind = "mitake"', "its name has"),
        ('[[gateway]]\nname = "a"', "kind is not set"),
        (ONE + 'channel = "fax"', "mobile or email"),
        (ONE + "order = true", "whole number"),
        (ONE + 'secrets = "x"', "a file for each"),
        (ONE + "limits = { per_hour = 1 }", "nothing else"),
        (ONE + "limits = { per_day = -1 }", "from 0"),
        (ONE + "limits = { spend_per_day = 1 }", "needs the price"),
        (ONE + ONE, "two gateways"),
    ],
)
def test_a_list_that_is_wrong_says_where(text: str, sentence: str) -> None:
    with pytest.raises(GatewayMisconfigured, match=sentence):
        read_gateways(text, secret)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("", "secrets.password"),
        ('secrets = { password = "p" }\nuserr = "x"', "unknown option userr"),
        ('secrets = { password = "p", key = "k" }', "unknown option secrets.key"),
        ('secrets = { password = "p" }\nsegments = "two"', "segments is to be a int"),
        ('secrets = { password = "p" }\nanswer_s = 31', "0.1 to 30"),
        ('secrets = { password = "p" }\nurl = "http://sms.example"', "https address"),
        ('secrets = { password = "p" }\nurl = "https://u:p@sms.example"', "https address"),
    ],
)
def test_a_gateway_that_is_wrong_says_why(more: str, sentence: str) -> None:
    (config,) = read_gateways(ONE + more, secret)
    with pytest.raises(ValueError, match=sentence):
        gateway_of(config, [])


def test_a_kind_of_the_firms_own_is_found_by_its_entry_point() -> None:
    (config,) = read_gateways(ONE.replace("mitake", "own") + 'secrets = { password = "p" }', secret)
    own = EntryPoint("own", "tests.unit.messaging.own_gateway:own", "chopmark.gateways")
    assert gateway_of(config, [own]).name == "a"
    with pytest.raises(GatewayMisconfigured, match="nobody brings it"):
        gateway_of(config, [])
    with pytest.raises(GatewayMisconfigured, match="two packages"):
        gateway_of(config, [own, own])
    (ours,) = read_gateways(ONE + 'secrets = { password = "p" }', secret)
    with pytest.raises(GatewayMisconfigured, match="is ours"):
        gateway_of(ours, [EntryPoint("mitake", "elsewhere:own", "chopmark.gateways")])


def test_an_installation_has_the_gateways_of_its_list_and_their_channel(tmp_path: Path) -> None:
    for name, content in (("mitake", "one\n"), ("e8d", "two")):
        (tmp_path / name).write_text(content)
    listed = tmp_path / "gateways.toml"
    listed.write_text(TWO)
    settings = Settings(mode="production", gateways=listed, secrets_dir=tmp_path)
    assert channels_of(settings) == {Channel.MOBILE}
    assert [one.name for one in gateways_of(settings, DEMO_BRAND, Nowhere())] == ["first", "second"]
    demo = Settings(mode="demo", gateways=listed, secrets_dir=tmp_path)
    assert [one.name for one in gateways_of(demo, DEMO_BRAND, Nowhere())] == ["first", "second", "demo-email"]
    listed.write_text(TWO.replace('name = "first"', f'name = "first"\nbrand = "{DEMO_BRAND.firm.zh}"'))
    assert [one.name for one in gateways_of(settings, DEMO_BRAND, Nowhere())] == ["first", "second"]
    listed.write_text(TWO.replace('name = "first"', 'name = "first"\nbrand = "another"'))
    assert [one.name for one in gateways_of(settings, DEMO_BRAND, Nowhere())] == ["second"]


def test_a_secret_that_cannot_be_read_is_named_and_not_spelt(tmp_path: Path) -> None:
    listed = tmp_path / "gateways.toml"
    listed.write_text(TWO)
    settings = Settings(mode="production", gateways=listed, secrets_dir=tmp_path)
    with pytest.raises(GatewayUnfit, match="e8d cannot be read"):
        gateways_of(settings, DEMO_BRAND, Nowhere())
    (tmp_path / "e8d").write_text("secret-line\nanother")
    with pytest.raises(GatewayUnfit, match="more than one line") as raised:
        gateways_of(settings, DEMO_BRAND, Nowhere())
    assert "secret-line" not in str(raised.value)


def test_the_password_of_mail_may_stand_in_the_secrets_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smtp.password").write_text("from-a-file\n")
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("CHOPMARK_SMTP__HOST", "mail.example.com")
    read = Settings(mode="demo")
    assert (read.smtp.host, read.smtp.password.get_secret_value()) == ("mail.example.com", "from-a-file")
    monkeypatch.setenv("CHOPMARK_SMTP__PASSWORD", "from-the-environment")
    assert Settings(mode="demo").smtp.password.get_secret_value() == "from-the-environment"
    (tmp_path / "smtp.password").write_text("two\nlines")
    with pytest.raises(ValueError, match=r"smtp\.password has more than one line"):
        Settings(mode="demo")
