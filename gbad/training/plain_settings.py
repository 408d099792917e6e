"""Settings as plain data, for ``run.json`` and pipeline files: detectors and the gate by their own parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS
from gbad.phase2_anomaly.catalogue import name_of
from gbad.phase3_gate import ThreatGate
from gbad.storage.plain_data import pack
from gbad.training.settings import Settings
from gbad.training.start import IMAGENET

_DETECTORS: dict[str, Mapping[str, type[Any]]] = {"detector": FEATURE_DETECTORS, "image_detector": IMAGE_DETECTORS}


def to_plain(settings: Settings) -> dict[str, Any]:
    """Settings as numbers, texts, lists and dicts; GbadError if a detector or the gate holds anything else."""
    plain = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    for name in _DETECTORS:
        if plain[name] is not None and not isinstance(plain[name], str):
            plain[name] = {"kind": name_of(plain[name]), "params": plain[name].get_params()}
    if settings.gate is not None:
        plain["gate"] = settings.gate.get_params()
    packed: dict[str, Any] = pack(plain)
    return packed


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Rebuild settings; the inverse of `to_plain`.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError
        If `plain` is damaged, or of another version of gbad.
    """
    values: dict[str, Any] = {"start": IMAGENET, "fpn_form": "full"} | dict(plain)  # older files and runs knew no other
    for name, known in _DETECTORS.items():
        if isinstance(values[name], Mapping):
            # JSON has no tuples, in which constructors have their sequences.
            params = {key: tuple(one) if isinstance(one, list) else one for key, one in values[name]["params"].items()}
            values[name] = known[values[name]["kind"]](**params)
    if values["gate"] is not None:
        values["gate"] = ThreatGate(**values["gate"])
    return Settings(**values)
