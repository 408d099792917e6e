"""What decides the content of a simulated data set."""

from __future__ import annotations

from dataclasses import dataclass

from gbad.data.layout import GeneratedLayout

VERSION = 5
"""Raised whenever the same parameters would give other images."""


@dataclass(frozen=True)
class SimulationSettings(GeneratedLayout):
    """All that decides what a simulated data set holds.

    Parameters
    ----------
    raw : bool
        Whether the two channels are written too.
    load : float
        Amount of harmless contents, relative to the usual one.
    remove_threats : bool
        Whether the threats are left out while the labels stay (control experiment).
    version : int
        Version of the simulator.
    """

    raw: bool = False
    load: float = 1.0
    remove_threats: bool = False
    version: int = VERSION

    @property
    def limits(self) -> dict[str, int]:
        """Least value of each number."""
        return super().limits | {"load": 0}

    def files(self, position: int) -> dict[str, str]:
        """Paths, relative to the data set, of the files that belong to an image."""
        files = super().files(position)
        if self.raw:
            stem = f"Raw/{self.shard(position)}{self.name(position)}"
            files |= {"low": f"{stem}_low.png", "high": f"{stem}_high.png"}
        return files
