"""What a sheet may change, on both databases: recorded, named where it is unusual, cooled down where it moves."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import Channel
from chopmark.ra.customer_import.ports import KEPT, Allowed, Rules
from chopmark.ra.customer_import.report import Report
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.ra.customer_import import SqlRegistry
from chopmark.store.schema import metadata
from tests.contract import test_registry
from tests.contract.test_registry import BOB, HEADER, ZOE, Directory, many

COOL = timedelta(days=7)
ALL = tuple(Allowed)
ID, BIRTH, BLANKED, MANY = Allowed.ID, Allowed.BIRTH_DATE, Allowed.BLANKED, Allowed.MANY
OTHER_ID = "B100000002"
"""A national id that nobody here has."""


world = test_registry.world


def codes(report: Report) -> list[tuple[int, str]]:
    return [(fault.line, fault.code) for fault in report.faults]


async def records(world: Directory, event: Event, chain: str = "customer:C0001") -> list[dict[str, Any]]:
    """The facts of a customer's leaves of one kind, oldest first."""
    rows = await world.rows("SELECT chain, event, facts FROM leaves ORDER BY chain, version")
    return [json.loads(row["facts"]) for row in rows if (row["chain"], row["event"]) == (chain, event.value)]


async def everything(world: Directory) -> dict[str, list[dict[str, Any]]]:
    return {name: await world.rows(f'SELECT * FROM "{name}"') for name in sorted(metadata.tables)}


async def notices(world: Directory) -> set[tuple[str, str, int, str]]:
    rows = await world.rows("SELECT customer, channel, contact_version, facts FROM work WHERE kind = 'notice'")
    return {
        (row["customer"], row["channel"], row["contact_version"], json.loads(row["facts"])["template"]) for row in rows
    }


async def cools(world: Directory, customer: str) -> set[Channel]:
    """The channels of a customer that carry no code for the whole cool-down from now on."""
    found = {channel: await world.contact(channel, customer) for channel in Channel}
    assert any(found.values())
    until = world.clock.at + COOL
    return {channel for channel, contact in found.items() if contact is not None and contact.cool_until == until}


async def test_each_changed_attribute_is_a_record_of_the_customer_without_its_value(world: Directory):
    await world.take_in(ZOE)
    world.clock.at += timedelta(days=1)
    line = f"C0001,{OTHER_ID},王大明,2001-08-16,0987654321,zoe@example.net,9A95-0000009,2026-07-02"
    assert (await world.take_in(line, allow=(ID, BIRTH))).imported == 1
    changed = await records(world, Event.STAFF_CUSTOMER_CHANGED)
    assert [(one["field"], one["state"], one.get("account"), one["by"]) for one in changed] == [
        ("person_id", "changed", None, "alice"),
        ("name", "changed", None, "alice"),
        ("birth_date", "changed", None, "alice"),
        ("accounts", "removed", "F014000-0000007", "alice"),
        ("accounts", "added", "9A95-0000009", "alice"),
    ]
    contacts = await records(world, Event.STAFF_CONTACT_CHANGED)
    assert [(one["channel"], one["state"], one["contact_version"]) for one in contacts] == [
        ("mobile", "changed", 2),
        ("email", "changed", 2),
    ]
    said = json.dumps([changed, contacts], ensure_ascii=False)
    for value in (OTHER_ID, "A123456789", "王", "2001", "2001-08", "0987654321", "+886", "example"):
        assert value not in said


@pytest.mark.parametrize(
    ("line", "code", "allow"),
    [
        (ZOE.replace("A123456789", OTHER_ID), "person_id.changed", ID),
        ("C0001,00501503,某公司,,0912345678,zoe@example.org,(期)F014000-0000007,2026-07-01", "person_id.changed", ID),
        (ZOE.replace("2001-07-15", "1990-07-15"), "birth_date.changed", BIRTH),
        (ZOE.replace("0912345678", ""), "mobile.blanked", BLANKED),
        (ZOE.replace("zoe@example.org", ""), "email.blanked", BLANKED),
        (ZOE.replace("(期)F014000-0000007", ""), "accounts.blanked", BLANKED),
    ],
)
async def test_what_a_spoiled_sheet_changes_keeps_it_out_unless_it_is_named(
    world: Directory, line: str, code: str, allow: Allowed
):
    await world.take_in(ZOE)
    before = await everything(world)
    others = tuple(one for one in ALL if one is not allow)
    if "某公司" in line:
        others = (BIRTH,)
    report = await world.take_in(line, BOB, allow=others)
    assert (codes(report), report.imported) == ([(2, code)], 0)
    assert f"--allow {allow.value}" in str(report.faults[0].text)
    assert await everything(world) == before
    assert (await world.take_in(line, BOB, allow=(*others, allow))).imported == 2
    (*_, last) = await records(world, Event.STAFF_CUSTOMERS_IMPORTED, "staff:alice")
    assert last["allowed"] == ",".join(sorted((*others, allow)))


