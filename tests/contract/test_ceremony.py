"""The two operators' ceremony: what it makes, what opens it, what it writes down, and what it does not take."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from pydantic import SecretStr

from chopmark.app.founding import founding
from chopmark.app.issuing_cas import CaDeps
from chopmark.app.secrets import NotReady
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.options import CeremonyOptions
from chopmark.cli.ceremony import ceremony, share
from chopmark.core.types import Secret
from chopmark.keys.shares import Lock, Shares
from tests.contract.world import ANN, START, Clock, Dice, World, import_customers
from tests.machine import program
from tests.vectors.pki.house import pem

ONE, TWO = "1111-first operator's share", "2222-second operator's share"
WHO = CeremonyOptions(one="Amy Chen", two="Ben Wu", witness=("Carol Lin",))


def settings(folder: Path, **other) -> Settings:
    return Settings(**{"mode": "demo", "data": folder / "data", **other})


def with_shares(chosen: Settings) -> Settings:
    return chosen.model_copy(update={"ca_share_one": SecretStr(ONE), "ca_share_two": SecretStr(TWO)})


def opening(clock: Clock) -> Callable:
    @asynccontextmanager
    async def opened(chosen: Settings, shares: Shares | None) -> AsyncIterator[CaDeps]:
        async with founding(chosen, clock, Dice(Random(7)), shares=shares) as deps:
            yield deps

    return opened


def typing(*lines: str) -> Callable[[str], str]:
    left = list(lines)
    return lambda prompt: left.pop(0)


BOTH = (ONE, ONE, TWO, TWO)


async def hold(
    folder: Path, asked: CeremonyOptions = WHO, typed: tuple[str, ...] = BOTH, *, rollover=False, clock=None, **other
):
    """Hold a ceremony as the command does, with a cheap lock."""
    chosen = other.pop("settings", None) or settings(folder, **other)
    return await ceremony(
        chosen,
        Folder(folder / "ceremony"),
        asked,
        rollover=rollover,
        ask=typing(*typed),
        opening=opening(clock or Clock()),
        memory_kib=64,
    )


async def start(chosen: Settings, clock: Clock | None = None) -> World:
    world = await World.opened(chosen, clock or Clock(), Dice(Random(8)))
    await import_customers(world.services)
    return world


async def test_a_ceremony_founds_a_ca_that_issues(tmp_path: Path) -> None:
    assert await hold(tmp_path) == 0
    world = await start(with_shares(settings(tmp_path)))
    await world.to_active(ANN)
    await world.close()
    left = {path.name for path in (tmp_path / "ceremony").iterdir()} - {".lock"}
    assert left == {
        "plan.json",
        "journal.json",
        "root.key.pem",
        "root.pem",
        "issuing.pem",
        "responder.pem",
        "root.crl.pem",
        "transcript.txt",
    }


# the shares ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secrets", "sentence"),
    [
        ({"ca_share_one": ONE}, "ca_share_two is not set"),
        ({"ca_share_two": TWO}, "ca_share_one is not set"),
        ({}, "both operators' shares: set ca_share_one and ca_share_two"),
        ({"ca_share_one": ONE, "ca_share_two": "another share of the second"}, "do not open"),
        ({"ca_share_one": TWO, "ca_share_two": ONE}, "do not open"),
        ({"ca_share_one": ONE, "ca_share_two": "short"}, "at least 20 characters"),
    ],
)
async def test_a_counter_starts_with_both_shares_and_with_nothing_less(founded: Path, secrets, sentence) -> None:
    with pytest.raises(NotReady, match=sentence):
        await build(settings(founded, **secrets), Clock(), Dice(Random(8)))


async def test_production_asks_for_no_pass_phrase_where_the_shares_are(tmp_path: Path) -> None:
    keys = dict.fromkeys(("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key"), "ab" * 32)
    chosen = settings(tmp_path, mode="production", public_url="https://counter.example.com", **keys)
    assert await hold(tmp_path, settings=chosen) == 0
    services = await build(with_shares(chosen), Clock(), Dice(Random(8)))
    await services.close()


@pytest.mark.parametrize(
    ("asked", "typed", "sentence"),
    [
        (CeremonyOptions(one="Amy", two="amy"), BOTH, "two persons"),
        (CeremonyOptions(one="Amy"), BOTH, "--one and --two"),
        (WHO, (ONE, ONE + "x", TWO, TWO), "the two entries differ"),
        (WHO, (ONE, ONE, ONE, ONE), "one person would hold both"),
        (WHO, ("short", "short", TWO, TWO), "at least 20 characters"),
        (CeremonyOptions(one="Amy", two="Ben", resume=True), BOTH, "no ceremony"),
    ],
)
async def test_a_ceremony_that_may_not_be_held_leaves_nothing(tmp_path: Path, capsys, asked, typed, sentence) -> None:
    assert await hold(tmp_path, asked, typed) == 1
    assert re.search(f"Nothing was taken into use: .*{sentence}", capsys.readouterr().out)
    assert {path.name for path in (tmp_path / "ceremony").iterdir()} == {".lock"}


async def test_a_made_share_is_a_file_of_its_own_and_no_other_is_overwritten(tmp_path: Path, capsys) -> None:
    files = tmp_path / "one", tmp_path / "two"
    assert [share(file) for file in files] == [0, 0]
    texts = [file.read_text() for file in files]
    assert texts[0] != texts[1]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 2
    assert share(files[0]) == 1
    assert files[0].read_text() == texts[0]
    assert not any(text.strip() in capsys.readouterr().out for text in texts)
    asked = CeremonyOptions(one="Amy", two="Ben", share_one=files[0], share_two=files[1])
    assert await hold(tmp_path, asked, ()) == 0


# the transcript -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a founded CA, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("founded")
    assert asyncio.run(hold(folder)) == 0
    return folder


def test_openssl_agrees_with_every_line_of_the_transcript(founded: Path) -> None:
    folder = founded / "ceremony"
    transcript = (folder / "transcript.txt").read_text()
    at = str(int(START.timestamp()))
    told = []
    for command in re.findall(r"^\$ (openssl .+)$", transcript, re.MULTILINE):
        line = command.replace("openssl verify", f"openssl verify -attime {at}")
        made = subprocess.run(["sh", "-ec", line], cwd=folder, capture_output=True, text=True, check=True)
        told.append(made.stdout + made.stderr)
    prints = re.findall(r"Fingerprint=(\S+)", "".join(told))
    keys = re.findall(r"= ([0-9a-f]{64})$", "".join(told), re.MULTILINE)
    assert (len(prints), len(keys)) == (4, 3)
    assert all(re.search(f"SHA-256 +{re.escape(value)}$", transcript, re.MULTILINE) for value in prints + keys)
    assert [line.strip() for line in told if "OK" in line] == ["verify OK", "issuing.pem: OK", "responder.pem: OK"]


def test_the_transcript_says_who_when_and_with_what_and_dates_every_step(founded: Path) -> None:
    from chopmark import __version__

    transcript = (founded / "ceremony" / "transcript.txt").read_text()
    for word in ("Amy Chen", "Ben Wu", "Carol Lin", f"Chopmark {__version__}", "P256", "made in this ceremony"):
        assert word in transcript
    steps = transcript.split("STEPS\n\n")[1].split("\n\n")[0].splitlines()
    assert len(steps) == 10
    assert all(line.startswith("2026-03-31 04:00:00 UTC  ") for line in steps)


def test_nothing_in_the_folder_but_the_root_s_locked_key_file_is_secret(founded: Path) -> None:
    folder = founded / "ceremony"
    lock = Lock.of((folder / "root.key.pem").read_bytes())
    assert lock is not None
    phrase = lock.passphrase(Shares(Secret(ONE), Secret(TWO))).reveal()
    for path in folder.iterdir():
        content = path.read_text()
        assert not any(secret in content for secret in (ONE, TWO, phrase))
        assert ("PRIVATE KEY" in content) is (path.name == "root.key.pem")
        assert path.stat().st_mode & 0o077 == 0 or path.name == ".lock"


async def test_both_operators_stand_in_the_audit(founded: Path) -> None:
    services = await build(with_shares(settings(founded)), Clock(), Dice(Random(8)))
    world = World(services, Clock(), Dice(Random(8)))
    (record,) = await world.rows("SELECT facts FROM leaves WHERE event = 'ca:ceremony:done'")
    assert '"approved_by":"Ben Wu"' in record["facts"].replace(" ", "").replace("BenWu", "Ben Wu")
    assert "Amy Chen" in record["facts"]
    await world.close()


async def test_a_finished_ceremony_is_not_held_again(founded: Path, capsys) -> None:
    assert await hold(founded, CeremonyOptions(resume=True), (ONE, TWO)) == 0
    assert "is over" in capsys.readouterr().out
    assert await hold(founded) == 1
    assert "--resume" in capsys.readouterr().out
    other = founded / "other"
    assert await hold(other, settings=settings(founded)) == 1
    assert "chopmark ca rollover" in capsys.readouterr().out


async def test_what_does_not_check_is_not_taken(founded: Path, tmp_path: Path, capsys) -> None:
    """Somebody puts another ceremony's certificates into the folder while this one is interrupted."""
    assert await hold(tmp_path, CeremonyOptions(one="Amy", two="Ben", root_elsewhere=True)) == 0
    for file in ("issuing.pem", "root.pem", "root.crl.pem"):
        (tmp_path / "ceremony" / file).write_bytes((founded / "ceremony" / file).read_bytes())
    assert await hold(tmp_path, CeremonyOptions(resume=True), (ONE, TWO)) == 1
    assert "Nothing was taken into use" in capsys.readouterr().out
    with pytest.raises(NotReady, match="there is no CA yet"):
        await build(with_shares(settings(tmp_path)), Clock(), Dice(Random(8)))


