"""Settings by topic, their former flat names, and the places where they may stand."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chopmark.app.settings import Settings
from chopmark.app.settings_sources import FORMER_NAMES, former_names, unknown_names

VALUES = {
    "est_url": "https://est.example.com",
    "est_socket": "est.sock",
    "est_port": "9443",
    "timestamp_url": "https://tsa.example.org/tsr",
    "timestamp_roots": "roots.pem",
    "pkcs11_module": "libhsm.so",
    "pkcs11_token": "counter",
    "pkcs11_pin": "271828",
    "issuer": "cmp",
    "issuer_url": "https://ca.example.com",
    "issuer_anchors": "ca.pem",
    "issuer_title": "Example CA",
    "issuer_profile": "customers",
    "issuer_naming": "theirs",
    "issuer_overlap": "no",
    "issuer_user": "ra",
    "issuer_secret": "314159",
    "issuer_tls_trust": "tls.pem",
    "issuer_tls_certificate": "ours.pem",
    "issuer_tls_key": "ours.key",
    "issuer_wait_s": "12",
    "behind_proxy": "yes",
    "trusted_proxies": "10.0.0.0/8",
    "proxy_header": "Forwarded",
    "proxy_hops": "2",
    "import_percent": "7",
    "import_floor": "9",
}
NUMBERS = {"est_port", "issuer_wait_s", "proxy_hops", "import_percent", "import_floor"}
SECRETS = {"pkcs11_pin", "issuer_secret"}
EST_FILES = {"est_url": VALUES["est_url"], "est_certificate": "est.pem", "est_key": "est.key"}


def told(settings: Settings) -> dict[str, str]:
    """What a setting's topic holds, by its former name."""
    found = {}
    for former, (topic, name) in FORMER_NAMES.items():
        value = getattr(getattr(settings, topic), name)
        found[former] = value.get_secret_value() if former in SECRETS else str(value)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHOPMARK_CONFIG", "CHOPMARK_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("values", [VALUES, EST_FILES], ids=["socket", "files"])
def test_every_former_name_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"CHOPMARK_{name.upper()}", value)
    assert told(Settings()).items() >= values.items()


def test_the_two_samples_have_every_former_name() -> None:
    assert {*VALUES, *EST_FILES} == set(FORMER_NAMES)


def test_former_names_are_read_from_a_file_and_as_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f'{name} = "{value}"' for name, value in VALUES.items() if name not in SECRETS | NUMBERS]
    (tmp_path / "counter.toml").write_text("\n".join([*lines, *(f"{name} = {VALUES[name]}" for name in NUMBERS), ""]))
    (tmp_path / "secrets").mkdir()
    for name in SECRETS:
        (tmp_path / "secrets" / name).write_text(f"{VALUES[name]}\n")
    monkeypatch.setenv("CHOPMARK_CONFIG", str(tmp_path / "counter.toml"))
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path / "secrets"))
    assert told(Settings()).items() >= VALUES.items()


def test_the_built_in_ca_under_its_former_name_means_no_other_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_ISSUER", "embedded")
    assert Settings().external_ca.protocol == "none"


def test_a_secret_within_a_topic_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hsm.pin").write_text("314159\n")
    (tmp_path / "smtp.password").write_text("open sesame\n")
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("CHOPMARK_HSM__MODULE", "libhsm.so")
    monkeypatch.setenv("CHOPMARK_HSM__TOKEN", "counter")
    settings = Settings()
    assert (settings.hsm.pin.get_secret_value(), settings.hsm.token) == ("314159", "counter")
    assert settings.smtp.password.get_secret_value() == "open sesame"


@pytest.mark.parametrize(
    "former", ["est_port", "pkcs11_token", "timestamp_url", "issuer", "behind_proxy", "import_floor"]
)
def test_one_setting_with_both_names_is_refused(monkeypatch: pytest.MonkeyPatch, former: str) -> None:
    topic, name = FORMER_NAMES[former]
    monkeypatch.setenv(f"CHOPMARK_{former.upper()}", VALUES[former])
    monkeypatch.setenv(f"CHOPMARK_{topic.upper()}__{name.upper()}", VALUES[former])
    with pytest.raises(ValidationError, match=f"{former} is the former name of {topic}.{name}"):
        Settings()


def test_former_names_are_reported_by_where_they_stand_and_never_with_their_values(tmp_path: Path) -> None:
    config, secrets = tmp_path / "counter.toml", tmp_path / "secrets"
    config.write_text('timestamp_url = "https://tsa.example.org/tsr"\nport = 8081\n')
    secrets.mkdir()
    (secrets / "pkcs11_pin").write_text("271828")
    environment = {
        "CHOPMARK_EST_PORT": "9443",
        "CHOPMARK_HSM__TOKEN": "counter",
        "CHOPMARK_CONFIG": str(config),
        "CHOPMARK_SECRETS_DIR": str(secrets),
    }
    assert former_names(environment) == [
        "CHOPMARK_EST_PORT is a former name: the setting is est.port (as an environment variable CHOPMARK_EST__PORT)",
        (
            "timestamp_url in the settings file is a former name: the setting is timestamp.url"
            " (as an environment variable CHOPMARK_TIMESTAMP__URL)"
        ),
        "the secret's file pkcs11_pin has a former name: it is hsm.pin",
    ]
    assert former_names({}) == []


def test_a_topic_reads_no_environment_variable_without_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """USER, HOST and PORT are in the environment of many processes and are no settings of ours."""
    for name in ("USER", "HOST", "PORT", "PASSWORD", "URL", "KEY", "TOKEN", "REQUESTS"):
        monkeypatch.setenv(name, "17")
    settings = Settings()
    assert (settings.smtp.user, settings.smtp.host, settings.smtp.port) == ("", "", 587)
    assert (settings.est.url, settings.est.port, settings.limits.requests) == ("", 8443, 64)
    assert (settings.est.key, settings.hsm.token) == (None, "")


@pytest.mark.parametrize("name", ["CHOPMARK_PLOICY", "CHOPMARK_CODE_DIGIT", "CHOPMARK_SMPT__HOST", "CHOPMARK_"])
def test_a_variable_that_is_called_like_a_setting_and_is_none_is_named(name: str) -> None:
    assert [name in told for told in unknown_names(Settings, {name: "strict", "CHOPMARK_POLICY": "strict"})] == [True]


def test_settings_former_names_and_what_stands_beside_the_settings_are_known() -> None:
    former = [f"CHOPMARK_{name.upper()}" for name in FORMER_NAMES]
    known = ["CHOPMARK_POLICY", "CHOPMARK_SMTP__HOST", "CHOPMARK_CONFIG", "CHOPMARK_SECRETS_DIR", "PATH", *former]
    assert unknown_names(Settings, dict.fromkeys(known, "x")) == []