async def test_contacts_of_more_than_the_set_share_keep_the_sheet_out_and_a_few_of_a_small_sheet_do_not(
    world: Directory,
):
    lines = many(20)
    await world.take_in(*lines)
    changed = [line.replace(",09", ",0955") if place < 6 else line for place, line in enumerate(lines)]
    changed = [",".join(cell[:10] if cell.startswith("09") else cell for cell in line.split(",")) for line in changed]
    report = await world.take_in(*changed)
    assert codes(report) == [(2, "contacts.many")]
    assert "Of 20 customers on record 6" in str(report.faults[0].text)
    assert (await world.take_in(*lines[:15], *changed[5:6], *lines[16:])).faults != ()  # a line twice
    assert (await world.take_in(*changed[:5], *lines[5:])).imported == 20
    assert (await world.take_in(*changed, allow=(MANY,))).imported == 20


async def test_the_share_counts_where_it_is_more_than_the_floor(world: Directory):
    world.rules = replace(world.rules, percent=10, floor=0)
    lines = many(30)
    await world.take_in(*lines)
    for few, imported in ((4, 0), (3, 30)):
        changed = [line.replace(",0900", ",0955") for line in lines[:few]] + lines[few:]
        assert (await world.take_in(*changed)).imported == imported


async def test_a_dry_run_says_what_changes_what_disappears_and_how_many_and_writes_nothing(world: Directory):
    await world.take_in(ZOE, BOB, *many(3))
    before = await everything(world)
    line = f"C0001,{OTHER_ID},王小明,2001-07-15,0987654321,,(期)F014000-0000007;9A95-0000009,2026-07-01"
    new = "C0009,A130000019,新客戶,1960-07-15,0987654321,,,2026-07-01"
    report = await world.customer_import.check_file(world.sheet(line, BOB, new))
    assert codes(report) == [(2, "person_id.changed"), (2, "email.blanked")]
    assert report.counts == {
        "person_id.changed": 1,
        "mobile.changed": 1,
        "email.removed": 1,
        "accounts.added": 1,
        "customer.new": 1,
        "mobile.shared": 1,
    }
    assert [(note.line, note.code) for note in report.notes] == [
        (2, "person_id.changed"),
        (2, "mobile.changed"),
        (2, "email.removed"),
        (2, "accounts.added"),
        (4, "mobile.shared"),
    ]
    assert (report.absent, report.absent_count) == (("C000000", "C000001", "C000002"), 3)
    said = " ".join(str(note.text) for note in (*report.notes, *report.faults))
    assert OTHER_ID not in said
    assert "0987" not in said
    assert (await world.customer_import.check_file(world.sheet(line, BOB, new), allowed=(ID, BLANKED))).faults == ()
    assert await everything(world) == before


VICTIM = ZOE
INSIDERS_MOBILE = "0955000111"
EMPTIED = f"C0001,{OTHER_ID},某人,2001-07-15,0912345678,zoe@example.org,,2026-07-01"
THIEF = f"C0099,A123456789,王小明,2001-07-15,{INSIDERS_MOBILE},,(期)F014000-0000007,2026-07-02"


async def test_a_new_number_with_somebody_elses_id_and_account_cools_down_and_that_person_is_told(world: Directory):
    await world.take_in(VICTIM, BOB)
    assert codes(await world.take_in(EMPTIED, THIEF, allow=ALL)) == [(3, "person_id.taken"), (3, "accounts.taken")]
    world.clock.at += timedelta(days=3)
    await world.take_in(EMPTIED, allow=ALL)
    assert await cools(world, "C0001") == set(Channel)  # another person has this number
    assert await notices(world) == {
        ("C0001", "mobile", 1, "record_changed"),
        ("C0001", "email", 1, "record_changed"),
    }
    world.clock.at += timedelta(days=30)
    assert (await world.take_in(THIEF)).imported == 1
    assert await cools(world, "C0099") == {Channel.MOBILE}
    found = await records(world, Event.STAFF_COOLDOWN_STARTED, "customer:C0099")
    assert [(one["field"], one["reason"], one.get("account")) for one in found] == [
        ("person_id", "moved", None),
        ("accounts", "moved", "F014000-0000007"),
    ]
    works = await world.rows("SELECT customer, channel FROM work ORDER BY not_before, customer, channel")
    assert [tuple(row.values()) for row in works][2:] == [("C0001", "email"), ("C0001", "mobile")]


