"""Every setting, once, frozen: unit, range, default and a sentence.

Sources, the later wins: the defaults, a TOML file (`CHOPMARK_CONFIG`), files in `secrets_dir` for what must not stand
in an environment, and environment variables `CHOPMARK_...`. An unknown key of the file or of a topic is refused; an
unknown variable is named by `chopmark check`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from chopmark.app.settings_messages import AlarmSettings, SmsSettings, WebhookSettings
from chopmark.app.settings_reminders import Reminders
from chopmark.app.settings_sources import (
    FORMER_NAMES,
    FORMER_VALUES,
    FormerEnvironment,
    NestedSecretFiles,
    nested_secrets,
    require_readable,
    require_toml,
)
from chopmark.app.settings_topics import CustomerImport, ExternalCa, Proxy
from chopmark.core.types import Secret
from chopmark.keys.ports import Pkcs11Settings
from chopmark.messaging.letter import is_plain
from chopmark.messaging.return_paths import require_usable
from chopmark.messaging.webhook import read_secret


class Smtp(BaseModel):
    """The mail gateway; an empty host means none.

    Not a BaseSettings: that would read `USER`, `HOST` and `PORT` of the environment, and systemd sets USER.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: Annotated[str, Field(description="Host name of the mail server; empty: no mail gateway.")] = ""
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the mail server.")] = 587
    tls: Annotated[
        Literal["none", "starttls", "tls"],
        Field(description="How the connection is secured; `none` is for loopback only."),
    ] = "starttls"
    ca: Annotated[
        Path | None, Field(description="PEM file that the mail server's TLS is verified with; empty: the machine's.")
    ] = None
    user: Annotated[str, Field(description="Login name at the mail server; empty: no authentication.")] = ""
    password: Annotated[SecretStr, Field(description="Login password; as a secret's file: `smtp.password`.")] = (
        SecretStr("")
    )
    sender: Annotated[str, Field(description="Address that mails come from.")] = "counter@example.com"
    bounces: Annotated[
        str,
        Field(
            description=(
                "Address that undeliverable mails return to, with `*` for the message's mark, as in "
                "`bounces+*@mail.example.com` ([how](#mails-that-come-back)); empty: to `smtp.sender`, and nobody "
                "reads them."
            )
        ),
    ] = ""

    @field_validator("bounces")
    @classmethod
    def _usable(cls, address: str) -> str:
        if address:
            require_usable(address)
        return address


class Limits(BaseModel):
    """Limits for a process's clients: how long each may take, and how many there may be."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connections: Annotated[int, Field(ge=16, le=16384, description="Connections that a process holds.")] = 512
    connections_a_network: Annotated[
        int,
        Field(ge=1, le=16384, description="Of these from one address (IPv6: one /64); `proxy.networks` do not count."),
    ] = 64
    requests: Annotated[
        int,
        Field(ge=4, le=4096, description="Requests in progress at the portal; at half of them applications wait."),
    ] = 64
    status_requests: Annotated[
        int, Field(ge=4, le=4096, description="OCSP and CRL requests in progress, beside the portal's.")
    ] = 64
    head_octets: Annotated[int, Field(ge=4096, le=65536, description="Octets of a request's line and headers.")] = 16384
    first_byte_s: Annotated[
        int, Field(ge=1, le=120, description="Seconds from connecting to the first byte; TLS has as many.")
    ] = 10
    head_s: Annotated[int, Field(ge=1, le=120, description="Seconds for a request's line and headers.")] = 10
    body_s: Annotated[int, Field(ge=1, le=120, description="Seconds for a request's body.")] = 20
    idle_s: Annotated[int, Field(ge=1, le=120, description="Seconds between two requests of a connection.")] = 15
    answer_s: Annotated[
        int, Field(ge=1, le=600, description="Seconds until an answer is made, and as many until it is fetched.")
    ] = 60


class Est(BaseModel):
    """The EST interface for customers' programs; an empty address means none."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Annotated[
        str, Field(description="https address of the EST interface for customers' programs; empty: there is none.")
    ] = ""
    socket: Annotated[
        Path | None, Field(description="Private socket on which the EST interface waits for its TLS proxy.")
    ] = None
    certificate: Annotated[
        Path | None,
        Field(description="PEM file: the EST interface ends TLS itself, with this certificate and its chain."),
    ] = None
    key: Annotated[Path | None, Field(description="PEM file with the key of that certificate.")] = None
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of an EST interface that ends TLS itself.")] = 8443


