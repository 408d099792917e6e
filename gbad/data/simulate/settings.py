"""Settings of a simulated data set."""

from __future__ import annotations

from dataclasses import dataclass

from gbad.data.layout import GeneratedLayout

VERSION = 5
"""Increased whenever the same parameters give other images."""


@dataclass(frozen=True)
class SimulationSettings(GeneratedLayout):
    """Everything that decides the content of a simulated data set.

    Parameters
    ----------
    raw : bool
        Whether the two channels are written as well.
    load : float
        Amount of harmless things in the bags, relative to the default.
    remove_threats : bool
        Whether threats are left out but labels are kept (control experiment).
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
        """Files of an image: paths relative to the data set, by what they hold."""
        files = super().files(position)
        if self.raw:
            stem = f"Raw/{self.shard(position)}{self.name(position)}"
            files |= {"low": f"{stem}_low.png", "high": f"{stem}_high.png"}
        return files
