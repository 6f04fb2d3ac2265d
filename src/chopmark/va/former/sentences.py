"""The reasons why the status of a former issuer's certificates is not known: each as a word and as a sentence."""

from typing import Final

FAULTS: Final = {
    "never": "it was not fetched yet: does a worker run?",
    "late": "its nextUpdate is over",
    "unreachable": "nothing answers there in time",
    "moved": "the address answers that the list has moved: name the new address in the list of former issuers",
    "not_found": "the address answers that there is no such list (404): has the old CA moved it?",
    "http": "the address answers with an error",
    "no_file": "the file is not there or cannot be read",
    "too_large": "it is larger than max_mb",
    "malformed": "what is there is no revocation list",
    "other_issuer": "it is another CA's list",
    "signature": "its signature is not the former issuer's, or its algorithm is too weak",
    "signer": "it was signed with a certificate that may not do that",
    "no_next_update": "it does not say until when it counts (nextUpdate)",
    "future": "it begins in the future: is a clock wrong?",
    "older": "it is older than the list that was taken before, which stays",
    "scope": "its scope (issuing distribution point) is another address than this list's: set crl_scope",
    "delta": "it is a delta list: name the address of the full list",
    "indirect": "it is an indirect list, which is not supported",
    "not_for_customers": "it is a list for CA or attribute certificates only",
    "some_reasons": "it covers some reasons only, so it cannot say that a certificate is good",
    "critical_extension": "it has a critical extension that is not understood",
    "nonce": "the answer does not have the nonce of our question",
    "refused": "the responder answers with an error",
    "other_certificate": "the answer is about another certificate",
    "unknown": "the responder does not know this certificate",
    "other_ca": "this CA is no former issuer",
}


def fault(why: str) -> str:
    """Return the sentence for a word."""
    return FAULTS.get(why, why)
