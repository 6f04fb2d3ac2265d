"""Settings of three topics: another CA that certifies, the proxies in front of the server, the firm's sheet."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ExternalCa(BaseModel):
    """Another CA that certifies in place of the built-in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    protocol: Annotated[
        Literal["none", "cfssl", "cmp", "est"],
        Field(
            description=(
                "By which protocol another CA certifies ([how](external-ca.en.md)); `none`: the built-in CA certifies."
            )
        ),
    ] = "none"
    url: Annotated[str, Field(description="Address of the other CA, without a final slash.")] = ""
    anchors: Annotated[
        Path | None, Field(description="PEM file of the other CA's root, and of what stands between.")
    ] = None
    title: Annotated[
        str, Field(description="The other CA's name for customers; empty: the one in its certificate.")
    ] = ""
    profile: Annotated[
        str, Field(description="The profile's name at the other CA (cfssl: profile, EST: label); empty: as here.")
    ] = ""
    naming: Annotated[
        Literal["ours", "theirs"],
        Field(description="`ours`: the subject is exactly our profile's; `theirs`: the CA writes it around our CN."),
    ] = "ours"
    overlap: Annotated[
        Literal["yes", "no"], Field(description="`no`: the other CA ends a customer's old certificate at issue.")
    ] = "yes"
    user: Annotated[str, Field(description="Our name at the other CA (CMP: reference value, EST: HTTP user).")] = ""
    secret: Annotated[
        SecretStr, Field(description="Our secret at the other CA (cfssl: key in hex; CMP, EST: the shared secret).")
    ] = SecretStr("")
    tls_trust: Annotated[
        Path | None, Field(description="PEM file that the other CA's TLS is verified with; empty: the machine's.")
    ] = None
    tls_certificate: Annotated[
        Path | None, Field(description="PEM file of our own certificate for mutual TLS; empty: none.")
    ] = None
    tls_key: Annotated[Path | None, Field(description="PEM file of its key.")] = None
    wait_s: Annotated[int, Field(ge=1, le=15, description="Seconds that the other CA has for an answer.")] = 10

    def require_usable(self) -> None:
        """Raise ValueError where the settings of another CA lack something or contradict each other."""
        if self.protocol == "none":
            return
        secure = self.url.startswith("https://")
        near = self.url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
        plain = near or (self.protocol == "cmp" and self.url.startswith("http://"))
        if not (secure or plain) or self.url.endswith("/"):
            raise ValueError(
                "external_ca.url is an https address without a final slash (plain http: CMP, or this machine)"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("mutual TLS needs external_ca.tls_certificate and external_ca.tls_key, both")
        if self.anchors is None:
            raise ValueError("external_ca.anchors names a PEM file with the other CA's certificates")
        secret = self.secret.get_secret_value()
        if not secret and (self.protocol != "est" or self.tls_key is None):
            raise ValueError("external_ca.secret is not set: our secret at the other CA")
        if self.protocol == "cmp" and not self.user:
            raise ValueError("external_ca.user is not set: the reference value that goes with the shared secret")


class Proxy(BaseModel):
    """The proxies that end TLS in front of the server and name the client's address."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    in_front: Annotated[
        Literal["unanswered", "yes", "no"],
        Field(description="Whether a proxy stands in front of the server; production asks for an answer."),
    ] = "unanswered"
    networks: Annotated[
        str,
        Field(description="Networks of the proxies, with commas between: from them alone `proxy.header` is believed."),
    ] = ""
    header: Annotated[
        str,
        Field(description="Header in which the proxy names the client's address; `Forwarded` is read by RFC 7239."),
    ] = "X-Forwarded-For"
    hops: Annotated[int, Field(ge=1, le=8, description="How many proxies a request comes through.")] = 1

    def require_usable(self) -> None:
        """Raise ValueError where the answer and the networks contradict each other."""
        try:
            trusted = [ip_network(part.strip()) for part in self.networks.split(",") if part.strip()]
        except ValueError as error:
            raise ValueError(
                "proxy.networks are networks with commas between, as in 10.0.0.0/8, 2001:db8::/64"
            ) from error
        if self.in_front == "yes" and not (trusted and self.header):
            raise ValueError("proxy.in_front is yes: name the proxies' networks in proxy.networks, and proxy.header")
        if self.in_front != "yes" and trusted:
            raise ValueError("proxy.networks goes with proxy.in_front = yes")


class CustomerImport(BaseModel):
    """How much of the firm's sheet may change contacts at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    percent: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description=(
                "So many of a sheet's known customers may get another mobile number or "
                "e-mail address without `--allow many`."
            ),
        ),
    ] = 5
    floor: Annotated[
        int, Field(ge=0, le=10000, description="In a small sheet so many customers may, whatever their share.")
    ] = 5
