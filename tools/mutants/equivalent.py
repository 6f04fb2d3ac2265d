"""Faults that change nothing that anybody can tell, each with its reason: they do not count."""

_LETS_IN = "LaunchTickets.authenticate"
_KEEP = "Presigner._keep|branch|await self._shelf.keep_all(self._issuer.id, made)"
_THERE = "await imported.revoked_there(found, status.reason, context.now(), record)"
_SHOWN = "CustomerReminders._lines"
_SAME = "hmac.compare_digest(client.previous_hash, given)"
_FOR_THE_INDEX = "the greatest is the same; the condition lets an index serve it"
_WHOSE = 'None if row["customer"] is None else CustomerId(row["customer"])'
_CUSTOMERS_OWN = f"_work|branch|{_WHOSE}|(CustomerId(row['customer']))|1"
_SAID_TWICE = "inside the choice and outside it the same is asked: on either engine one of the two is enough"
_READERS_TYPE = "the type is one for the reader: at run time its value is the row's, None too"
_LEASED = "SQL guard left out|leased_until {0}|(leased_until {0} OR 1 = 1)"
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
        "va/responder.py",
        "Responder.look|condition left out|stored is not None and self._opened is not None|(stored is not None)|1",
    ): "every responder of a running house can open stored keys; the type knows others too",
    (
        "store/repositories/ra/successors.py",
        "block_old_key|check left out|order.reason not in {Reason.LOST, Reason.COMPROMISED}|False|1",
    ): "it saves a statement that looks at the reason itself",
    (
        "store/repositories/stepup/challenges.py",
        "_SECOND|SQL guard left out|state = 'coded'|(state = 'coded' OR 1 = 1)|1",
    ): "in another state no code counts, or both do, and then the new one takes the place of the second",
    (
        "identity/launching.py",
        f"{_LETS_IN}|condition left out|overlap and client.previous_hash and {_SAME}|(overlap and {_SAME})|1",
    ): "a previous secret and its end are set and emptied together; the type does not know it",
    ("store/repositories/va/answers.py", "_MARK|SQL boundary|changed > 0|changed >= 0|1"): _FOR_THE_INDEX,
    ("store/repositories/va/answers.py", "_MARK|SQL guard left out|changed > 0|(changed > 0 OR 1 = 1)|1"): (
        _FOR_THE_INDEX
    ),
    ("store/repositories/va/answers.py", "CHANGED|SQL boundary|changed > 0|changed >= 0|1"): _FOR_THE_INDEX,
    ("store/repositories/va/answers.py", "CHANGED|SQL guard left out|changed > 0|(changed > 0 OR 1 = 1)|1"): (
        _FOR_THE_INDEX
    ),
    ("store/repositories/va/answers.py", "MOST_CHANGES|constant|10_000|(10001)|1"): (
        "how many changes are told one by one; beyond it all is read anew, and one more is told just as well"
    ),
    ("audit/verify.py", "examine|step left out|await heads.pass_up_to(0)|pass|1"): (
        "a head of size zero would be judged before the first record; none is ever written"
    ),
    ("ra/former_renewal.py", f"_revoke.attempt|condition left out|imported is not None and {_THERE}|({_THERE})|1"): (
        "it is called only where there are imported certificates; the type does not know it"
    ),
    ("va/presigning.py", f"{_KEEP} if made else 0|(await self._shelf.keep_all(self._issuer.id, made))|1"): (
        "it saves a transaction that would store nothing"
    ),
    ("va/former/lists.py", "_digest|constant|0|(1)|1"): "a list without entries has an empty span, wherever it begins",
    ("va/former/fetch.py", "_PIECE|constant|1|(2)|1"): "how much is read at a time; the limit is asked for each piece",
    ("ra/certificate_import/reading.py", "_pem|constant|3|(4)|1"): (
        "it bounds the memory for a block that is too large for a certificate either way"
    ),
    ("ra/certificate_import/tables.py", "table_rows|constant|0|(1)|3"): (
        "where a line without a certificate stands in the file is not told to anybody"
    ),
    ("ra/reminders/own.py", f"{_SHOWN}|comparison|due < wishes.paused_until|(due <= wishes.paused_until)|1"): (
        "a pause ends at midnight, long before the hours of sending begin"
    ),
    ("ca/embedded.py", "EmbeddedIssuer._issue|step left out|self._audit_log.know(tip)|pass|1"): (
        "it saves a round trip: a tip that is not known is read"
    ),
    (
        "store/repositories/reminders/queue.py",
        "_GIVE_BACK|SQL guard left out|used >= :amount|(used >= :amount OR 1 = 1)|1",
    ): ("the same transaction has counted at least so many"),
    ("store/repositories/reminders/queue.py", "_CLAIM|" + _LEASED.format("<= :now") + "|1"): _SAID_TWICE,
    ("store/repositories/reminders/queue.py", "_CLAIM|" + _LEASED.format("> :longest") + "|1"): _SAID_TWICE,
    ("store/repositories/reminders/queue.py", "_SWEEP|" + _LEASED.format("<= :now") + "|1"): _SAID_TWICE,
    ("store/repositories/reminders/queue.py", "_SWEEP|" + _LEASED.format("> :longest") + "|1"): _SAID_TWICE,
    (
        "store/repositories/reminders/plans.py",
        "_UNPLACE|SQL guard left out|holder IS NULL|(holder IS NULL OR 1 = 1)|1",
    ): ("one that is held keeps its certificates by the statement before, and with certificates it is not deleted"),
    **{
        ("store/repositories/messaging/alarms.py", f"_CLAIM|{_LEASED.format(which)}|{number}"): _SAID_TWICE
        for which in ("<= :now", "> :longest")
        for number in (1, 2)
    },
    **{
        ("store/repositories/messaging/outbox.py", f"_CLAIM|{_LEASED.format(which)}|{number}"): _SAID_TWICE
        for which in ("<= :now", "> :longest")
        for number in (1, 2)
    },
    (
        "store/repositories/messaging/outbox.py",
        _CUSTOMERS_OWN,
    ): _READERS_TYPE,
    ("store/repositories/messaging/outbox.py", "LONGEST_WAIT_MS|constant|3_600_000|(3600001)|1"): (
        "a millisecond more in an hour is no fault"
    ),
    (
        "store/repositories/ra/imported_certificates.py",
        "_DUE_AT|SQL guard left out|i.revoke_after IS NOT NULL|(i.revoke_after IS NOT NULL OR 1 = 1)|1",
    ): "what is none is not before now either; the condition lets an index serve it",
    (
        "store/repositories/va/former.py",
        "_TAKEN|SQL boundary|:generation > generation|:generation >= generation|1",
    ): "of two equal numbers either is taken",
    ("jobs/deliver.py", "_message|check left out|work.customer is None|False|1"): (
        "codes and notices are always for a customer; the type does not know it"
    ),
    ("messaging/alarms.py", "ONCE|constant|2|(3)|1"): "no alarm has the grade between: they are 0, 1, 7, 14 and 30",
    ("jobs/alarms.py", "LEASE_S|constant|120|(121)|1"): "a second more in a lease of two minutes is no fault",
    (
        "store/repositories/identity/customers.py",
        "SessionRepository.rotate|branch|None if lost is None else id_hash|(id_hash)|1",
    ): "without a repeat and its end, which are empty then, nothing is found by the id before",
    (
        "store/repositories/identity/customers.py",
        (
            'session_of|branch|None if row["account"] is None else AccountNumber(row["account"])'
            "|(AccountNumber(row['account']))|1"
        ),
    ): _READERS_TYPE,
    (
        "store/repositories/identity/customers.py",
        (
            "SessionRepository.open.script|branch|() if replaces is None else (query(_CLOSE, id_hash=replaces),)"
            "|((query(_CLOSE, id_hash=replaces),))|1"
        ),
    ): "it saves a statement that would end no session",
    (
        "store/repositories/rate_limits.py",
        "RateLimitRepository.take.script|check left out|(yield from at_once(*taken(limits, now))) is not None|False|1",
    ): "it saves round trips: what follows takes the same limits one by one",
    ("store/repositories/rate_limits.py", "take_each|constant|True|(False)|1"): "both are made of the same limits",
    (
        "store/repositories/rate_limits.py",
        "_SpentBudget.__init__|step left out|super().__init__(spent.name)|pass|1",
    ): "words of an exception that is always caught",
    ("jobs/remind.py", "SWEPT|constant|200|(201)|1"): "how many are closed at once; the next turn closes the others",
}
"""By module and by the fault's name as `survivors` prints it."""
