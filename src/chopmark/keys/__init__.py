"""Private keys of the CA: the Signer port, keys in files and in devices, and their use by the X.509 builders."""
