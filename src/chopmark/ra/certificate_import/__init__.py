"""Import of the certificates that former issuers gave to customers. A run takes effect as a whole or not at all."""
