"""Bring a database up to this release when a process starts, and import alembic only where that is needed."""

from chopmark.store.engine.opening import is_current


async def make_current(url: str) -> None:
    """Bring the schema up to this release."""
    if await is_current(url):
        return
    from chopmark.store import db  # noqa: PLC0415 - alembic and SQLAlchemy take a second to import

    await db.upgrade(url)
