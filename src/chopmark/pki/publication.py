"""Where an installation publishes certificate status: the addresses that its certificates carry."""

from dataclasses import dataclass

from chopmark.core.types import IssuerId
from chopmark.pki.draft import Urls

ROOT = IssuerId("root")
"""The root's short name in addresses."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Where this CA's status and certificate are published; `base` is an absolute http address without a slash."""

    base: str

    def urls(self, issuer: str, shard: int) -> Urls:
        """Return the addresses that a certificate of this shard carries."""
        return Urls(self.ocsp(issuer), f"{self.base}/pki/{issuer}.cer", self.crl(issuer, shard))

    def ocsp(self, issuer: str) -> str:
        """Return the OCSP address."""
        return f"{self.base}/ocsp/{issuer}"

    def crl(self, issuer: str, shard: int) -> str:
        """Return the address of one CRL shard."""
        return f"{self.base}/pki/{issuer}-{shard}.crl"
