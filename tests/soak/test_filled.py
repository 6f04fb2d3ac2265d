"""What the bench fills in is what the product would have written: its own checks accept each record and certificate."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bench.fill import fill, job_of
from bench.site import founded
from bench.sqlite import ON
from bench.template import played
from tests import postgres

CUSTOMERS = 5_000


@pytest.mark.parametrize("on", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_the_verifiers_accept_customers_who_were_filled_in(on: str, postgres_cluster: postgres.Cluster):
    database = ON if on == "sqlite" else asyncio.run(postgres_cluster.fresh_database())
    with founded(database) as site:
        fill(job_of(site.settings, asyncio.run(played(site.settings, datetime.now(UTC)))), site.data, 1, CUSTOMERS + 1)
        for command in (["audit", "verify"], ["check", "certificates"]):
            said = subprocess.run(
                [sys.executable, "-m", "chopmark", *command],
                env=site.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert said.returncode == 0, said.stdout + said.stderr
