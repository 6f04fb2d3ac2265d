"""Where a private key is: the Signer port, the key file, and the bridge to the X.509 builders."""
