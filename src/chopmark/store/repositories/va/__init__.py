"""OCSP answers, time-stamps and the certificates of our own services."""
