"""The same counter over PostgreSQL: one renewal from beginning to end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests import postgres
from tests.journey.counter import Counter, Prepared, apart, running
from tests.journey.openssl import Opened
from tests.journey.visitor import Visitor


@pytest.fixture(scope="module")
def counter(postgres_cluster: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A counter whose demo was played into PostgreSQL."""
    dsn = apart(postgres_cluster.fresh_database())
    prepared = Prepared.make(tmp_path_factory.mktemp("prepared") / "data", dsn)
    with running(prepared, tmp_path_factory.mktemp("counter"), CHOPMARK_DATABASE=dsn) as started:
        yield started
    apart(postgres_cluster.drop(dsn))


def test_a_customer_renews_over_postgresql(counter: Counter, browser: Browser, tmp_path: Path) -> None:
    with Visitor.arrive(counter, browser, "zh-TW") as visitor:
        visitor.sign_in("C10001")
        visitor.apply("rekey", "file")
        visitor.make_key("C10001")
        visitor.to_review(("49", "7", "15"))
        visitor.finish(tmp_path / "new.p12")
        visitor.see("憑證展延完成")
        assert Opened.read(tmp_path / "new.p12", visitor.passphrase, tmp_path / "openssl").is_good()
