"""A pipeline file whose parts do not fit together is refused when it is loaded, with the part that does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import gbad
from gbad.errors import PipelineFileError
from gbad.pipeline import GBADPipeline
from gbad.storage.plain_data import pack, sealed, unpack
from gbad.training.soundness import check_plain

Change = Callable[[dict[str, Any]], object]


def put(*path: str, value: Any) -> Change:
    """Change that sets a value below the state; a callable value is given the old one."""

    def change(state: dict[str, Any]) -> None:
        inner: Any = state
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value(inner[path[-1]]) if callable(value) else value

    return change


def first_nan(array: np.ndarray) -> np.ndarray:
    array.flat[0] = np.nan
    return array


DECISION, DETECTOR = ("fitted", "decision"), ("fitted", "detectors", "features")
MUTATIONS: dict[str, tuple[Change, str]] = {
    "one name for five outputs": (put("fitted", "classes", value=["a"]), "1 class names, and a classifier of 5"),
    "equal names": (put("fitted", "classes", value=list("aabcd")), "two classes have the same name"),
    "a class called path": (put("fitted", "classes", value=["path", *"abcd"]), "may be called 'path'"),
    "a class called status": (put("fitted", "classes", value=["status", *"abcd"]), "may be called 'status'"),
    "a class called reason": (put("fitted", "classes", value=["reason", *"abcd"]), "may be called 'reason'"),
    "a class that is a number": (put("fitted", "classes", value=[1, *"abcd"]), "is no class name"),
    "no class": (put("fitted", "classes", value=[]), "0 class names"),
    "NaN threshold": (put(*DECISION, "thresholds", value=first_nan), "decision.thresholds that are not finite"),
    "too few thresholds": (put(*DECISION, "thresholds", value=lambda old: old[:3]), r"shape \(3,\)"),
    "NaN calibration": (put(*DECISION, "any_threat", "slope", value=first_nan), "any_threat.slope that are not finite"),
    "flat calibration": (put(*DECISION, "any_threat", "bias", value=lambda old: old[None]), r"shape \(1, 5\)"),
    "infinite strength": (put(*DECISION, "strength", value=np.inf), "decision.strength that are not finite"),
    "negative strength": (put(*DECISION, "strength", value=-1.0), "strength -1.0"),
    "unknown suppression": (put(*DECISION, "suppression", value="none"), "suppression 'none'"),
    "share above 1": (put(*DECISION, "heads_share", value=1.5), "share of the class heads of 1.5"),
    "NaN in the gate": (put(*DECISION, "gate", "arrays", "grid_", value=first_nan), "grid_ that are not finite"),
    "a smaller grid": (put(*DECISION, "gate", "arrays", "grid_", value=lambda old: old[:9]), "do not fit"),
    "a gate of one input": (
        put(*DECISION, "gate", "arrays", "mean_", value=lambda old: old[:1]),
        r"mean_: shape \(1,\)",
    ),
    "another number of inputs": (put(*DECISION, "gate", "arrays", "n_features_in_", value=np.array(7)), "do not fit"),
    "no slope": (lambda state: state["fitted"]["decision"]["gate"]["arrays"].pop("slope_"), "do not fit"),
    "unknown detector": (put(*DETECTOR, "kind", value="os"), "do not fit"),
    "a detector without arrays": (put(*DETECTOR, "arrays", value={}), "do not fit"),
    "no decision": (lambda state: state["fitted"].pop("decision"), "do not fit"),
    "an architecture from nowhere": (put("fitted", "classifier", "spec", "architecture", value="x"), "do not fit"),
    "a head of a million": (put("fitted", "classifier", "spec", "head_width", value=10**6), "head_width 1000000"),
    "a wider pyramid": (put("fitted", "classifier", "spec", "fpn_width", value=16), "do not fit"),
    "held-out scores of one class": (
        put("fitted", "held_out", "log_odds", value=lambda old: old[:, :1]),
        "held-out images, log_odds",
    ),
    "NaN among the held-out scores": (put("fitted", "held_out", "any_threat", value=first_nan), "any_threat: not"),
    "prevalence 1": (put("fitted", "held_out", "prevalence", value=1.0), "prevalence 1.0"),
    "20,000 px": (put("settings", "size", value=20_000), "size 20000"),
    "no pixel": (put("settings", "size", value=0), "size 0"),
    "size as text": (put("settings", "size", value="64"), "size '64'"),
    "3 views": (put("settings", "views", value=3), "3 views"),
}


def save(state: dict[str, Any], path: Path, pipeline: GBADPipeline) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GBADPipeline, "__getstate__", lambda self: sealed(pack(state)))
        joblib.dump(pipeline, path)


@pytest.fixture
def state(pipeline: GBADPipeline) -> dict[str, Any]:
    """State of the pipeline, to be spoilt."""
    plain: dict[str, Any] = unpack(copy.deepcopy(pipeline.__getstate__()))
    plain.pop("digest")
    return plain


@pytest.mark.parametrize("name", MUTATIONS)
def test_parts_that_do_not_fit_are_refused_by_load(
    name: str, state: dict[str, Any], pipeline: GBADPipeline, tmp_path: Path
) -> None:
    change, message = MUTATIONS[name]
    change(state)
    save(state, tmp_path / "file.joblib", pipeline)
    with pytest.raises(PipelineFileError, match=rf"file\.joblib: .*{message}"):
        gbad.load(tmp_path / "file.joblib")


@pytest.mark.parametrize("part", ["classifier", "detectors", "decision"])
def test_no_weight_may_be_nan(part: str, state: dict[str, Any], pipeline: GBADPipeline, tmp_path: Path) -> None:
    def arrays(value: Any) -> list[np.ndarray]:
        if isinstance(value, dict):
            return [array for item in value.values() for array in arrays(item)]
        return [value] if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size else []

    for array in arrays(state["fitted"][part])[::7]:
        before, array.flat[-1] = array.flat[-1], np.inf
        with pytest.raises(ValueError, match=f"numbers in {part}.* that are not finite"):
            check_plain(state["fitted"], pipeline.settings)
        array.flat[-1] = before
    check_plain(state["fitted"], pipeline.settings)


def test_a_threshold_of_a_mask_may_be_any_logit(state: dict[str, Any], pipeline: GBADPipeline) -> None:
    state["fitted"]["classifier"]["spec"]["threshold"] = -3
    check_plain(state["fitted"], pipeline.settings)


def test_a_prevalence_may_be_unknown(state: dict[str, Any], pipeline: GBADPipeline) -> None:
    state["fitted"]["held_out"]["prevalence"] = None
    check_plain(state["fitted"], pipeline.settings)
    state["fitted"]["held_out"]["prevalence"] = 1.0
    with pytest.raises(ValueError, match="prevalence 1.0"):
        check_plain(state["fitted"], pipeline.settings)


def test_an_unspoilt_state_is_loaded(state: dict[str, Any], pipeline: GBADPipeline, tmp_path: Path) -> None:
    save(state, tmp_path / "file.joblib", pipeline)
    assert gbad.load(tmp_path / "file.joblib").__getstate__() == pipeline.__getstate__()
