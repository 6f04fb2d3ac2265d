"""The status of certificates of former issuers: the CAs that issued to our customers before we did."""
