"""Answers relying parties: OCSP responder and CRL issuer."""