async def test_the_person_is_told_at_the_address_of_before_where_that_was_replaced_on_the_way(world: Directory):
    await world.take_in(VICTIM)
    gone = EMPTIED.replace("0912345678", "0955000222").replace("zoe@example.org", "")
    await world.take_in(gone, allow=ALL)
    world.clock.at += KEPT - timedelta(days=1)
    await world.take_in(THIEF)
    told = await notices(world)
    assert {("C0001", "mobile", 1, "record_changed"), ("C0001", "email", 1, "record_changed")} <= told
    rows = await world.rows("SELECT customer, channel, version, value_sealed FROM former_contacts ORDER BY channel")
    assert [(row["customer"], row["channel"], row["version"]) for row in rows] == [
        ("C0001", "email", 1),
        ("C0001", "mobile", 1),
    ]
    for row, value in zip(rows, ("zoe@example.org", "+886912345678"), strict=True):
        assert value.encode() not in row["value_sealed"]
        place = (row["channel"], row["customer"], row["version"])
        assert world.sealer.open(row["value_sealed"], "contacts", *place).reveal() == value


async def test_a_former_contact_is_kept_for_thirty_days_and_not_longer(world: Directory):
    await world.take_in(VICTIM)
    await world.take_in(VICTIM.replace("0912345678", "0955000222"))
    world.clock.at += KEPT
    await world.take_in(BOB)
    assert len(await world.rows("SELECT version FROM former_contacts")) == 1
    world.clock.at += timedelta(milliseconds=1)
    await world.take_in(BOB.replace("2026-07-01", "2026-07-02"))
    assert await world.rows("SELECT version FROM former_contacts") == []


async def test_a_known_number_that_gets_an_account_of_before_cools_down_with_contacts_that_stay(world: Directory):
    await world.take_in(VICTIM, BOB)
    world.clock.at += timedelta(days=1)
    await world.take_in(VICTIM.replace("(期)F014000-0000007", "9A95-0000009"))
    assert (await world.contact(Channel.MOBILE)).cool_until < world.clock.at
    await world.take_in(BOB.replace("9A95-0123456", "9A95-0123456;(期)F014000-0000007"))
    assert await cools(world, "C0002") == {Channel.EMAIL}
    assert (await world.contact(Channel.EMAIL, "C0002")).version == 1
    assert await notices(world) == {
        ("C0001", "mobile", 1, "record_changed"),
        ("C0001", "email", 1, "record_changed"),
        ("C0002", "email", 1, "record_changed"),
    }


async def test_a_contact_that_was_another_customers_long_ago_cools_down_everywhere(world: Directory):
    await world.take_in(VICTIM, BOB)
    await world.take_in(VICTIM.replace("0912345678", "0955000222"))
    world.clock.at += timedelta(days=400)
    await world.take_in(BOB.replace(",,bob", ",0912345678,bob"))
    assert await cools(world, "C0002") == set(Channel)
    fresh = "C0009,A130000019,新客戶,1960-07-15,0912345678,new@example.org,,2026-07-01"
    await world.take_in(fresh)
    assert await cools(world, "C0009") == set(Channel)


async def test_a_customers_own_things_of_before_and_a_plain_new_customer_start_no_cool_down(world: Directory):
    await world.take_in(VICTIM)
    await world.take_in(VICTIM.replace("(期)F014000-0000007", "9A95-0000009"))
    await world.take_in(VICTIM)
    await world.take_in(BOB)
    assert await cools(world, "C0001") == set()
    assert await cools(world, "C0002") == set()
    assert await records(world, Event.STAFF_COOLDOWN_STARTED) == []


async def test_a_family_in_one_sheet_is_reported_and_neither_refused_nor_cooled(world: Directory):
    child = BOB.replace(",,bob@example.org", ",0912345678,bob@example.org")
    report = await world.take_in(ZOE, child)
    assert report.imported == 2
    assert [(note.line, note.code) for note in report.notes] == [(3, "mobile.shared")]
    assert await cools(world, "C0002") == set()
    again = await world.take_in(ZOE, child)
    assert [(note.line, note.code) for note in again.notes] == [(2, "mobile.shared"), (3, "mobile.shared")]
    assert again.counts["mobile.shared"] == 2


async def test_two_rows_that_swap_their_ids_are_refused_whatever_is_named(world: Directory):
    await world.take_in(ZOE, BOB)
    swapped = ZOE.replace("A123456789", "A223456781"), BOB.replace("A223456781", "A123456789")
    report = await world.take_in(*swapped, allow=ALL)
    assert codes(report) == [(2, "person_id.taken"), (3, "person_id.taken")]


async def test_two_customers_that_swap_their_mobiles_both_cool_down_and_both_old_ones_are_told(world: Directory):
    bob = BOB.replace(",,bob", ",0922000333,bob")
    await world.take_in(ZOE, bob)
    world.clock.at += timedelta(days=1)
    await world.take_in(ZOE.replace("0912345678", "0922000333"), bob.replace("0922000333", "0912345678"))
    assert await cools(world, "C0001") == set(Channel)
    assert await cools(world, "C0002") == set(Channel)
    first = {one for one in await notices(world) if one[1] == "mobile"}
    assert first == {("C0001", "mobile", 1, "contact_changed"), ("C0002", "mobile", 1, "contact_changed")}


