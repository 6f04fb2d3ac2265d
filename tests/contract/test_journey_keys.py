"""Keys and proofs through the verbs: whose key, which proof, used how often."""

from datetime import timedelta
from typing import Any

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, Operation, OrderState, Reason
from tests.contract.world import ANN, BEN, Errand, World, outcome, refusal, world_fixture
from tests.vectors.pki.requests import BAD

world = world_fixture()


async def test_i7_an_unfit_request_is_refused_with_its_reason_and_the_order_stays_open(world: World) -> None:
    errand = await world.open()
    for name, (code, make) in BAD.items():
        refused = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, make(), None))
        assert (name, refused.kind, refused.field, refused.code) == (name, Kind.BAD_KEY, "csr", code)
    assert await errand.state() is OrderState.OPEN
    assert await world.count("keys") == 0


async def test_i7_another_customers_key_is_refused_even_with_its_proof_of_possession(world: World) -> None:
    anns = await world.to_key(ANN)
    bens = await world.open(BEN)
    bens.key = anns.key
    assert (await refusal(bens.bind())).code == "key_used"
    assert await bens.state() is OrderState.OPEN
    await world.services.ra.enrolment.cancel(anns.caller, anns.id)
    assert (await refusal(bens.bind())).code == "key_used"


async def test_i7_a_key_that_had_a_certificate_gets_no_other(world: World) -> None:
    await world.to_active()
    errand = await world.open(ANN, Operation.REPLACE, Reason.NEW_DEVICE)
    errand.key = world.held[ANN].key
    assert (await refusal(errand.bind())).code == "key_used"


async def test_i7_a_key_reported_lost_gets_no_certificate_again(world: World) -> None:
    await world.to_active()
    await world.revoked(ANN, Reason.LOST)
    (row,) = await world.rows("SELECT blocked FROM keys")
    assert row["blocked"] == Reason.LOST
    errand = await world.open()
    errand.key = world.held[ANN].key
    assert (await refusal(errand.bind())).code == "key_used"


async def test_the_same_key_twice_on_an_order_is_fine_and_keeps_its_code(world: World) -> None:
    errand = await world.to_sent()
    code = await errand.code()
    assert (await errand.bind()).state is OrderState.BOUND
    assert (await errand.answer(code)).state is OrderState.CODE_VERIFIED
    assert (await errand.bind()).state is OrderState.CODE_VERIFIED


async def test_a_new_key_voids_the_code_the_approval_and_the_birth_date(world: World) -> None:
    errand = await world.to_review()
    order = await errand.bind(ClientKey.generate())
    assert order.state is OrderState.BOUND
    assert (order.coded_at, order.checked_at) == (None, None)
    assert (await refusal(errand.confirm())).kind is Kind.STEP_REQUIRED
    assert await world.count("challenges", "state = 'live'") == 0


async def test_tw_05_a_renewal_without_the_old_keys_signature_is_refused(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    refused = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), None))
    assert (refused.kind, refused.field, refused.code) == (Kind.BAD_PROOF, "proof", "proof_missing")
    assert await errand.state() is OrderState.OPEN


async def test_tw_05_a_proof_of_anything_else_is_refused(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    other = await world.open(BEN)
    stale, nonce = await errand.nonce(), await errand.nonce()
    wrong: dict[str, dict[str, Any]] = {
        "portal": {"portal": "0123456789abcdef"},
        "order": {"order": other.id},
        "nonce": {"nonce": bytes(32)},
        "purpose": {"purpose": "install"},
        "new_key": {"new_spki_sha256": ClientKey.generate().spki_sha256},
        "time": {"at": world.clock.now() - timedelta(minutes=10, seconds=1)},
    }
    for code, facts in wrong.items():
        assert await _bound(errand, errand.proof(**{"nonce": nonce, **facts})) == (Kind.BAD_PROOF, code)
    assert await _bound(errand, errand.proof(stale)) == (Kind.BAD_PROOF, "nonce")
    for broken in (b"", b"0", errand.proof(nonce) + b"\x00", errand.proof(nonce)[:-1]):
        refused = await _bound(errand, broken)
        assert refused is not None
        assert refused[0] is Kind.BAD_PROOF
    assert await errand.state() is OrderState.OPEN
    assert await _bound(errand, errand.proof(nonce)) is None


async def _bound(errand: Errand, proof: bytes) -> tuple[Kind, str | None] | None:
    """Bind the errand's key with this proof; return the refusal's kind and code."""
    made = await outcome(errand.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), proof))
    return (made.kind, made.code) if isinstance(made, Refusal) else None


