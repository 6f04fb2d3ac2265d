"""The registration authority (RFC 3647 s.1.3.2): it decides who may have which certificate, for every interface."""
