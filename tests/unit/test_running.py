"""How the servers are run."""

from pathlib import Path

from chopmark.app.server import server_config
from chopmark.app.settings import Settings


async def nobody(_scope: object, _receive: object, _send: object) -> None:
    """Answer nothing."""


def test_a_server_that_is_told_to_stop_waits_half_a_minute_for_requests_under_way_and_no_longer(tmp_path: Path) -> None:
    assert server_config(nobody, Settings(mode="demo", data=tmp_path)).timeout_graceful_shutdown == 30


def test_a_server_process_may_take_long_to_start_on_a_busy_machine_before_it_is_started_anew(tmp_path: Path) -> None:
    assert server_config(nobody, Settings(mode="demo", data=tmp_path)).timeout_worker_healthcheck == 15