class Timestamp(BaseModel):
    """Who stamps the audit's newest head; an empty address means our own authority."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Annotated[
        str, Field(description="RFC 3161 authority that stamps the audit's head every hour; empty: our own.")
    ] = ""
    roots: Annotated[
        Path | None, Field(description="PEM file with the roots behind `timestamp.url`, those of former ones too.")
    ] = None


class Hsm(BaseModel):
    """The device that holds the CA's keys; an empty module means none."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    module: Annotated[str, Field(description="Path of the HSM maker's PKCS #11 library; empty: there is no HSM.")] = ""
    token: Annotated[str, Field(description="Label of the token in the HSM.")] = ""
    pin: Annotated[SecretStr, Field(description="PIN of the token's user; as a secret's file: `hsm.pin`.")] = SecretStr(
        ""
    )


class Settings(BaseSettings):
    """One installation's settings."""

    model_config = SettingsConfigDict(
        env_prefix="CHOPMARK_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    mode: Annotated[
        Literal["production", "demo"], Field(description="`production` refuses demo gateways and plain-http cookies.")
    ] = "production"
    data: Annotated[Path, Field(description="Directory for everything kept outside the database.")] = Path("data")
    journal_dir: Annotated[
        Path | None,
        Field(description="Directory of signed heads and journal, on another disk than the database; empty: `data`."),
    ] = None
    database: Annotated[
        str, Field(description="Database URL; empty: SQLite in the data directory. Or postgresql://...")
    ] = ""
    pool: Annotated[int, Field(ge=2, le=64, description="Database connections a process.")] = 8
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port to listen on.")] = 8080
    public_url: Annotated[
        str,
        Field(
            description="How browsers reach this portal, without a final slash; in production it begins with https://."
        ),
    ] = ""
    status_url: Annotated[
        str,
        Field(
            description=(
                "Plain-http address of CRL, OCSP and issuer certificates, as it is written "
                "into certificates; empty: the public URL."
            )
        ),
    ] = ""
    brand: Annotated[Path | None, Field(description="TOML file with the firm's words, logo and colours.")] = None
    policy: Annotated[Literal["tw-broker", "strict"], Field(description="Which preset decides.")] = "tw-broker"
    code_digits: Annotated[int, Field(ge=6, le=10, description="Digits of a one-time code.")] = 6
    customer_import: CustomerImport = CustomerImport()
    profile: Annotated[
        Literal["investor", "investor-market"], Field(description="Which certificate profile customers get.")
    ] = "investor"
    trading_days: Annotated[
        Path | None,
        Field(description="TOML file with the exchange's trading days; its years replace the shipped; empty: those."),
    ] = None
    node: Annotated[int, Field(ge=1, le=126, description="This node's number, unique among nodes of one CA.")] = 1
    smtp: Smtp = Smtp()
    gateways: Annotated[
        Path | None, Field(description="TOML file with the SMS gateways ([how](gateways.en.md)); empty: mail alone.")
    ] = None
    sms: SmsSettings = SmsSettings()
    former_issuers: Annotated[
        Path | None,
        Field(description="TOML file with the CAs that issued before ([how](migration.en.md)); empty: there is none."),
    ] = None
    reminders: Reminders = Reminders()
    limits: Limits = Limits()
    clock_kept_by: Annotated[
        Literal["kernel", "host"],
        Field(
            description=(
                "Who knows whether the clock is right: this machine's kernel, which an NTP "
                "client tells, or the host of this machine."
            )
        ),
    ] = "kernel"
    proxy: Proxy = Proxy()
    client_address_header: Annotated[
        str,
        Field(description="Before the topic `proxy`; a header that is believed from every address. Ends soon."),
    ] = ""
    est: Est = Est()
    webhook: WebhookSettings = WebhookSettings()
    alarms: AlarmSettings = AlarmSettings()
    timestamp: Timestamp = Timestamp()
    otp_key: Annotated[SecretStr, Field(description="32 bytes in hex: codes are derived with it.")] = SecretStr("")
    otp_key_previous: Annotated[SecretStr, Field(description="The code key before, for one code life.")] = SecretStr("")
    audit_key: Annotated[SecretStr, Field(description="32 bytes in hex: audit leaves are sealed with it.")] = SecretStr(
        ""
    )
    data_key: Annotated[SecretStr, Field(description="32 bytes in hex: personal data is sealed with it.")] = SecretStr(
        ""
    )
    lookup_key: Annotated[SecretStr, Field(description="32 bytes in hex: look-ups are hashed with it.")] = SecretStr("")
    signer: Annotated[
        Literal["file", "pkcs11"],
        Field(description="Where `ca init` makes the CA's keys: in files or in an HSM ([how](hsm.en.md))."),
    ] = "file"
    hsm: Hsm = Hsm()
    ca_passphrase: Annotated[SecretStr, Field(description="Opens the CA's key files.")] = SecretStr("")
    ca_share_one: Annotated[
        SecretStr,
        Field(
            description=(
                "The first operator's share: with the second one's it opens the CA's key files ([how](ca.en.md))."
            )
        ),
    ] = SecretStr("")
    ca_share_two: Annotated[SecretStr, Field(description="The second operator's share.")] = SecretStr("")
    external_ca: ExternalCa = ExternalCa()
    csrf_key: Annotated[
        SecretStr,
        Field(description="32 bytes in hex: form tokens, known browsers and marks of mails are signed with it."),
    ] = SecretStr("")
    secrets_dir: Annotated[
        Path | None, Field(description="Directory whose files are secrets, one setting each: `otp_key`, `audit_key` …")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, given: Any) -> Any:
        """Take a setting that has its former name for the one that it is today."""
        if not isinstance(given, dict):
            return given
        taken = dict(given)
        for former, (topic, name) in FORMER_NAMES.items():
            if former not in taken:
                continue
            nested = taken.get(topic, {})
            inside = dict(nested) if isinstance(nested, dict) else nested.model_dump(exclude_unset=True)
            if name in inside:
                raise ValueError(f"{former} is the former name of {topic}.{name}: set only {topic}.{name}")
            value = taken.pop(former)
            taken[topic] = {**inside, name: FORMER_VALUES.get((former, value), value)}
        return taken

    @model_validator(mode="after")
    def _topics(self) -> "Settings":
        self.external_ca.require_usable()
        self.proxy.require_usable()
        if self.proxy.in_front != "unanswered" and self.client_address_header:
            raise ValueError("the settings of topic proxy have replaced client_address_header: take it away")
        return self

    @model_validator(mode="after")
    def _addresses(self) -> "Settings":
        for url in (self.public_url, self.status_url):
            if url and (not url.startswith(("http://", "https://")) or url.endswith("/")):
                raise ValueError("public_url and status_url are http(s) addresses without a final slash")
        for name, url in (("public_url", self.public_url), ("status_url", self.status_url), ("est.url", self.est.url)):
            _, _, path, query, fragment = urlsplit(url)
            if path or query or fragment or "@" in url:
                raise ValueError(f"{name} has a host name, and a port if need be, and no path: pages begin at /")
        if self.mode == "production" and self.public_url and not self.public_url.startswith("https://"):
            raise ValueError("in production public_url begins with https://")
        if self.est.url and (not self.est.url.startswith("https://") or self.est.url.endswith("/")):
            raise ValueError("est.url is an https address without a final slash")
        if (self.est.certificate is None) != (self.est.key is None) or (self.est.socket and self.est.certificate):
            raise ValueError("the EST interface has est.socket, or est.certificate with est.key, not both")
        if self.limits.requests + self.limits.status_requests >= self.limits.connections:
            raise ValueError("limits: requests and status_requests together are fewer than connections")
        if self.timestamp.url and not self.timestamp.url.startswith(("http://", "https://")):
            raise ValueError("timestamp.url is an http(s) address")
        if self.timestamp.url and self.timestamp.roots is None:
            raise ValueError("with timestamp.url goes timestamp.roots: whom to believe")
        device = (self.hsm.module, self.hsm.token, self.hsm.pin.get_secret_value())
        if any(device) != all(device) or (self.signer == "pkcs11" and not all(device)):
            raise ValueError("an HSM needs hsm.module, hsm.token and hsm.pin, all three")
        return self

    @model_validator(mode="after")
    def _alarms(self) -> "Settings":
        wrong = [one for one in self.alarms.recipients if not is_plain(one)]
        if wrong:
            raise ValueError("alarms.mail has plain e-mail addresses with commas between")
        if self.alarms.recipients and not self.smtp.host:
            raise ValueError("alarms.mail needs a mail server: set smtp.host")
        return self

    @model_validator(mode="after")
    def _webhook(self) -> "Settings":
        secrets = [self.webhook.secret.get_secret_value(), self.webhook.secret_previous.get_secret_value()]
        if not self.webhook.url:
            return self
        address = urlsplit(self.webhook.url)
        near = address.scheme == "http" and address.hostname in {"127.0.0.1", "::1", "localhost"}
        if not (address.scheme == "https" and address.hostname) and not near:
            raise ValueError("webhook.url is an https address (plain http: this machine only)")
        if "@" in address.netloc or address.fragment:
            raise ValueError("webhook.url has no user name and no fragment: messages are signed with webhook.secret")
        if not secrets[0]:
            raise ValueError("webhook.secret is not set: messages are signed with it")
        for name, secret in zip(("webhook.secret", "webhook.secret_previous"), secrets, strict=True):
            try:
                _ = secret and read_secret(secret)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @property
    def proxy_unanswered(self) -> str:
        """The fault of a production installation without an answer about proxies; empty if there is one."""
        if self.mode != "production" or self.proxy.in_front != "unanswered" or self.client_address_header:
            return ""
        return "say whether a proxy stands in front: proxy.in_front = yes, with its networks in proxy.networks, or no"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, secret files, TOML file."""
        del dotenv_settings, file_secret_settings
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        sources.append(FormerEnvironment(settings_cls))
        secrets = os.environ.get("CHOPMARK_SECRETS_DIR")
        if secrets:
            if not Path(secrets).is_dir():
                raise ValueError(f"CHOPMARK_SECRETS_DIR names no directory: {secrets}")
            require_readable(Path(secrets), {*cls.model_fields, *FORMER_NAMES, *nested_secrets(settings_cls)})
            sources.append(SecretsSettingsSource(settings_cls, secrets, env_prefix=""))
            sources.append(NestedSecretFiles(settings_cls, Path(secrets)))
        config = os.environ.get("CHOPMARK_CONFIG")
        if config:
            require_toml(Path(config))
            sources.append(TomlConfigSettingsSource(settings_cls, config))
        return tuple(sources)

    @property
    def outside(self) -> Path:
        """The directory of tree heads and journal."""
        return self.journal_dir or self.data

    @property
    def database_url(self) -> str:
        """The database URL, with its default."""
        return self.database or f"sqlite:///{(self.data / 'chopmark.sqlite').absolute()}"

    @property
    def has_shares(self) -> bool:
        """Whether both operators' shares are among the secrets."""
        return bool(self.ca_share_one.get_secret_value() and self.ca_share_two.get_secret_value())

    @property
    def device(self) -> Pkcs11Settings | None:
        """The HSM, when there is one."""
        if not self.hsm.module:
            return None
        return Pkcs11Settings(self.hsm.module, self.hsm.token, Secret(self.hsm.pin.get_secret_value()))

    @property
    def kernel_keeps_clock(self) -> bool:
        """Whether the kernel knows if the clock is synchronised; a demo does not ask."""
        return self.mode == "production" and self.clock_kept_by == "kernel"

    @property
    def portal_url(self) -> str:
        """How browsers reach this portal."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def publication_url(self) -> str:
        """Where certificate status is published: plain http, a literal address in the demo."""
        return self.status_url or self.public_url or f"http://127.0.0.1:{self.port}"
