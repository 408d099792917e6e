"""Make a detector from hyperparameters of the command line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gbad.errors import GbadError
from gbad.phase2_anomaly import IMAGE_DETECTORS, ImageAnomalyDetector

_OWN = ("image_size", "epochs", "random_state", "device", "contamination", "channels")
"""Hyperparameters that the benchmark sets, equal for all detectors."""


def make_detector(name: str, parameters: Mapping[str, Any], **common: Any) -> ImageAnomalyDetector[Any]:
    """Make a detector by its name; `parameters` that it does not have are left to the others."""
    of_all = {key: value for key, value in parameters.items() if key in _known(name)}
    own = {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")}
    return IMAGE_DETECTORS[name](**of_all | own, **common)


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
        if not equals or not having or name in _OWN or (owner and owner not in having):
            raise GbadError(
                f"--set {text}: no hyperparameter of the detectors {', '.join(detectors)} that is free. Write "
                f"NAME=VALUE or DETECTOR.NAME=VALUE. {', '.join(_OWN)} are set for all alike."
            )
        try:
            parameters[key] = json.loads(value)
        except ValueError:
            parameters[key] = value
    return parameters