async def test_other_shares_do_not_go_on_with_a_ceremony(tmp_path: Path, capsys) -> None:
    asked = CeremonyOptions(one="Amy", two="Ben", root_elsewhere=True)
    assert await hold(tmp_path, asked) == 0
    assert await hold(tmp_path, CeremonyOptions(resume=True), (ONE, "another share of the second")) == 1
    assert "these shares do not open issuing.key.pem" in capsys.readouterr().out


# the root on another machine ----------------------------------------------------------------------------------------


def run(folder: Path, *words: str) -> None:
    made = subprocess.run([program(words[0]), *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another machine with a root of its own and nothing but openssl."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "root.cnf").write_text(
        "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\nC=TW\nO=Firm\nCN=Offline Root\n"
        "[ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha384\ncrl_extensions=crl\n"
        "default_crl_days=700\n[crl]\nauthorityKeyIdentifier=keyid\n"
    )
    (folder / "index.txt").write_text("")
    (folder / "crlnumber").write_text("07\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes", "-keyout", "root.key", "-days", "7300")
    run(folder, "openssl", "req", "-x509", "-sha384", *new, "-config", "root.cnf", "-out", "root.pem")
    crl = ("-gencrl", "-config", "root.cnf", "-keyfile", "root.key", "-cert", "root.pem", "-out", "root.crl.pem")
    run(folder, "openssl", "ca", *crl)
    return folder


def certify(elsewhere: Path, ceremony: Path, profile: str | None = None, csr: Path | None = None) -> CeremonyOptions:
    """What the other machine does with the request, and what comes back."""
    request = csr or ceremony / "issuing.csr.pem"
    extensions = elsewhere / "issuing.ext"
    extensions.write_text(profile or (ceremony / "issuing.ext").read_text())
    root = ("-CA", "root.pem", "-CAkey", "root.key", "-days", "3650", "-sha384", "-extfile", "issuing.ext")
    run(elsewhere, "openssl", "x509", "-req", "-in", str(request), *root, "-out", "issuing.pem")
    return CeremonyOptions(
        resume=True,
        issuing_certificate=elsewhere / "issuing.pem",
        root_certificate=elsewhere / "root.pem",
        root_crl=elsewhere / "root.crl.pem",
    )


def clock_of(elsewhere: Path) -> Clock:
    """The other machine made its root by the wall clock; this one's clock is a minute later."""
    root = x509.load_pem_x509_certificate((elsewhere / "root.pem").read_bytes())
    return Clock(root.not_valid_before_utc + timedelta(minutes=10))


async def test_the_root_s_key_stays_on_another_machine(tmp_path: Path, elsewhere: Path) -> None:
    clock, folder = clock_of(elsewhere), tmp_path / "ceremony"
    asked = CeremonyOptions(one="Amy", two="Ben", root_elsewhere=True, algorithm="P384")
    assert await hold(tmp_path, asked, clock=clock) == 0
    run(folder, "openssl", "req", "-in", "issuing.csr.pem", "-noout", "-verify")
    assert await hold(tmp_path, certify(elsewhere, folder), (ONE, TWO), clock=clock) == 0
    assert not (folder / "root.key.pem").exists()
    world = await start(with_shares(settings(tmp_path)), clock)
    await world.to_active(ANN)
    certificate = world.held[ANN].certificate
    (tmp_path / "leaf.pem").write_bytes(pem(certificate.der))
    (tmp_path / "issuing.pem").write_bytes(pem(certificate.chain[0]))
    at = ("-attime", str(int(clock.at.timestamp())))
    chain = ("-CAfile", str(elsewhere / "root.pem"), "-untrusted", "issuing.pem")
    run(tmp_path, "openssl", "verify", "-x509_strict", *at, *chain, "leaf.pem")
    await world.close()


GOOD = """basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
crlDistributionPoints = URI:http://127.0.0.1:8080/pki/root-0.crl
"""


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("pathlen:0", "pathlen:1"), "basic_constraints"),
        (("critical, CA:TRUE", "CA:TRUE"), "basic_constraints"),
        (("cRLSign", "cRLSign, digitalSignature"), "key_usage"),
        ((", cRLSign", ""), "key_usage"),
        (("keyid:always", "none"), r"without_2\.5\.29\.35"),
        (("crlDistributionPoints = URI:http", "crlDistributionPoints = URI:ldap"), "crl_distribution_point"),
        (("crlDist", "extendedKeyUsage = clientAuth\ncrlDist"), r"extension_2\.5\.29\.37"),
        (("crlDist", "nameConstraints = critical, permitted;email:.tw\ncrlDist"), r"extension_2\.5\.29\.30"),
    ],
)
async def test_a_certificate_of_another_profile_is_not_taken(tmp_path, elsewhere, capsys, wrong, code) -> None:
    clock = clock_of(elsewhere)
    assert await hold(tmp_path, CeremonyOptions(one="Amy", two="Ben", root_elsewhere=True), clock=clock) == 0
    back = certify(elsewhere, tmp_path / "ceremony", GOOD.replace(*wrong))
    assert await hold(tmp_path, back, (ONE, TWO), clock=clock) == 1
    assert re.search(rf"does not fit: .*{code}", capsys.readouterr().out)
    assert not (tmp_path / "ceremony" / "issuing.pem").exists()


async def test_a_certificate_of_another_key_or_an_untrue_chain_is_not_taken(tmp_path, elsewhere, capsys) -> None:
    clock, ours = clock_of(elsewhere), tmp_path / "ours"
    asked = CeremonyOptions(one="Amy", two="Ben", root_elsewhere=True)
    other = tmp_path / "other"
    for folder in (ours, other):
        assert await hold(folder, asked, settings=settings(folder), clock=clock) == 0
    foreign = certify(elsewhere, ours / "ceremony", GOOD, other / "ceremony" / "issuing.csr.pem")
    assert await hold(ours, foreign, (ONE, TWO), clock=clock) == 1
    assert "another_key" in capsys.readouterr().out
    own = certify(elsewhere, ours / "ceremony")
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", "r.key", "-config", "root.cnf", "-out", "false.pem")
    run(elsewhere, "openssl", "req", "-x509", "-days", "7300", *new)
    untrue = replace(own, root_certificate=elsewhere / "false.pem")
    assert await hold(ours, untrue, (ONE, TWO), clock=clock) == 1
    assert "chain_signature" in capsys.readouterr().out
    assert await hold(ours, own, (ONE, TWO), clock=clock) == 0
