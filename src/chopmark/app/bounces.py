"""What a mail server calls for each mail that comes back: the database and the key of the marks, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chopmark.app.foundation import SystemClock, open_default
from chopmark.app.gateways import GatewayUnfit, return_paths_of
from chopmark.app.secrets import open_secrets
from chopmark.app.settings import Settings
from chopmark.core.clock import Entropy
from chopmark.messaging.bounces import Bounces
from chopmark.messaging.smtp import NAME
from chopmark.store.engine.opening import assert_current
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository


@asynccontextmanager
async def bounces_of(settings: Settings, entropy: Entropy) -> AsyncIterator[Bounces]:
    """Open the database for mails that came back.

    Raises:
        GatewayUnfit: `smtp.bounces` is not set, or the key of the marks is missing.
        Unfit: the database's schema is older than this release's.
        Refused: UNAVAILABLE, the database cannot be reached.
    """
    if settings.mode == "demo":
        settings = open_secrets(settings, entropy)
    paths = return_paths_of(settings)
    if paths is None:
        raise GatewayUnfit("smtp.bounces is not set: no mail has a mark by which it would be known")
    await assert_current(settings.database_url)
    engine = await open_default(settings)
    try:
        yield Bounces(paths, DeliveryRepository(engine), SystemClock(), NAME)
    finally:
        await engine.close()
