"""Writes docs/openapi.json: the API as the server describes it at /openapi.json. `python tools/openapi.py [FILE]`."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from litestar.serialization import encode_json

from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import found_ca
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.store import db
from chopmark.web.app import create

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"


async def served(folder: Path) -> dict[str, object]:
    """The document that a new installation in `folder` serves."""
    settings, clock, entropy = Settings(mode="demo", data=folder), SystemClock(), SystemEntropy()
    await db.upgrade(settings.database_url)
    await found_ca(settings, clock, entropy)
    services = await build(settings, clock, entropy)
    try:
        document: dict[str, object] = json.loads(
            encode_json(create(web_services(services)).portal.openapi_schema.to_schema())
        )
        return document
    finally:
        await services.close()


def text_of(document: dict[str, object]) -> str:
    """The document as it is committed: sorted, so that a change shows as itself."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
        target.write_text(text_of(asyncio.run(served(Path(temporary)))), encoding="utf-8")
