"""What the tests need from the machine. Without it: a skip that says why, or with CI=true a failure."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """End the test: `what` is not on this machine."""
    sentence = f"{what} is missing here; `make test` says how to install it"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def program(name: str) -> Path:
    """The path of a program of tools/debian-packages.txt."""
    found = shutil.which(name)
    if found is None:
        missing(f"The program {name}")
    return Path(found)
