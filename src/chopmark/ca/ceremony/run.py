"""A ceremony step by step: each step writes one complete file, so an interrupted ceremony continues where it was.

Everything is checked before anything is taken into use. The database is not touched in this module.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark.ca import crosschecks
from chopmark.ca.ceremony import plan as plans
from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.founding import CeremonyFailed, root_list
from chopmark.ca.ceremony.plan import CeremonyPlan, RootKey
from chopmark.ca.ceremony.transcript import TranscriptEntry, request_profile, transcript
from chopmark.ca.crosschecks import Made
from chopmark.ca.ports import IssuerRow
from chopmark.core.clock import Clock
from chopmark.core.types import IssuerId
from chopmark.keys import shares
from chopmark.keys.adapter import as_private_key
from chopmark.keys.file import KeyFileError
from chopmark.keys.keyring import Keyring, NoShares
from chopmark.keys.ports import Signer
from chopmark.pki.crl import RevokedEntry
from chopmark.pki.signing import kind_of, public_key
from chopmark.pki.x509 import name, spki_der

ROOT_KEY, ISSUING_KEY, RESPONDER_KEY = "root.key.pem", "issuing.key.pem", "responder.key.pem"
ROOT, ISSUING, RESPONDER, ROOT_LIST = "root.pem", "issuing.pem", "responder.pem", "root.crl.pem"
REQUEST, REQUEST_PROFILE, TRANSCRIPT = "issuing.csr.pem", "issuing.ext", "transcript.txt"


@dataclass(frozen=True, slots=True)
class CeremonyInputs:
    """What a ceremony is given: an earlier root, or what another machine made; certificates and list are DER.

    An earlier root comes with its key (`root_signer`), its certificate and the entries of its list. From another
    machine come the issuing CA's certificate, the root's certificate and the root's list.
    """

    root_signer: Signer | None = None
    root: bytes | None = None
    entries: tuple[RevokedEntry, ...] = ()
    issuing: bytes | None = None
    root_list: bytes | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The request was written, and the other machine has not made the certificate yet."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything was made and checked: what goes into the database, and the root's list, DER."""

    row: IssuerRow
    root_list: bytes


