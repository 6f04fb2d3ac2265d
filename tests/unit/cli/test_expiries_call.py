"""What `chopmark expiries` takes for a number of days."""

import pytest
from cyclopts import CycloptsError

from chopmark.cli.expiries import expiries_app


@pytest.mark.parametrize(
    "call", [["--days", "401"], ["--days", "-1"], ["--since", "401"], ["--alarm-above", "-1"]], ids=" ".join
)
def test_a_number_that_cannot_be_meant_is_a_wrong_call(call: list[str]) -> None:
    with pytest.raises(CycloptsError, match=call[0]):
        expiries_app(call, exit_on_error=False, print_error=False)
