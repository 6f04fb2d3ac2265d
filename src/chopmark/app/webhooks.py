"""The webhook of an installation, from its settings: whom the worker tells which certificates have changed."""

import ssl

from chopmark.app.settings import Settings
from chopmark.core.clock import Clock
from chopmark.core.types import Secret
from chopmark.jobs.loop import Task
from chopmark.jobs.webhook import ChangesTold
from chopmark.messaging.webhook import Webhook
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.ra.feed import FeedRepository, WebhookCursor

EVERY_S = 1.0


class WebhookUnfit(Exception):
    """The webhook's settings do not work; the text says which and what to do."""


def webhook_of(settings: Settings) -> Webhook | None:
    """Return what sends to the firm's order host; None without one. Raises WebhookUnfit."""
    if not settings.webhook.url:
        return None
    trust = None
    if settings.webhook.url.startswith("https://"):
        try:
            trust = ssl.create_default_context(cafile=None if settings.webhook.ca is None else str(settings.webhook.ca))
        except OSError as error:
            raise WebhookUnfit("webhook.ca names no PEM file of certificates that can be read") from error
        trust.minimum_version = ssl.TLSVersion.TLSv1_2
    written = [settings.webhook.secret.get_secret_value(), settings.webhook.secret_previous.get_secret_value()]
    return Webhook(settings.webhook.url, [Secret(one) for one in written if one], trust)


def webhook_tasks(webhook: Webhook | None, engine: Engine, clock: Clock, holder: str) -> tuple[Task, ...]:
    """Return the worker's job that tells the order host; none without one."""
    if webhook is None:
        return ()
    feed = FeedRepository(engine)

    async def placed(timeout_s: float) -> bool:
        await feed.rest(timeout_s)
        return True

    job = ChangesTold(feed, WebhookCursor(engine), webhook.send, clock, holder)
    return (Task("webhook", job.once, EVERY_S, placed),)
