"""pkilint, run in this process: a second check of every kind of certificate and list that this installation signs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity

from chopmark.pki import der
from chopmark.pki.draft import Draft, assemble
from chopmark.pki.linting_certificate import Allowed, LintingCertificate
from chopmark.pki.signing import IssuerKey, kind_of, sign


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding of pkilint at WARNING or above; `severity` is FATAL, ERROR or WARNING."""

    severity: str
    code: str
    message: str

    @property
    def is_error(self) -> bool:
        """Whether it is more than a warning. A certificate of an external CA may have warnings."""
        return self.severity in {"FATAL", "ERROR"}


class Linter:
    """Judges DER by pkilint's PKIX rules. Make one and share it: it builds its validators at the first use."""

    def findings_certificate(self, certificate_der: bytes) -> tuple[LintFinding, ...]:
        """Return what is wrong with a certificate (RFC 5280); empty when nothing is."""
        return _judge(self._certificate, loader.RFC5280CertificateDocumentLoader(), certificate_der)

    def findings_crl(self, crl_der: bytes) -> tuple[LintFinding, ...]:
        """Return what is wrong with a CRL (RFC 5280 s.5); empty when nothing is."""
        return _judge(self._crl, loader.RFC5280CertificateListDocumentLoader(), crl_der)

    def linting_certificate(
        self, draft: Draft, throw_away: IssuerKey, allowed: Allowed
    ) -> LintingCertificate | tuple[LintFinding, ...]:
        """Return the draft as a linting certificate when pkilint finds nothing; otherwise return its findings.

        The draft is signed with `throw_away`, a key of the issuer's kind that was made for linting only. The issuer's
        key is not used. Raises ValueError when the kinds differ.
        """
        if kind_of(throw_away) is not draft.issuer.key:
            raise ValueError("the throw-away key is not of the issuer's kind")
        algorithm_der = der.signature_algorithm(draft.issuer.key)
        found = self.findings_certificate(assemble(draft.tbs_der, algorithm_der, sign(throw_away, draft.tbs_der)))
        return found or LintingCertificate(draft.tbs_der, draft.linting_certificate_key, allowed)

    @cached_property
    def _certificate(self) -> Any:
        return certificate.create_pkix_certificate_validator_container(
            certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
            [
                certificate.create_issuer_validator_container([]),
                certificate.create_validity_validator_container(),
                certificate.create_subject_validator_container([]),
                certificate.create_extensions_validator_container([]),
                certificate.create_spki_validator_container([]),
            ],
        )

    @cached_property
    def _crl(self) -> Any:
        return crl.create_pkix_crl_validator_container(
            _decoders(),
            [
                crl.create_issuer_validator_container([]),
                crl.create_validity_validator_container([]),
                crl.create_extensions_validator_container([]),
            ],
        )


def _decoders() -> list[Any]:
    return [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]


def _judge(validator: Any, document_loader: Any, document_der: bytes) -> tuple[LintFinding, ...]:
    try:
        document = document_loader.load_der_document(document_der)
    except ValueError as error:
        return (LintFinding("FATAL", "document.cannot_be_read", str(error)),)
    return tuple(
        LintFinding(described.finding.severity.name, described.finding.code, described.message or "")
        for result in validator.validate(document.root)
        for described in result.finding_descriptions
        if described.finding.severity <= ValidationFindingSeverity.WARNING
    )
