"""pkilint's opinion on OCSP answers: a stranger's, for tests alone."""

from pkilint import loader, pkix
from pkilint.pkix import extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity

VALIDATOR = ocsp.create_pkix_ocsp_response_validator_container(
    [
        ocsp.create_response_decoder(),
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ],
    [],
)


def findings(response_der: bytes) -> list[str]:
    """The codes of what is wrong with an OCSP response (RFC 6960), warnings included."""
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(response_der)
    return [
        described.finding.code
        for result in VALIDATOR.validate(document.root)
        for described in result.finding_descriptions
        if described.finding.severity <= ValidationFindingSeverity.WARNING
    ]
