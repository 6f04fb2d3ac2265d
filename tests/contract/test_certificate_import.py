"""The import of certificates of former issuers: matched, staged, counted once, and only as a whole."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from chopmark.app.registration import ra_services
from chopmark.audit.events import Event
from chopmark.cli.certificate_import import say_report, write_report
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refused
from chopmark.core.types import Operation, OrderState
from chopmark.pki.algorithms import KeyKind
from chopmark.ra.certificate_import.report import CertificateReport, Estimate, Found
from chopmark.ra.certificate_import.run import CertificateImport
from chopmark.ra.former_issuers import NO_FORMER_ISSUERS
from chopmark.ra.imported import ImportedState, Way
from chopmark.store.repositories.ra.certificate_import import CertificateImportRegistry
from tests.contract.world import ANN, BEN, CEO, DAN, EVE, FAY, GUS, Held, World, outcome, refusal, world_fixture
from tests.former import OldCa, Says, old_ca, pem, person, with_former, written

plain = world_fixture()


@pytest.fixture
def world(plain: World) -> World:
    """A house whose settings name the old CA."""
    return with_former(plain, old_ca().issuer(), Says())


def imports(world: World, batch: int = 2) -> CertificateImport:
    """An import with small batches, as another process has it."""
    services = world.services
    foundation = services.foundation
    return CertificateImport(
        CertificateImportRegistry(foundation.engine),
        foundation.sealer,
        foundation.audit_log,
        world.clock,
        world.dice,
        services.ra.context.former,
        foundation.policy.profile,
        batch,
    )


def of(customer: str, serial: int, *, until: int = 20, signs: bool = True) -> bytes:
    return old_ca().issue(person(customer), ClientKey.generate(), serial=serial, until=until, signs=signs)


def brief(report: CertificateReport) -> dict[str, int]:
    return {found.value: many for found, many in report.counts.items()}


async def living(world: World) -> list[str]:
    context = world.services.ra.context
    assert context.imported is not None
    everybody = [await context.imported.living(world.caller(who).customer) for who in (ANN, BEN, CEO, DAN, EVE, FAY)]
    return sorted(one.serial for some in everybody for one in some)


async def test_every_certificate_is_counted_for_what_it_is_and_only_matches_come_in(
    world: World, tmp_path: Path
) -> None:
    key, blocked, ca = ClientKey.generate(), ClientKey.generate(), old_ca()
    await world.services.ra.key_blocks.block(blocked.spki_sha256.hex(), "key_compromise", "alice", "bob")
    again = of(ANN, 1)
    nobody = ca.issue("A123456789", ClientKey.generate(), serial=2)
    odd = ca.issue("", ClientKey.generate(), serial=3, names=[(NameOID.COMMON_NAME, "Somebody")])
    both = ca.issue(
        "",
        ClientKey.generate(),
        serial=4,
        names=[
            (NameOID.COMMON_NAME, f"TW{person(ANN)}1"),
            (NameOID.COMMON_NAME, f"TW{person(BEN)}1"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "RA-Broker01"),
        ],
    )
    content = pem(
        again,
        nobody,
        odd,
        both,
        of(BEN, 5, until=-1),
        OldCa().issue(person(BEN), ClientKey.generate(), serial=6),
        ca.certificate,
        ca.issue(person(CEO), key, serial=7),
        ca.issue(person(DAN), key, serial=8),
        ca.issue(person(EVE), blocked, serial=9),
        again,
        of(FAY, 10),
        of(BEN, 11, signs=False),
    )
    file = written(tmp_path, "old.pem", content)
    expected = {
        "matched": 2,
        "key_unfit": 1,
        "no_template": 1,
        "no_customer": 1,
        "two_customers": 1,
        "expired": 1,
        "not_former": 1,
        "authority": 1,
        "key_shared": 2,
        "key_blocked": 1,
        "twice": 1,
    }
    checked = await imports(world).check([file])
    assert brief(checked) == expected
    assert await world.count("certificate_imports") == await world.count("imported_certificates") == 0
    report = await imports(world).run([file], "alice")
    assert brief(report) == expected
    assert (report.certificates, report.imported, report.renew, report.apply) == (13, 3, 2, 1)
    assert report.ways == {Way.UNKNOWN: 2, Way.NONE: 1}
    assert report.months == {"2026-04": 3}
    assert await living(world) == ["01", "0A", "0B"]
    assert await world.count("imported_certificates") == 3
    (record,) = await world.records(Event.STAFF_CERTIFICATES_IMPORTED)
    facts = json.loads(record["facts"])
    assert (facts["by"], facts["count"], facts["run"]) == ("alice", 3, report.run)
    assert (await world.audit()).sound


async def test_the_examples_name_place_and_serial_and_no_more_than_asked(world: World, tmp_path: Path) -> None:
    file = written(tmp_path, "old.pem", pem(*(of(ANN, serial, until=-serial) for serial in (1, 2, 3))))
    report = await imports(world).check([file], examples=2)
    kept = report.examples[Found.EXPIRED]
    assert [(one.number, one.file, one.place, one.serial) for one in kept] == [
        (1, "old.pem", 1, "01"),
        (2, "old.pem", 2, "02"),
    ]


async def test_a_second_run_of_the_same_files_changes_nothing(world: World, tmp_path: Path) -> None:
    file = written(tmp_path, "old.pem", pem(of(ANN, 1), of(BEN, 2)))
    await imports(world).run([file], "alice")
    await world.change("UPDATE imported_certificates SET state = 'superseded' WHERE serial = '01'")
    again = await imports(world).run([file], "alice")
    assert brief(again) == {"there": 2}
    assert again.imported == 0
    assert await living(world) == ["02"]


class _Killed(Exception):
    """What kills a process of a test."""


async def test_a_run_that_is_killed_twice_counts_for_nothing_until_it_is_finished(world: World, tmp_path: Path) -> None:
    file = written(tmp_path, "old.pem", pem(*(of(who, n) for n, who in enumerate((ANN, BEN, CEO, DAN, EVE, FAY), 1))))
    size = 2 * file.stat().st_size

    def killed_at(share: float):
        def tell(done: int, total: int) -> None:
            if done > share * total:
                raise _Killed

        return tell

    for share in (0.6, 0.8):
        with pytest.raises(_Killed):
            await imports(world).run([file], "alice", killed_at(share))
        assert await living(world) == []
        view = await world.services.ra.customer_queries.overview(world.caller(ANN))
        assert view.advice.operation is Operation.ENROL
    told: list[tuple[int, int]] = []
    report = await imports(world).run([file], "alice", lambda done, total: told.append((done, total)))
    assert report.resumed_at
    assert (report.imported, brief(report)) == (6, {"matched": 6})
    assert await living(world) == ["01", "02", "03", "04", "05", "06"]
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


async def test_what_another_input_leaves_behind_is_given_up_and_swept(world: World, tmp_path: Path) -> None:
    shared = of(ANN, 1)
    first = written(tmp_path, "first.pem", pem(shared, of(BEN, 2), of(CEO, 3)))

    def killed(done: int, total: int) -> None:
        if done > total * 0.6:
            raise _Killed

    with pytest.raises(_Killed):
        await imports(world).run([first], "alice", killed)
    assert await world.count("imported_certificates") == 2
    second = written(tmp_path, "second.pem", pem(shared))
    report = await imports(world).run([second], "bob")
    assert report.imported == 1
    assert await world.count("imported_certificates") == 1
    assert await world.count("certificate_imports", "state = 'given_up'") == 1


async def test_two_processes_with_the_same_files_import_them_once(world: World, tmp_path: Path) -> None:
    file = written(tmp_path, "old.pem", pem(*(of(who, n) for n, who in enumerate((ANN, BEN, CEO, DAN, EVE), 1))))
    other = await world.node(2)
    other = with_former(other, old_ca().issuer(), Says())
    ended = await asyncio.gather(*(outcome(imports(one).run([file], "alice")) for one in (world, other)))
    imported = [one.imported for one in ended if isinstance(one, CertificateReport)]
    if not imported:  # each was in the other's way: nothing counts, and the next run finishes it
        assert await living(world) == []
        imported = [(await imports(world).run([file], "alice")).imported]
    assert sum(imported) == 5
    assert await living(world) == ["01", "02", "03", "04", "05"]
    assert await world.count("certificate_imports", "state = 'staging'") == 0


async def test_with_something_unreadable_nothing_is_imported(world: World, tmp_path: Path) -> None:
    file = written(tmp_path, "old.pem", pem(of(ANN, 1)) + "-----BEGIN CERTIFICATE-----\nMIIB\n")
    report = await imports(world).run([file], "alice")
    assert [(one.file, one.place, one.code) for one in report.unreadable] == [("old.pem", 2, "unfinished")]
    assert report.imported == 0
    assert await living(world) == []
    mended = written(tmp_path, "old.pem", pem(of(ANN, 2)))
    assert (await imports(world).run([mended], "alice")).imported == 1


async def test_tables_say_whose_a_certificate_is_where_the_subject_says_nothing(world: World, tmp_path: Path) -> None:
    silent = [(NameOID.COMMON_NAME, "Somebody")]
    by_number = old_ca().issue("", ClientKey.generate(), serial=0x1F, names=silent)
    by_serial = old_ca().issue("", ClientKey.generate(), serial=0xABCD, names=silent)
    in_cell = pem(by_number).replace("\n", "\r\n")
    folder = tmp_path / "exports"
    folder.mkdir()
    written(folder, "a.csv", f'\ufeff客戶編號,憑證,金鑰位置\r\n{ANN},"{in_cell}",檔案\r\n')
    written(folder, "b.csv", f"憑證序號,客戶編號,金鑰位置\nab:cd,{BEN},元件\n".encode("cp950"))
    written(folder, "c.der", by_serial)
    report = await imports(world).run([folder], "alice")
    assert brief(report) == {"matched": 2}
    assert report.ways == {Way.FILE: 1, Way.VAULT: 1}
    assert (report.renew, report.apply) == (1, 1)
    context = world.services.ra.context
    assert context.imported is not None
    (ben,) = await context.imported.living(world.caller(BEN).customer)
    assert (ben.serial, ben.way, ben.state) == ("ABCD", Way.VAULT, ImportedState.ACTIVE)


async def test_a_table_cannot_give_away_the_certificate_of_somebody_who_is_no_customer(
    world: World, tmp_path: Path
) -> None:
    cell = pem(old_ca().issue("A100000001", ClientKey.generate())).replace("\n", "")
    file = written(tmp_path, "a.csv", f"customer,certificate\n{ANN},{cell}\n")
    assert brief(await imports(world).check([file])) == {"two_customers": 1}
    assert (await imports(world).run([file], "alice")).imported == 0


async def test_a_table_that_contradicts_the_subject_matches_nobody(world: World, tmp_path: Path) -> None:
    cell = pem(of(ANN, 1)).replace("\n", "")
    file = written(tmp_path, "a.csv", f"customer,certificate\n{BEN},{cell}\n")
    assert brief(await imports(world).check([file])) == {"two_customers": 1}


@pytest.mark.parametrize("number", ["C99999", "no number of ours"])
async def test_a_table_with_an_unknown_customer_number_is_not_believed_because_the_subject_matches(
    world: World, tmp_path: Path, number: str
) -> None:
    cells = [pem(of(who, serial)).replace("\n", "") for serial, who in enumerate((ANN, BEN), 1)]
    lines = f"customer,certificate\n{number},{cells[0]}\n{BEN},{cells[1]}\n"
    report = await imports(world).run([written(tmp_path, "a.csv", lines)], "alice")
    assert brief(report) == {"table_unknown": 1, "matched": 1}
    assert [one.serial for one in report.examples[Found.TABLE_UNKNOWN]] == ["01"]
    assert await living(world) == ["02"]


async def test_a_table_by_serial_with_an_unknown_number_beside_a_known_one_matches_nobody(
    world: World, tmp_path: Path
) -> None:
    nameless = [(NameOID.COMMON_NAME, "Somebody")]
    folder = tmp_path / "export"
    folder.mkdir()
    written(folder, "a.pem", pem(old_ca().issue("", ClientKey.generate(), serial=0xABCD, names=nameless)))
    written(folder, "b.csv", f"serial,customer,person_id\nABCD,C99999,{person(ANN)}\n")
    assert brief(await imports(world).check([folder])) == {"table_unknown": 1}


async def test_a_key_that_another_customer_has_shown_here_is_shared(world: World, tmp_path: Path) -> None:
    errand = await world.to_active(GUS)
    file = written(tmp_path, "old.pem", pem(old_ca().issue(person(ANN), errand.key)))
    assert brief(await imports(world).check([file])) == {"key_shared": 1}


async def test_who_has_one_of_ours_already_neither_renews_nor_applies(world: World, tmp_path: Path) -> None:
    await world.to_active(ANN)
    file = written(tmp_path, "old.pem", pem(of(ANN, 1)))
    report = await imports(world).run([file], "alice")
    assert (report.certified, report.renew, report.apply) == (1, 0, 0)
    view = await world.services.ra.customer_queries.overview(world.caller(ANN))
    assert view.present is not None
    assert view.present.former is None


async def test_an_import_while_a_renewal_runs_leaves_it_alone(world: World, tmp_path: Path) -> None:
    key = ClientKey.generate()
    first = old_ca().issue(person(ANN), key, serial=1, until=20)
    await imports(world).run([written(tmp_path, "first.pem", pem(first))], "alice")
    (certificate,) = await world.services.ra.context.certificates.all(world.caller(ANN).customer)
    world.held[ANN] = Held(key, certificate)
    errand = await world.to_review(ANN, Operation.REKEY)
    both = written(tmp_path, "both.pem", pem(first, of(ANN, 2, until=25)))
    assert brief(await imports(world).run([both], "alice")) == {"matched": 1, "there": 1}
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    assert await living(world) == []


async def test_keys_of_which_no_renewal_can_be_verified_must_apply(world: World, tmp_path: Path) -> None:
    fit = old_ca().issue(person(ANN), ClientKey.generate(KeyKind.RSA2048), serial=1)
    unfit = old_ca().issue(person(BEN), ClientKey.generate(), serial=2, signs=False)
    report = await imports(world).check([written(tmp_path, "old.pem", pem(fit, unfit))])
    assert (report.renew, report.apply) == (1, 1)
    assert brief(report) == {"matched": 1, "key_unfit": 1}


async def test_what_may_prove_no_renewal_comes_in_and_is_named_in_the_report(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.csv"
    weak = old_ca().issue(person(BEN), ClientKey(rsa.generate_private_key(65537, 1024)), serial=2)
    file = written(tmp_path, "old.pem", pem(of(ANN, 1), weak))
    found = await imports(world).run([file], "alice")
    assert (found.imported, found.ways) == (2, {Way.UNKNOWN: 1, Way.NONE: 1})
    say_report(found, Estimate())
    assert "1  belong to one customer each, but their key may prove no renewal: these must apply" in (
        capsys.readouterr().out
    )
    write_report(found, report)
    assert "key_unfit,2,old.pem,2,02," in report.read_text()
    assert await living(world) == ["01", "02"]


async def test_without_a_former_issuer_in_the_settings_nothing_begins(plain: World, tmp_path: Path) -> None:
    services = plain.services
    ra = ra_services(services.foundation, services.identity, services.ca, NO_FORMER_ISSUERS)
    bare = plain.with_services(replace(services, ra=ra))
    refused = await refusal(bare.services.ra.certificate_import.check([written(tmp_path, "a.pem", "x")]))
    assert refused.code == "no_former_issuer"
    with pytest.raises(Refused):
        await imports(with_former(plain, old_ca().issuer(), Says())).check([tmp_path / "nothing.pem"])
