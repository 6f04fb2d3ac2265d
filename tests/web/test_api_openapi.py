"""The OpenAPI 3.1 document says what the server does, and the committed copy is the served one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from chopmark.web.api import wire
from tests.web.counter import World, errand, routes
from tools.openapi import text_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}


async def served(world: World) -> dict[str, Any]:
    answer = await world.browser().get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(m.upper(), path): said for path, item in document["paths"].items() for m, said in item.items()}


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from inside(part)
    elif isinstance(value, list):
        for part in value:
            yield from inside(part)


async def test_the_committed_document_is_the_served_one(world: World) -> None:
    """`python tools/openapi.py` writes it."""
    assert DOCUMENT.read_text(encoding="utf-8") == text_of(await served(world))


async def test_every_route_of_the_api_is_described_and_no_page(world: World) -> None:
    document = await served(world)
    api = {
        (method, re.sub(r":\w+\}", "}", path))
        for method, path in routes(world.portal)
        if path.startswith(("/api/v1", "/backoffice/v1"))
    }
    assert set(operations(document)) == api


async def test_the_document_is_sound(world: World) -> None:
    """OpenAPI 3.1.0 s.4.8: version, info, unique operation ids, declared parameters, references that resolve."""
    document = await served(world)
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"]
    assert document["info"]["version"]
    names = [said["operationId"] for said in operations(document).values()]
    assert len(set(names)) == len(names)
    for (method, path), said in operations(document).items():
        declared = {one["name"] for one in said.get("parameters", []) if one["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), path
        assert all(one["required"] for one in said.get("parameters", []) if one["in"] == "path"), path
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in said["responses"]), path
        assert said["summary"] or said["description"], f"{method} {path}"
    for part in inside(document):
        if isinstance(part.get("$ref"), str):
            assert part["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]
        kind = part.get("type")
        if isinstance(kind, str) and "properties" in part:
            assert kind in TYPES


async def test_refusals_are_described_as_what_they_are(world: World) -> None:
    for path, said in operations(await served(world)).items():
        refusals = {status: one for status, one in said["responses"].items() if status[0] in "45"}
        assert {"400", "401", "404", "409", "429", "503"} <= set(refusals), path
        for one in refusals.values():
            assert list(one["content"]) == ["application/problem+json"], path


def unlike(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "") -> list[str]:
    """What of an answer its schema does not say."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:
        tried = [unlike(value, one, document, at) for one in schema["oneOf"]]
        return min(tried, key=len)
    kinds = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}
    if not isinstance(value, kinds[schema["type"]]):
        return [f"{at} is no {schema['type']}"]
    if isinstance(value, list):
        return [wrong for one in value for wrong in unlike(one, schema["items"], document, f"{at}[]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    wrong = [f"{at}.{name} is not described" for name in set(value) - set(known)]
    wrong += [f"{at}.{name} is missing" for name in set(schema.get("required", [])) - set(value)]
    return wrong + [
        one for name in set(value) & set(known) for one in unlike(value[name], known[name], document, f"{at}.{name}")
    ]


async def test_every_answer_of_a_renewal_is_as_described(world: World) -> None:
    document = await served(world)
    described = operations(document)
    order = await (await errand(world, "C10001")).until("done", "rekey")
    for path in ("/overview", "/certificates", "/status"):
        order.answers.append(await order.browser.get(f"/api/v1{path}"))
    order.answers.append(await order.browser.get("/api/v1/certificates/01"))
    for answer in order.answers:
        path = re.sub(r"orders/[A-Z2-7]{26}", "orders/{order_id}", answer.request.url.path)
        path = re.sub(r"certificates/\w+", "certificates/{serial}", path)
        said = described[answer.request.method, path]["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        assert unlike(answer.json(), said[kind]["schema"], document) == [], path


def test_the_check_finds_what_is_not_as_described() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert unlike({"a": 1}, schema, {}) == [".a is no string"]
    assert sorted(unlike({"b": "x"}, schema, {})) == [".a is missing", ".b is not described"]


def test_bodies_refuse_members_that_nobody_described() -> None:
    bodies = [one for one in vars(wire).values() if isinstance(one, type) and issubclass(one, wire.Strict)]
    assert len(bodies) == 11
    for body in bodies:
        assert body.__struct_config__.forbid_unknown_fields, body
        assert issubclass(body, msgspec.Struct)


def test_the_document_reads_as_it_was_written() -> None:
    assert text_of(json.loads(DOCUMENT.read_text(encoding="utf-8"))) == DOCUMENT.read_text(encoding="utf-8")
