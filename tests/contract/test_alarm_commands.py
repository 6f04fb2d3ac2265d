"""What `chopmark check` and `chopmark messages alarm` say of gateways and alarms, with the real clock of `main`."""

from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP
from pydantic import SecretStr

from chopmark.app.services import opened
from chopmark.app.settings import Settings, Smtp
from chopmark.app.settings_messages import AlarmSettings
from chopmark.cli import ca, check, messages
from chopmark.messaging.alarms import Alarm, AlarmKind
from chopmark.testing.sms_stubs import PASSWORD, USER, MitakeStub
from tests.contract.test_commands import production
from tests.contract.test_operators import OF_APPRISE
from tests.unit.messaging.test_smtp import Keeping, listening


@pytest.fixture
async def settings(tmp_path: Path, other_disk: Path) -> Settings:
    """An installation with its CA founded."""
    made = production(tmp_path / "data").model_copy(update={"journal_dir": other_disk})
    assert await ca.init_ca(made) == 0
    return made


GATEWAY = """
[[gateway]]
name = "{name}"
kind = "mitake"
url = "{url}"
user = "{user}"
secrets = {{ password = "{secret}" }}
"""


@OF_APPRISE
async def test_check_tries_each_sms_gateway_without_sending_and_says_who_is_told(
    settings: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for name, secret in (("account", PASSWORD), ("wrong", "not-it")):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    stub, keeping, listed = MitakeStub(), Keeping(), tmp_path / "gateways.toml"
    async with stub.listening() as url, listening(lambda: SMTP(keeping)) as port:
        files = {"good": tmp_path / "account", "bad": tmp_path / "wrong"}
        listed.write_text(
            "".join(GATEWAY.format(name=name, url=url, user=USER, secret=secret) for name, secret in files.items())
        )
        told = settings.model_copy(
            update={
                "gateways": listed,
                "smtp": Smtp(host="127.0.0.1", port=port, tls="none"),
                "alarms": AlarmSettings(mail="ops@firm.example"),
            }
        )
        await check.check_installation(told)
        said = capsys.readouterr().out
        assert "gateway good: it knows us, 98 left" in said
        assert "NOT READY: the gateway bad cannot be used (authentication, its code: e)" in said
        assert "alarms go to: mail to ops@firm.example" in said
        assert stub.phone == []
        assert keeping.envelopes == []
        # Operators are told when somebody asks for it, and told what lasts.
        assert await messages.try_alarms(told) == 0
        assert "mail to ops@firm.example: taken" in capsys.readouterr().out
        assert [envelope.rcpt_tos for envelope in keeping.envelopes] == [["ops@firm.example"]]
        keeping.rcpt = "550 no such user"
        assert await messages.try_alarms(told) == 1
        assert "NOT TAKEN: destination" in capsys.readouterr().out
        assert await messages.lasting_alarms(told) == 0
        async with opened(told) as services:
            now = services.foundation.clock.now()
            await services.messaging.alarms.raised(Alarm(AlarmKind.BUDGET, "gateway:good", {"gateway": "good"}), now)
        assert await messages.lasting_alarms(told) == 1
        assert "the gateway good is used up" in capsys.readouterr().out
    nobody = settings.model_copy(update={"alarms": AlarmSettings()})
    assert await messages.try_alarms(nobody) == 1
    strange = AlarmSettings(urls=SecretStr("nonsense://a-password@host"))
    await check.check_installation(settings.model_copy(update={"alarms": strange}))
    said = capsys.readouterr().out
    assert "NOT READY: alarms.urls: apprise does not know address number 1" in said
    assert "a-password" not in said + caplog.text