async def test_a_contact_that_comes_back_within_the_second_has_a_version_that_none_had(world: Directory):
    await world.take_in(ZOE)
    without, versions = ZOE.replace("0912345678", ""), []
    for mobile in ("0987654321", "0987654322"):
        await world.take_in(without, allow=(BLANKED,))
        await world.take_in(ZOE.replace("0912345678", mobile))
        contact = await world.contact(Channel.MOBILE)
        assert contact is not None
        versions.append(contact.version)
    former = await world.rows("SELECT version FROM former_contacts WHERE channel = 'mobile' ORDER BY version")
    assert [row["version"] for row in former] == [1, versions[0]]
    assert versions[1] > versions[0] > 1


async def test_a_customer_that_another_import_made_somebody_else_meanwhile_is_not_changed_back_unnamed(
    world: Directory,
):
    await world.take_in(ZOE)

    class Overtaken(SqlRegistry):
        overtaken = False

        async def write(self, changes, records, now, mark):
            if not self.overtaken:
                self.overtaken = True
                await world.customer_import.add(
                    [test_registry.row_of(ZOE.replace("A123456789", OTHER_ID))], "bob", {ID}
                )
            return await super().write(changes, records, now, mark)

    with pytest.raises(Refused) as refused:
        await world.intake_of(Overtaken(world.engine)).run(world.sheet(ZOE.replace("王小明", "王大明")), "alice")
    assert refused.value.refusal.kind is Kind.CONFLICT
    assert await records(world, Event.STAFF_CUSTOMERS_IMPORTED, "staff:bob") != []
    assert len(await records(world, Event.STAFF_CUSTOMER_CHANGED)) == 1


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "header.missing"),
        (b"\r\n\r\n", "header.missing"),
        (HEADER.replace(",", ";").encode(), "header.unknown"),
    ],
)
async def test_a_sheet_without_a_header_changes_nothing_and_says_so(world: Directory, octets: bytes, code: str):
    await world.take_in(ZOE)
    before = await everything(world)
    path = world.folder / "odd.csv"
    path.write_bytes(octets)
    for report in (
        await world.customer_import.check_file(path),
        await world.customer_import.run(path, "alice", allowed=ALL),
    ):
        assert report.faults[0].code == code
    assert await everything(world) == before


async def test_a_header_alone_changes_nobody_and_a_dry_run_names_all_as_left_out(world: Directory):
    await world.take_in(ZOE, BOB)
    directory = await world.directory()
    report = await world.customer_import.check_file(world.sheet())
    assert (report.faults, report.lines, report.absent_count) == ((), 0, 2)
    assert (await world.take_in()).imported == 0
    assert await world.directory() == directory


async def test_full_width_writing_of_the_same_is_no_change(world: Directory):
    await world.take_in(ZOE)
    before = await world.directory()
    full = {ord(one): ord(one) + 0xFEE0 for one in "0123456789AC"}
    wide = ",".join(cell if "-" in cell or "@" in cell else cell.translate(full) for cell in ZOE.split(","))
    assert wide.startswith("Ｃ０００１,Ａ１２３")
    report = await world.take_in(wide)
    assert (report.imported, report.notes) == (1, ())
    assert await world.directory() == before


async def test_hundreds_who_share_one_address_are_counted_and_only_so_many_named(world: Directory):
    world.rules = Rules(COOL, percent=100, floor=1000)
    lines = [line.replace(",,9A95", ",all@example.org,9A95") for line in many(120)]
    report = await world.take_in(*lines)
    assert (report.imported, report.counts["email.shared"]) == (120, 119)
    again = await world.take_in(*lines)
    assert again.counts["email.shared"] == 120
    assert all(str(note.text).count("C0") <= 4 for note in again.notes)


async def test_an_address_that_was_replaced_earlier_is_not_told_of_what_changes_later(world: Directory):
    await world.take_in(ZOE)
    await world.take_in(ZOE.replace("0912345678", "0955000222"))
    await world.take_in(ZOE.replace("0912345678", "0955000333"))
    rows = await world.rows("SELECT contact_version FROM work WHERE channel = 'mobile' ORDER BY contact_version")
    assert [row["contact_version"] for row in rows] == [1, 2]


async def test_what_an_older_release_took_in_is_remembered_when_it_changes(world: Directory):
    await world.take_in(ZOE)

    def forget() -> Script[None]:
        yield query("DELETE FROM bearers")

    await world.engine.run(forget)
    await world.take_in(EMPTIED, allow=ALL)
    await world.take_in(THIEF)
    assert await cools(world, "C0099") == {Channel.MOBILE}
