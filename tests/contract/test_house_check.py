"""`chopmark check`: each line that keeps an installation from starting, with its remedy, and what is no reason."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from chopmark.app.foundation import SystemClock
from chopmark.app.services import opened
from chopmark.app.settings import Est, Settings, Smtp
from chopmark.cli import ca, check
from chopmark.cli.key_files import rewrap
from chopmark.cli.settings_faults import settings_faults
from chopmark.core.refusal import Refused
from chopmark.core.types import Secret
from chopmark.keys.file import FileSigner
from chopmark.keys.stretched import is_stretched
from chopmark.store.repositories.ca.rewrapping import KeptKeys
from tests.contract.test_commands import BRAND, production
from tests.contract.world import World, world_fixture
from tests.unit.keys.test_stretched import old_file

world = world_fixture()
MAIL = Smtp(host="mail.example.com")


def sound(tmp_path: Path, **other: object) -> Settings:
    """Production settings with nothing to say against them, but for what a test changes."""
    settings = production(tmp_path / "data")
    return settings.model_copy(update={"smtp": MAIL, **other})


def test_sound_settings_have_no_fault(tmp_path: Path) -> None:
    assert settings_faults(sound(tmp_path)) == []


def test_without_a_gateway_no_code_reaches_anybody(tmp_path: Path) -> None:
    (said,) = settings_faults(sound(tmp_path, smtp=Smtp()))
    assert said.startswith("there is no gateway for any channel")
    assert "CHOPMARK_SMTP__HOST" in said


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_named_with_its_chmod(tmp_path: Path, mode: int) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "otp_key").write_text("0" * 64)
    (secrets / "otp_key").chmod(0o600)
    settings = sound(tmp_path, secrets_dir=secrets)
    assert settings_faults(settings) == []
    (secrets / "otp_key").chmod(mode)
    (said,) = settings_faults(settings)
    assert f"chmod 600 {secrets / 'otp_key'}" in said
    (secrets / "otp_key").chmod(0o600)
    secrets.chmod(0o755)
    (said,) = settings_faults(settings)
    assert f"chmod 700 {secrets}" in said


def test_key_files_and_a_settings_file_with_secrets_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, key = tmp_path / "chopmark.toml", tmp_path / "est.key"
    config.write_text('public_url = "https://counter.example.com"\n')
    key.write_text("key")
    for path in (config, key):
        path.chmod(0o644)
    monkeypatch.setenv("CHOPMARK_CONFIG", str(config))
    settings = sound(tmp_path, est=Est(key=key))
    assert [str(key) in said for said in settings_faults(settings)] == [True]
    for secret in ('[smtp]\npassword = "x"\n', '[hsm]\npin = "1"\n', '[webhook]\nsecret = "x"\n', 'csrf_key = "x"\n'):
        config.write_text(secret)
        assert [str(config) in said for said in settings_faults(settings)] == [True, False], secret


def test_files_of_secrets_within_a_topic_and_of_gateways_are_looked_at_too(tmp_path: Path) -> None:
    secrets, gateways = tmp_path / "secrets", tmp_path / "gateways.toml"
    secrets.mkdir(mode=0o700)
    for name in ("hsm.pin", "webhook.secret", "smtp.password", "mitake"):
        (secrets / name).write_text("x")
        (secrets / name).chmod(0o644)
    gateways.write_text('[[gateway]]\nname = "one"\nkind = "mitake"\nuser = "u"\nsecrets = { password = "mitake" }\n')
    said = " ".join(settings_faults(sound(tmp_path, secrets_dir=secrets, gateways=gateways)))
    assert [name in said for name in ("hsm.pin", "webhook.secret", "smtp.password", "mitake")] == [True] * 4


@pytest.mark.parametrize("passphrase", ["short", "a" * 40, "12345678901"])
def test_a_pass_phrase_under_the_policy_is_named_with_its_remedy(tmp_path: Path, passphrase: str) -> None:
    (said,) = settings_faults(sound(tmp_path, ca_passphrase=SecretStr(passphrase)))
    assert "ca_passphrase has fewer than" in said
    assert "chopmark ca rewrap --new-passphrase" in said
    assert passphrase not in said


def test_the_demo_s_brand_is_not_a_firm(tmp_path: Path) -> None:
    (said,) = settings_faults(sound(tmp_path, brand=None))
    assert "deploy/brand.toml" in said
    assert "CHOPMARK_BRAND" in said


async def test_the_root_s_key_beside_the_ca_and_a_root_called_after_the_demo_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nameless = sound(tmp_path, brand=None)
    assert await ca.init_ca(nameless) == 0
    settings = nameless.model_copy(update={"brand": BRAND, "smtp": Smtp()})
    capsys.readouterr()
    assert await check.check_installation(settings) == 1
    said = capsys.readouterr().out
    assert f"NOT READY: the root's key is still beside the CA: move {settings.data}/ca/root.key.pem to a safe" in said
    assert "NOT READY: the CA investor or its root is called after the demo's brand" in said
    assert "revocation list investor-0: none yet, a worker publishes it" in said
    assert "LATE" not in said
    assert " late" not in said


async def test_lists_and_answers_are_late_after_their_time_and_not_right_after_the_ceremony(world: World) -> None:
    services = world.services
    assert await check.late_faults(services) == []
    assert await check.unpublished(services) == ["investor-0"]
    await world.to_active()
    for job in ("publish", "presign"):
        await world.once(job)
    assert (await check.late_faults(services), await check.unpublished(services)) == ([], [])
    world.clock.later(hours=12)
    (said,) = await check.late_faults(services)
    assert said.startswith("the revocation list investor-0 is late, it ends at ")
    assert "does a worker run?" in said
    world.clock.later(hours=2)
    late, answers = await check.late_faults(services)
    assert "OCSP answers of investor are late" in answers
    world.clock.later(hours=11)
    late, answers = await check.late_faults(services)
    assert "it has ended at " in late
    for job in ("publish", "presign"):
        await world.once(job)
    assert await check.late_faults(services) == []


@pytest.mark.parametrize(("away", "words"), [(-60, "behind"), (60, "ahead of")])
async def test_a_clock_away_from_the_database_s_is_named(world: World, away: int, words: str) -> None:
    """The database has the machine's time, on both engines."""
    foundation = replace(world.services.foundation, clock=SystemClock())
    services = replace(world.services, foundation=foundation)
    assert await check.database_clock_faults(services) == []
    world.clock.at = SystemClock().now() + timedelta(seconds=away)
    (said,) = await check.database_clock_faults(world.services)
    assert words in said
    assert "NTP" in said


