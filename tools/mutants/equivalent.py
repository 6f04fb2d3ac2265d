"""Faults that change nothing that anybody can tell, each with its reason: they do not count."""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("stepup/verifier.py", "Verifier.open|constant|0|(1)|1"): (
        "the statement that stores a challenge begins without an attempt, whatever this value says"
    ),
    (
        "store/repositories/stepup/failures.py",
        "_FORGIVE|SQL guard left out|held_at IS NULL|(held_at IS NULL OR 1 = 1)|1",
    ): ("where a lock shut between charge and right code, only people open it, and that forgets every number"),
    (
        "store/repositories/identity/launches.py",
        "_DISABLE|SQL not emptied|previous_hash = NULL|previous_hash = previous_hash|1",
    ): ("a disabled client is let in by no secret, and putting it anew replaces both"),
    (
        "store/repositories/identity/launches.py",
        "_ALIVE|SQL guard left out|c.disabled_at IS NULL|(c.disabled_at IS NULL OR 1 = 1)|1",
    ): ("the same transaction that disables a client voids its tickets by their time"),
    (
        "store/repositories/ca/certificates.py",
        "CertificateRepository._turn.script|step left out|yield Notify(STATUS_CHANNEL)|yield from ()|1",
    ): ("it wakes the publisher, which looks every two seconds by itself"),
    (
        "store/repositories/ca/certificates.py",
        'StatusRepository.shard.script|condition left out|found or ([{"n": 0}], [])|(found)|1',
    ): ("a bundle without a guard always has its rows; the type does not know it"),
    ("ca/embedded.py", "EmbeddedIssuer._exemplar|constant|0|(1)|1"): (
        "an exemplar is judged by its form; its time is compared with nothing"
    ),
    ("ca/embedded.py", "EmbeddedIssuer._issue|step left out|self._recorder.know(tip)|pass|1"): (
        "it saves a round trip: a tip that is not known is read"
    ),
}
"""By module and by the fault's name as `survivors` prints it."""
