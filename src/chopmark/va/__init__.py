"""The validation authority: OCSP responder, revocation lists (CRLs) and time-stamps."""
