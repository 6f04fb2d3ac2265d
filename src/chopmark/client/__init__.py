"""The customer's side: makes keys and signs proofs where the customer is; the server never sees a private key."""
