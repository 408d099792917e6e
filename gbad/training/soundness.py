"""Whether the parts of a fitted pipeline fit together: names, numbers, sizes and, on one image, the whole way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gbad.errors import DataError
from gbad.phase2_anomaly.familiarity import appearance
from gbad.training.checks import check_class_names
from gbad.training.settings import Settings

LARGEST_SIZE = 4096
"""Pixels: no longer side of an image for the first look, or of a region for the second, is loaded."""

_MOST_REGIONS = 1000
_WIDEST = 65_536  # channels of any layer
_SUPPRESSIONS = ("hard", "soft")


def check_plain(plain: Mapping[str, Any], settings: Settings) -> None:
    """Check what a pipeline file says of its fitted phases, before anything is built of it.

    Parameters
    ----------
    plain : mapping
        What `gbad.training.fitted.FittedGBAD.to_plain` gives.
    settings : Settings
        Of the same file.

    Raises
    ------
    ValueError
        Names the value: class names that cannot head a column, numbers that are not finite, arrays that do not have one
        value for each class, sizes beyond all limits.
    KeyError, TypeError
        If something is missing or of another kind.
    """
    classes = plain["classes"]
    try:
        check_class_names(classes)
    except DataError as error:
        raise ValueError(str(error)) from error
    _limited("size", settings.size, LARGEST_SIZE)
    if settings.views not in (1, 2, 4):
        raise ValueError(f"{settings.views} views")
    _check_classifier(plain["classifier"], len(classes))
    _check_decision(plain["decision"], len(classes), "decision")
    if (heads := plain["decision"]["heads"]) is not None:
        _per_class("class heads, intercepts", heads["intercepts"], len(classes))
        if np.shape(heads["weights"]) != (*np.shape(heads["mean"]), len(classes)):
            raise ValueError(f"class heads: weights {np.shape(heads['weights'])}, means {np.shape(heads['mean'])}")
    if not 0 <= plain["decision"]["heads_share"] <= 1:
        raise ValueError(f"a share of the class heads of {plain['decision']['heads_share']}")
    if (held_out := plain.get("held_out")) is not None:
        _check_held_out(held_out, len(classes))
    if (familiarity := plain.get("familiarity")) is not None:
        _check_familiarity(familiarity)
    unbounded = set()
    if (second := plain["second"]) is not None:
        model, decision = second["model"], second["decision"]
        _check_classifier(model["classifier"], len(classes))
        _check_decision(decision, len(classes), "second look")
        for name in ("slope", "offset"):
            _per_class(f"second look, {name}", decision[name], len(classes))
        for name, values in model["importance"].items():
            _per_class(f"importance, {name}", values, len(classes))
        if not 0 <= decision["share"] <= 1:
            raise ValueError(f"a share of the second look of {decision['share']}")
        for name in ("size", "side"):
            _limited(f"{name} of a region", model["shape"][name], LARGEST_SIZE * (1 if name == "size" else 16))
        _limited("number of regions", model["most"], _MOST_REGIONS)
        if decision["threshold"] in (np.inf, -np.inf):  # no image, or each, is looked at twice
            unbounded.add("second.decision.threshold")
    phases = {name: plain[name] for name in ("classifier", "detectors", "decision", "second")}
    phases["familiarity"] = plain.get("familiarity")
    for where, value in _numbers(phases):
        if where not in unbounded and not np.isfinite(value).all():
            raise ValueError(f"numbers in {where} that are not finite")


def _check_classifier(classifier: Mapping[str, Any], n_classes: int) -> None:
    spec = classifier["spec"]
    if spec["n_classes"] != n_classes:
        raise ValueError(f"{n_classes} class names, and a classifier of {spec['n_classes']} classes")
    for name, value in spec.items():
        # The threshold of CHR's mask is a logit; all other whole numbers are sizes.
        if name != "threshold" and isinstance(value, int) and not 0 <= value <= _WIDEST:
            raise ValueError(f"{name} {value} of the classifier")


def _check_decision(decision: Mapping[str, Any], n_classes: int, what: str) -> None:
    _per_class(f"{what}, thresholds", decision["thresholds"], n_classes)
    for name in ("slope", "bias"):
        _per_class(f"{what}, any_threat, {name}", decision["any_threat"][name], n_classes)
    if decision["suppression"] not in _SUPPRESSIONS:
        raise ValueError(f"{what}, suppression {decision['suppression']!r}")
    if decision["gate"] is not None:
        _check_gate(decision["gate"]["arrays"], what)
    if not decision["strength"] >= 0:
        raise ValueError(f"{what}, strength {decision['strength']}")


def _check_gate(arrays: Mapping[str, Any], what: str) -> None:
    """All that has a value for each input has as many: NumPy would stretch a single one."""
    inputs = int(arrays["n_features_in_"])
    for name in ("mean_", "std_", "lower_", "upper_"):
        if np.shape(arrays[name]) != (inputs,):
            raise ValueError(f"{what}, gate, {name}: shape {np.shape(arrays[name])} for {inputs} inputs")
    vectors = len(arrays["dual_coef_"])
    if np.shape(arrays["support_vectors_"]) != (vectors, inputs):
        raise ValueError(f"{what}, gate: {np.shape(arrays['support_vectors_'])} support vectors, {vectors} weights")


def _check_held_out(held_out: Mapping[str, Any], n_classes: int) -> None:
    rows = len(held_out["any_threat"])
    for name, shape in (("any_threat", (rows,)), ("log_odds", (rows, n_classes)), ("labels", (rows, n_classes))):
        if np.shape(held_out[name]) != shape or np.isnan(held_out[name]).any():
            raise ValueError(f"held-out images, {name}: not numbers of shape {shape}")
    if held_out["prevalence"] is not None and not 0 < held_out["prevalence"] < 1:
        raise ValueError(f"held-out images, prevalence {held_out['prevalence']}")


def _check_familiarity(familiarity: Mapping[str, Any]) -> None:
    (width,) = np.shape(appearance(np.zeros((1, 2, 2, 3), np.uint8))[0])
    for name, shape in (("mean", (width,)), ("whitening", (width, width))):
        if np.shape(familiarity[name]) != shape:
            raise ValueError(f"familiarity, {name}: shape {np.shape(familiarity[name])}, not {shape}")
    if not familiarity["threshold"] > 0 or not familiarity["held_out"] > 0:
        raise ValueError(f"familiarity: threshold {familiarity['threshold']} of {familiarity['held_out']} images")


def _per_class(what: str, values: Any, n_classes: int) -> None:
    if np.shape(values) != (n_classes,):
        raise ValueError(f"{what}: shape {np.shape(values)} in the place of one value for each of {n_classes} classes")


def _limited(what: str, value: Any, most: int) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"{what} {value!r}, which is not a number up to {most:,}")


def _numbers(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all floating-point numbers and arrays below a value, and where they are."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _numbers(item, f"{where}.{name}" if where else str(name))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _numbers(item, f"{where}.{number}")
    elif isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        yield where, value
