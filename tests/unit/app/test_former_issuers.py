"""The list of former issuers: each wrong entry is told in one sentence that names it and says what to do."""

from pathlib import Path

import pytest

from chopmark.app.former_issuers import FormerEntry, FormerUnfit, former_entries
from chopmark.app.settings import Settings
from chopmark.ca.external.cfssl import CfsslClient
from chopmark.ca.external.cmp import CmpClient
from chopmark.va.former.ports import ListSource, Location, NoSource, ResponderSource
from tests.old_ca import OldCa
from tests.tables import Clock

WHO = 'id = "old"\nname_zh = "舊憑證"\nname_en = "Old Certification"\ncertificates = ["ca.pem"]\n'
CRL = 'status = "crl"\ncrl = ["http://crl.old.example/1.crl"]\n'
CFSSL = 'revoke = "cfssl"\nca = { url = "http://127.0.0.1:1", secret = "old-key" }\n'


class NoDice:
    def token(self, size: int) -> bytes:
        return bytes(size)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    ca = OldCa(tmp_path_factory.mktemp("old"))
    for name, extensions in (("customer", "customer"), ("lists", "lists"), ("responder", "responder")):
        ca.issue(name, f"/CN={name}", extensions)
    (ca.folder / "other.pem").write_bytes((OldCa(ca.folder / "o", name="/CN=Other").folder / "ca.pem").read_bytes())
    (ca.folder / "old-key").write_text("00112233445566778899aabbccddeeff\n")
    (ca.folder / "words").write_text("no key\n")
    (ca.folder / "broken.pem").write_text("-----BEGIN nothing\n")
    return ca


def entries(old: OldCa, *tables: str) -> tuple[FormerEntry, ...]:
    listed = old.folder / "former.toml"
    listed.write_text("".join(f"[[former_issuer]]\n{table}" for table in tables), encoding="utf-8")
    settings = Settings(former_issuers=listed, secrets_dir=old.folder, data=old.folder)
    return former_entries(settings, Clock(), NoDice())


def test_without_a_list_there_is_no_former_issuer() -> None:
    assert former_entries(Settings(), Clock(), NoDice()) == ()


def test_an_entry_names_the_ca_and_how_it_is_asked(old: OldCa) -> None:
    (one,) = entries(old, f'{WHO}subject_templates = ["CN=TW{{person_id}}*, OU=RA-x"]\n{CRL}max_mb = 2\n')
    assert (one.issuer.id, one.issuer.name_zh, one.issuer.name_en) == ("old", "舊憑證", "Old Certification")
    assert one.issuer.certificates == one.ca.certificates == (old.certificate,)
    assert one.issuer.subject_templates == ("CN=TW{person_id}*, OU=RA-x",)
    place = "http://crl.old.example/1.crl"
    assert one.ca.source == ListSource((Location(place, place),), (), 2 << 20)
    assert one.client is None


def test_a_list_may_lie_in_a_file_beside_the_entries_with_a_scope_of_its_own(old: OldCa) -> None:
    scope = 'crl_scope = ["http://crl.old.example/1.crl"]\ncrl_signers = ["lists.pem"]\n'
    (one,) = entries(old, f'{WHO}status = "crl"\ncrl = ["old.crl"]\n{scope}')
    assert isinstance(one.ca.source, ListSource)
    assert one.ca.source.locations == (Location(str(old.folder / "old.crl"), "http://crl.old.example/1.crl"),)
    assert len(one.ca.source.signers) == 1


def test_a_responder_or_nobody_may_be_asked(old: OldCa) -> None:
    ocsp = (
        'status = "ocsp"\nocsp = "http://ocsp.old.example"\nocsp_nonce = "required"\nocsp_signers = ["responder.pem"]\n'
    )
    two = WHO.replace('"old"', '"older"')
    first, second = entries(old, WHO + ocsp, f'{two}status = "none"\nreason = "It has ended."\n')
    assert isinstance(first.ca.source, ResponderSource)
    assert (first.ca.source.url, first.ca.source.nonce_required) == ("http://ocsp.old.example", True)
    assert second.ca.source == NoSource("It has ended.")


