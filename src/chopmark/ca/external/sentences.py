"""What customers are told when an external CA refuses, does not answer, or sends a certificate that does not fit."""

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import text

DENIED = Refusal(
    Kind.FORBIDDEN,
    text("The certification authority did not accept this order. Please call us; a person will help you."),
    code="ca_denied",
)
NOT_OURS = Refusal(
    Kind.CONFLICT,
    text(
        "The certification authority sent a certificate that does not fit your order. It was put aside; please start "
        "again."
    ),
    code="ca_misfit",
)
SILENT = Refusal(
    Kind.CONFLICT,
    text("The certification authority does not answer. Nothing was issued to you; please start again later."),
    code="ca_silent",
)
GONE = Refusal(Kind.CONFLICT, text("The certificate of this order was revoked. Please start again."), code="revoked")
TELLS_MORE = Refusal(
    Kind.BAD_KEY,
    text("The certificate request names more than your key. Please start again and let this page make the key."),
    field="csr",
    code="csr_tells_more",
)
UNNAMED = Refusal(
    Kind.FORBIDDEN,
    text("The certificate cannot be made from our records. Please call us; a person will help you."),
    code="draft.subject",
)


def revoked_later() -> Refusal:
    """Return the refusal for a revocation while the CA cannot be reached; it is sent again until the CA answers."""
    return Refusal(
        Kind.UNAVAILABLE,
        text("The certification authority cannot be reached. It is told to revoke as soon as it answers."),
        code="ca_unreachable",
        retry_after_s=60,
    )