async def test_rewrap_writes_old_key_files_anew_under_another_pass_phrase_and_the_ca_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = sound(tmp_path)
    assert await ca.init_ca(settings) == 0
    present = Secret(settings.ca_passphrase.get_secret_value())
    root, (old, spki) = settings.data / "ca" / "root.key.pem", old_file(present)
    root.write_bytes(old)
    following = tmp_path / "passphrase"
    following.write_text("a new and better pass-phrase\n")
    assert await rewrap(settings, (root,), following, "alice") == 0
    assert "2 keys on record and 1 file are" in capsys.readouterr().out
    new = Secret("a new and better pass-phrase")
    assert is_stretched(root.read_bytes())
    assert root.stat().st_mode & 0o777 == 0o600
    assert FileSigner.open(root.read_bytes(), new).public_key_der == spki
    with pytest.raises(Exception, match="do not open with the secrets"):
        async with opened(settings):
            pass
    changed = settings.model_copy(update={"ca_passphrase": SecretStr(new.reveal())})
    async with opened(changed) as services:
        assert services.ca.built_in is not None
        for one in await KeptKeys(services.foundation.engine).all():
            assert is_stretched(one.stored)
            FileSigner.open(one.stored, new)
    with pytest.raises(Refused):
        await rewrap(changed, (tmp_path / "none.pem",), None, "alice")
    with pytest.raises(Refused):
        await rewrap(changed, (following,), None, "alice")