def test_a_ca_that_can_be_asked_to_revoke_has_a_client(old: OldCa) -> None:
    cmp = CFSSL.replace('"cfssl"', '"cmp"').replace("{ ", '{ user = "us", ')
    two = WHO.replace('"old"', '"older"')
    first, second = entries(old, WHO + CRL + CFSSL, two + CRL + cmp)
    assert isinstance(first.client, CfsslClient)
    assert isinstance(second.client, CmpClient)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('id = "Old CA"\n', "former issuer 1: its id has 1 to 32 of a-z"),
        (WHO.replace('name_zh = "舊憑證"\n', "") + CRL, "old: name_zh is not set"),
        (WHO.replace('"舊憑證"', '" "') + CRL, "old: name_zh is not set"),
        (WHO.replace("ca.pem", "away.pem") + CRL, "away.pem cannot be read (No such file"),
        (WHO.replace("ca.pem", "broken.pem") + CRL, "broken.pem is no certificate"),
        (WHO.replace('["ca.pem"]', "[]") + CRL, "old: certificates is not set"),
        (WHO.replace("ca.pem", "customer.pem") + CRL, "that is not a CA's"),
        (WHO.replace('"ca.pem"', '"ca.pem", "other.pem"') + CRL, "make another entry for another CA"),
        (f'{WHO}subject_templates = ["CN=TW*"]\n{CRL}', "exactly one of {person_id}"),
        (WHO, "old: status is not set"),
        (f'{WHO}status = "maybe"\n', "status is crl, ocsp or none"),
        (f'{WHO}status = "crl"\n', "old: crl is not set"),
        (f'{WHO}status = "crl"\ncrl = "http://x"\n', "crl is a list of texts"),
        (f'{WHO}status = "crl"\ncrl = ["ldap://x/cn=old"]\n', "LDAP is not supported"),
        (f'{WHO}status = "crl"\ncrl = ["http://u:p@x/"]\n', "is no http or https address"),
        (f'{WHO}{CRL}crl_scope = ["a", "b"]\n', "one address for each"),
        (f'{WHO}{CRL}crl_signers = ["customer.pem"]\n', "crl_signers has a certificate that the CA has not made"),
        (f'{WHO}{CRL}crl_signers = ["other.pem"]\n', "crl_signers has a certificate that the CA has not made"),
        (f"{WHO}{CRL}max_mb = 0\n", "max_mb is a whole number from 1 to 1024"),
        (f'{WHO}status = "ocsp"\nocsp = "http://x"\nocsp_signers = ["customer.pem"]\n', "(OCSPSigning)"),
        (f'{WHO}status = "ocsp"\nocsp = "http://x"\nocsp_nonce = "yes"\n', "ocsp_nonce is optional or required"),
        (f'{WHO}status = "none"\n', "old: reason is not set"),
        (f"{WHO}{CRL}colour = 1\n", "unknown option colour"),
        (f'{WHO}{CRL}revoke = "est"\n', "EST cannot revoke"),
        (f'{WHO}{CRL}revoke = "cmp"\nca = {{ url = "http://x", secret = "old-key" }}\n', "old, ca: user is not set"),
        (WHO + CRL + CFSSL.replace("old-key", "away"), "away cannot be read"),
        (WHO + CRL + CFSSL.replace("old-key", "words"), "authentication key, in hexadecimal"),
        (WHO + CRL + CFSSL.replace("{ ", '{ tls_key = "x", '), "tls_certificate and tls_key, both"),
        (WHO + CRL + CFSSL.replace("{ ", '{ tls_trust = "away.pem", ').replace("http:", "https:"), "TLS files"),
        (f'{WHO}{CRL}ca = {{ url = "x" }}\n', "unknown option url"),
    ],
)
def test_each_unfit_entry_has_its_sentence(old: OldCa, table: str, said: str) -> None:
    with pytest.raises(FormerUnfit) as unfit:
        entries(old, table)
    assert said in str(unfit.value)
    assert "\n" not in str(unfit.value)


def test_two_entries_with_one_id_and_other_tables_are_refused(old: OldCa) -> None:
    with pytest.raises(FormerUnfit, match="two entries have the id old"):
        entries(old, WHO + CRL, WHO + CRL)
    with pytest.raises(FormerUnfit, match="and nothing else"):
        entries(old, f"{WHO}{CRL}[other]\nx = 1\n")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("[[", "is no TOML"), ("a = 1", "nothing else")]
)
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    listed = tmp_path / "former.toml"
    if content is not None:
        listed.write_text(content)
    with pytest.raises(FormerUnfit, match=said):
        former_entries(Settings(former_issuers=listed), Clock(), NoDice())