async def test_tw_05_another_certificates_key_signs_nothing_for_this_renewal(world: World) -> None:
    await world.to_active(ANN)
    await world.to_active(BEN)
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    proof = errand.proof(await errand.nonce(), signer=world.held[BEN])
    refused = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), proof))
    assert refused.kind is Kind.BAD_PROOF


async def test_a_nonce_dies_after_ten_minutes(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    nonce = await errand.nonce()
    world.clock.later(minutes=10)
    proof = errand.proof(nonce)
    refused = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), proof))
    assert (refused.kind, refused.code) == (Kind.BAD_PROOF, "nonce")


async def test_a_nonce_is_used_once(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    nonce = await errand.nonce()
    bind = world.services.ra.rekey.bind_key
    assert (await bind(errand.caller, errand.id, errand.key.request(), errand.proof(nonce))).order.nonce is None
    errand.key = ClientKey.generate()
    refused = await refusal(bind(errand.caller, errand.id, errand.key.request(), errand.proof(nonce)))
    assert refused.kind in {Kind.BAD_PROOF, Kind.FORBIDDEN}
    assert (await errand.order()).spki_sha256 != errand.key.spki_sha256.hex()


async def test_i18_a_revoked_certificate_renews_nothing(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    await world.revoked()
    refused = await refusal(errand.bind())
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "order_cancelled")
    assert (await world.open(ANN)).id != errand.id  # the way to a new certificate is free


async def test_i18_a_certificate_revoked_after_its_proof_gets_no_successor_as_a_renewal(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.to_review(ANN, Operation.REKEY)
    world.clock.later(minutes=2)
    await world.revoked()
    refused = await refusal(errand.confirm())
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "order_cancelled")
    assert await world.count("certificates") == 1


async def test_a_certificate_becomes_active_only_by_its_own_keys_signature(world: World) -> None:
    errand = await world.to_issued()
    prove, nonce = world.services.ra.rekey.prove, await errand.nonce()
    wrong: dict[str, dict[str, Any]] = {
        "purpose": {"purpose": "rekey"},
        "order": {"order": "A" * 26},
        "nonce": {"nonce": bytes(32)},
        "new_key": {"new_spki_sha256": bytes(32)},
    }
    for code, facts in wrong.items():
        proof = await errand.install_proof(**{"nonce": nonce, **facts})
        refused = await refusal(prove(errand.caller, errand.id, proof))
        assert (refused.kind, refused.code) == (Kind.BAD_PROOF, code)
    assert (await world.certificate(errand)).state is CertificateState.ISSUED
    assert await world.records(Event.RA_CERTIFICATE_ACTIVATED) == []
    assert (await errand.prove()).state is OrderState.ACTIVE


async def test_i22_a_step_cannot_be_skipped(world: World) -> None:
    errand = await world.open()
    for step in (errand.send, errand.birth_date, errand.confirm):
        assert (await refusal(step())).kind is Kind.STEP_REQUIRED
    await errand.bind()
    for step in (errand.birth_date, errand.confirm):
        assert (await refusal(step())).kind is Kind.STEP_REQUIRED
    await errand.send()
    await errand.answer(await errand.code())
    assert (await refusal(errand.confirm())).kind is Kind.STEP_REQUIRED
    assert (await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, b""))).kind is Kind.STEP_REQUIRED
    await errand.birth_date()
    assert (await errand.confirm()).state is OrderState.ISSUED
