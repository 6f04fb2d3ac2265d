"""For programs on the customer's computer: make keys and sign proofs there; the server never gets a private key."""
