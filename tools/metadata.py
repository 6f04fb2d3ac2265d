"""The wheel's dependencies are the names in requirements.in, those of an extra in requirements-EXTRA.in."""

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        metadata["dependencies"] = self._names("requirements.in")
        metadata["optional-dependencies"] = {
            "hsm": self._names("requirements-hsm.in"),
            "alarms": self._names("requirements-alarms.in"),
        }

    def _names(self, file: str) -> list[str]:
        lines = Path(self.root, file).read_text(encoding="utf-8").splitlines()
        return [n for n in lines if n and not n.startswith("#") and n != "hatchling"]
