"""Who may have what: the registration authority (RFC 3647 s.1.3.2). Every door comes through here."""
