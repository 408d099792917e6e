"""Make a detector from hyperparameters of the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gbad.errors import GbadError
from gbad.phase2_anomaly import IMAGE_DETECTORS, ImageAnomalyDetector, preset

_OWN = ("image_size", "random_state", "device", "contamination", "channels")
"""Hyperparameters that the benchmark sets, equal for all detectors."""


def make_detector(
    name: str,
    parameters: Mapping[str, Any],
    *,
    preset_name: str | None = None,
    epochs: int | None = None,
    **common: Any,
) -> ImageAnomalyDetector[Any]:
    """Make a detector by its name.

    Parameters
    ----------
    name : str
    parameters : mapping
        As from `read_parameters`; those that the detector does not have are left to the others. They go before the
        preset, and those of one detector before those of all.
    preset_name : str, optional
        See `gbad.phase2_anomaly.preset`.
    epochs : int, optional
        Of all detectors for which `parameters` does not say others; None takes the preset's, or the detector's own.
    **common
        Other hyperparameters, which go before all.

    Raises
    ------
    ValueError
        If the detector has no such preset.
    """
    of_preset = {} if preset_name is None else dict(preset(name, preset_name))
    if epochs is not None:
        of_preset["epochs"] = epochs
    of_all = {key: value for key, value in parameters.items() if key in _known(name)}
    own = {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")}
    return IMAGE_DETECTORS[name](**of_preset | of_all | own, **common)


def _known(name: str) -> set[str]:
    """Hyperparameters of a detector."""
    return {field.name for field in dataclasses.fields(IMAGE_DETECTORS[name])}


def read_parameters(texts: Sequence[str], detectors: Sequence[str]) -> dict[str, Any]:
    """Read hyperparameters as the command line gives them.

    Parameters
    ----------
    texts : sequence of str
        ``"features=16"`` for all detectors that have it, or ``"ganomaly.features=16"`` for one. Values are JSON, or
        else text.
    detectors : sequence of str
        Names of the detectors that are compared.

    Raises
    ------
    GbadError
        If a name or a hyperparameter is unknown.

    Examples
    --------
    >>> read_parameters(["features=16", "ganomaly.batch_size=32"], ["ganomaly"])
    {'features': 16, 'ganomaly.batch_size': 32}
    """
    if unknown := [name for name in detectors if name not in IMAGE_DETECTORS]:
        raise GbadError(f"no detector {', '.join(map(repr, unknown))}. There are: {', '.join(IMAGE_DETECTORS)}.")
    parameters = {}
    for text in texts:
        key, equals, value = text.partition("=")
        owner, _, name = key.rpartition(".")
        having = [one for one in detectors if name in _known(one)]
        shared = name in _OWN or (name == "epochs" and not owner)
        if not equals or not having or shared or (owner and owner not in having):
            raise GbadError(
                f"--set {text}: no hyperparameter of the detectors {', '.join(detectors)} that is free. Write "
                f"NAME=VALUE or DETECTOR.NAME=VALUE. {', '.join(_OWN)} are set for all alike, and epochs by --epochs "
                "or DETECTOR.epochs=VALUE."
            )
        try:
            parameters[key] = json.loads(value)
        except ValueError:
            parameters[key] = value
    return parameters
