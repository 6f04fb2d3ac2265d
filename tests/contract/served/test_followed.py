"""From a customer's renewal to an order host of its own process: by long poll, and by the receiver of docs/api.md."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.following import OrderHost, confirmed, customers, polling, receiving, told_at
from bench.site import Site
from tests import postgres
from tests.contract.served.test_restore_drill import installation


@pytest.fixture
def site(postgres_cluster: postgres.Cluster, other_disk: Path) -> Iterator[Site]:
    with installation(asyncio.run(postgres_cluster.fresh_database()), other_disk, 1) as made:
        yield made


def order_of(host: OrderHost, serial: str) -> list[str]:
    """What a host has seen of a certificate, in its order, each state once."""
    return list(dict.fromkeys(state for seen, state in host.seen if seen == serial))


async def test_an_order_host_knows_a_renewed_certificate_and_the_old_one_s_end(site: Site) -> None:
    """Both hosts see the old one active, then the new one active and the old one superseded."""
    port = told_at(site)
    await asyncio.to_thread(site.start)
    async with polling(site) as asks, receiving(port) as hears, customers(site) as means:
        hosts = (asks, hears)
        journey = await confirmed(means, 1)
        new, old = journey.order["certificate"]["serial"], journey.order["old_certificate"]["serial"]
        await asyncio.gather(*(host.until(old, "active") for host in hosts))
        assert all((new, "active") not in host.seen for host in hosts)
        await journey.prove()
        await asyncio.gather(*(host.until(new, "active") for host in hosts))
        await asyncio.gather(*(host.until(old, "superseded") for host in hosts))
        await asyncio.to_thread(site.stop)  # while a question waits: nobody has to wait for its time to be over
        assert "Cancel" not in (site.data / "server.log").read_text()
    for host in hosts:
        assert order_of(host, old) == ["active", "superseded"], host.seen
        assert [state for state in order_of(host, new) if state != "issued"] == ["active"], host.seen
        assert host.seen.index((old, "active")) < host.seen.index((new, "active"))