class Ceremony:
    """One ceremony in its folder; raises CeremonyFailed, and SignerUnavailable for a device that cannot be reached.

    `reopened` returns a second keyring with the same shares. The check opens the key files with it, as the server will.
    """

    def __init__(
        self, folder: Folder, plan: CeremonyPlan, keyring: Keyring, reopened: Callable[[], Keyring], clock: Clock
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._founding = plan.founding
        self._keyring = keyring
        self._reopened = reopened
        self._clock = clock

    def run(self, given: CeremonyInputs) -> Ready | Waiting:
        """Make what is not there yet, check all of it, and return it.

        Waiting: the root's key is on another machine, and its answer to our request has not come yet.
        """
        # 1. The keys of root and issuing CA. With a root elsewhere the request goes out, and its answer comes in.
        root_signer = self._root_key(given)
        issuing_signer = self._key(ISSUING_KEY, "issuing CA", self._plan.issuer)
        if self._plan.root_key is RootKey.ELSEWHERE and not self._came_in(issuing_signer, given):
            return Waiting()
        # 2. The root's certificate, and the issuing CA's under it.
        root = self._root(root_signer, given)
        issuing = self._certificate(
            ISSUING,
            "the issuing CA",
            lambda: self._founding.issuing_certificate(
                as_private_key(_here(root_signer)), root, issuing_signer.public_key_der
            ),
        )
        # 3. The OCSP responder's key, and its certificate under the issuing CA.
        responder_signer = self._key(RESPONDER_KEY, "OCSP responder", f"{self._plan.issuer}-ocsp")
        responder = self._certificate(
            RESPONDER,
            "the OCSP responder",
            lambda: self._founding.responder_certificate(
                as_private_key(issuing_signer), issuing, responder_signer.public_key_der
            ),
        )
        # 4. The root's revocation list.
        made = Made(root, issuing, responder, self._list(root_signer, root, given))
        # 5. Open every key file again, and judge everything by our own checks, pkilint and another path builder.
        self._check(made, root_signer)
        row = IssuerRow(
            IssuerId(self._plan.issuer),
            self._plan.names.title,
            issuing,
            (root,),
            self._stored(ISSUING_KEY),
            responder,
            self._stored(RESPONDER_KEY),
        )
        return Ready(row, made.root_crl)

    def over(self) -> bool:
        """Tell whether the ceremony has its transcript; if so, remove key files that an interrupted `finish` left."""
        if self._folder.get(TRANSCRIPT) is None:
            return False
        self._clear()
        return True

    def finish(self) -> None:
        """Write the transcript and remove the key files that the database has; the root's stays, for the safe."""
        self.note(f"the CA {self._plan.issuer} was taken into use, and the root's list is published")
        shown = [TranscriptEntry(file, self._der(file)) for file in (ROOT, ISSUING, RESPONDER)]
        crl = x509.load_pem_x509_crl(self._stored(ROOT_LIST)).public_bytes(Encoding.DER)
        text = transcript(self._plan, plans.journal(self._folder), shown, crl, self._clock.now())
        self._folder.put(TRANSCRIPT, text.encode())
        self._clear()

    def note(self, did: str) -> None:
        """Add to the journal what was done, unless it is there already."""
        plans.note(self._folder, self._now(), did)

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)

    def _clear(self) -> None:
        for file in (ISSUING_KEY, RESPONDER_KEY):
            self._folder.drop(file)

    # keys -------------------------------------------------------------------------------------------------------

    def _key(self, file: str, whose: str, label: str) -> Signer:
        """Return the key that `file` has or names; without the file make one, under both shares or in the device."""
        stored, lock, algorithm = self._folder.get(file), self._plan.key_lock, self._plan.algorithm
        if self._plan.home == "pkcs11" and file != ROOT_KEY:
            signer, reference = self._keyring.hold(f"chopmark-{label}", algorithm)
            if stored is None:
                self._folder.put(file, reference)
        else:
            if stored is None:
                stored = shares.create(algorithm, lock, self._keyring.passphrase(lock))
                self._folder.put(file, stored)
            signer = self._opened(self._keyring, file, stored)
        digest = hashlib.sha256(signer.public_key_der).hexdigest()
        self.note(f"key of the {whose} made: {signer.algorithm}, public key SHA-256 {digest}")
        return signer

    def _opened(self, keyring: Keyring, file: str, stored: bytes, spki: bytes = b"") -> Signer:
        try:
            return keyring.open(stored, spki)
        except (KeyFileError, NoShares) as error:
            raise CeremonyFailed(f"these shares do not open {file}") from error

    def _root_key(self, given: CeremonyInputs) -> Signer | None:
        if self._plan.root_key is RootKey.NEW:
            return self._key(ROOT_KEY, "root", "")
        return given.root_signer

    def _root(self, signer: Signer | None, given: CeremonyInputs) -> bytes:
        def made() -> bytes:
            if self._plan.root_key is RootKey.NEW:
                return self._founding.root_certificate(as_private_key(_here(signer)))
            if given.root is None:
                raise CeremonyFailed("the root's key file is missing: name it with --root-key")
            return given.root

        return self._certificate(ROOT, "the root", made)

    # certificates -----------------------------------------------------------------------------------------------

    def _certificate(self, file: str, whose: str, make: Callable[[], bytes]) -> bytes:
        stored = self._folder.get(file)
        if stored is None:
            try:
                stored = x509.load_der_x509_certificate(make()).public_bytes(Encoding.PEM)
            except ValueError as error:
                raise CeremonyFailed(f"the certificate of {whose}: {error}") from error
            self._folder.put(file, stored)
        der = self._der(file)
        self.note(f"certificate of {whose}: SHA-256 {hashlib.sha256(der).hexdigest()}")
        return der

    def _came_in(self, issuing: Signer, given: CeremonyInputs) -> bool:
        """Store what the other machine made, if it fits our request; False when it has not come yet.

        Writes the request first, unless it is there. Raises CeremonyFailed when what came does not fit.
        """
        request = self._folder.get(REQUEST) or self._write_request(issuing)
        if self._folder.get(ISSUING) is not None:
            return True
        if given.issuing is None or given.root is None or given.root_list is None:
            return False
        now = self._clock.now()
        csr = x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
        faults = crosschecks.external_faults(given.issuing, csr, given.root, now)
        faults += crosschecks.list_faults(given.root_list, given.root, now) if not faults else []
        if faults:
            raise CeremonyFailed(f"what came from the other machine does not fit: {', '.join(faults)}")
        crl = x509.load_der_x509_crl(given.root_list).public_bytes(Encoding.PEM)
        self._folder.put(ROOT_LIST, crl)
        for file, der in ((ROOT, given.root), (ISSUING, given.issuing)):
            self._folder.put(file, x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        self.note("root, issuing CA's certificate and root's list came from the other machine, and fit the request")
        return True

    def _write_request(self, issuing: Signer) -> bytes:
        key = as_private_key(issuing)
        builder = x509.CertificateSigningRequestBuilder().subject_name(name(self._founding.subject))
        kind = kind_of(public_key(issuing.public_key_der))
        request = builder.sign(key, kind.hash_algorithm).public_bytes(Encoding.PEM)
        self._folder.put(REQUEST_PROFILE, request_profile(self._founding.root_urls).encode())
        self._folder.put(REQUEST, request)
        digest = x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
        self.note(f"request for the issuing CA's certificate: SHA-256 {hashlib.sha256(digest).hexdigest()}")
        return request

    def _list(self, signer: Signer | None, root: bytes, given: CeremonyInputs) -> bytes:
        stored = self._folder.get(ROOT_LIST)
        if stored is None:
            number, start, key = self._plan.root_list_number, self._plan.start, as_private_key(_here(signer))
            made = root_list(key, root, number, start, given.entries)
            stored = x509.load_der_x509_crl(made).public_bytes(Encoding.PEM)
            self._folder.put(ROOT_LIST, stored)
        crl = x509.load_pem_x509_crl(stored)
        self.note(f"the root's revocation list: SHA-256 {crl.fingerprint(hashes.SHA256()).hex()}")
        return crl.public_bytes(Encoding.DER)

    # checks -----------------------------------------------------------------------------------------------------

    def _check(self, made: Made, root: Signer | None) -> None:
        """Open every key file again with both shares, and check everything that was made. Raises CeremonyFailed."""
        self._keyring.close()  # a process can have only one session with a device
        again = self._reopened()
        issuing = self._opened(again, ISSUING_KEY, self._stored(ISSUING_KEY), spki_der(made.issuing))
        responder = self._opened(again, RESPONDER_KEY, self._stored(RESPONDER_KEY), spki_der(made.responder))
        found = crosschecks.faults(made, issuing, responder, self._clock.now())
        if self._plan.root_key is RootKey.NEW:
            root = self._opened(again, ROOT_KEY, self._stored(ROOT_KEY))
        if root is not None:
            found += crosschecks.key_faults("root", made.root, root)
        if self._plan.root_key is RootKey.ELSEWHERE:
            csr = x509.load_pem_x509_csr(self._stored(REQUEST)).public_bytes(Encoding.DER)
            found += crosschecks.external_faults(made.issuing, csr, made.root, self._clock.now())
        again.close()
        if found:
            raise CeremonyFailed(", ".join(found))
        self.note("cross-checks held: pkilint, our path check, the verifier of cryptography, key pairs, key files")

    def _stored(self, file: str) -> bytes:
        stored = self._folder.get(file)
        if stored is None:
            raise CeremonyFailed(f"{file} is missing in the folder")
        return stored

    def _der(self, file: str) -> bytes:
        return x509.load_pem_x509_certificate(self._stored(file)).public_bytes(Encoding.DER)


def _here(signer: Signer | None) -> Signer:
    if signer is None:
        raise CeremonyFailed("the root's key is not here")
    return signer
