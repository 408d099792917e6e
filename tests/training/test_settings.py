"""Each setting is defined once: constructor, command line, checks and phases agree on its name, default and choices."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gbad.cli.parameters import flag_of
from gbad.data.transforms import AUGMENTATIONS
from gbad.errors import GbadError
from gbad.phase1_classifier import ARCHITECTURES, BACKBONES, VIEWS
from gbad.phase1_classifier.chr import MASKS, PREDICTIONS
from gbad.phase1_classifier.model import FUSIONS, POOLINGS
from gbad.phase1_classifier.sampling import NEGATIVES
from gbad.phase1_classifier.training import OPTIMISERS
from gbad.phase2_anomaly import FEATURE_DETECTORS, IMAGE_DETECTORS
from gbad.pipeline import GBADPipeline
from gbad.training.settings import GROUPS, Settings, choices, defaults, of_group, options


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("backbone", BACKBONES), ("architecture", ARCHITECTURES), ("pooling", POOLINGS), ("fusion", FUSIONS),
        ("chr_mask", MASKS), ("chr_prediction", PREDICTIONS), ("negatives", NEGATIVES),
        ("augmentation", AUGMENTATIONS), ("optimiser", OPTIMISERS), ("views", VIEWS),
        ("detector", FEATURE_DETECTORS), ("image_detector", IMAGE_DETECTORS),
    ],
)  # fmt: skip
def test_choices_are_what_the_phases_know(name: str, known: Any) -> None:
    assert choices(name) == tuple(known)


def test_the_constructor_has_the_settings_signature() -> None:
    own = inspect.signature(GBADPipeline).parameters
    assert {name: one.default for name, one in own.items()} == defaults()
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in own.values())
    assert GBADPipeline().get_params() == defaults()
    with pytest.raises(TypeError, match="colour"):
        GBADPipeline(colour="red")  # type: ignore[call-arg]


def test_the_pipeline_stores_settings_untouched_and_gives_them_back() -> None:
    pipeline = GBADPipeline(epochs=-3, backbone="nothing")  # type: ignore[arg-type]
    assert (pipeline.get_params()["epochs"], pipeline.settings.backbone) == (-3, "nothing")
    pipeline.set_params(epochs=4)
    assert pipeline.settings == Settings(epochs=4, backbone="nothing")  # type: ignore[arg-type]


def test_options_of_the_command_line_come_from_the_settings(gbad_command: Callable[..., Any]) -> None:
    shown = gbad_command("train", "--help").out
    refit = gbad_command("refit", "--help").out
    for name, option in options().items():
        flag = f"--{name.replace('_', '-')} " if not option.flag else f"{flag_of(name)} "
        assert (flag in shown) == bool(option.flag), name
        assert (flag in refit) == (bool(option.flag) and option.group == "gate"), name
    for title in GROUPS.values():
        assert title in shown


def test_every_setting_has_a_group_a_help_and_a_default_that_can_work() -> None:
    Settings().check_values()
    assert sorted(name for group in GROUPS for name in of_group(group)) == sorted(options())
    for name, option in options().items():
        assert option.group in GROUPS
        assert option.help.endswith("."), name


def test_settings_cannot_be_changed_in_place() -> None:
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.epochs = 3  # type: ignore[misc]
    assert settings.changed(epochs=3).epochs == 3
    with pytest.raises(GbadError, match="unknown settings colour; choose from backbone"):
        settings.changed(colour="red")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pretrained", 1, "pretrained must be True or False, not 1"),
        ("weights", 3, "weights must be a text or a path, not 3"),
        ("views", True, "unknown views True; choose one of 1, 2, 4"),
        ("views", np.int64(3), "unknown views .*3"),
        ("backbone", 3.5, "unknown backbone 3.5; choose one of resnet18"),
        ("epochs", True, "epochs must be a whole number from 0, not True"),
        ("ema_decay", 1.0, "ema_decay must be a number from 0 and below 1, not 1.0"),
        ("epsilon", 2.0, "epsilon must be a number above 0 and at most 1, not 2.0"),
        ("chr_threshold", float("inf"), "chr_threshold must be a number, not inf"),
        ("backbone", None, "unknown backbone None; choose one of resnet18"),
    ],
)
def test_wrong_values_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(GbadError, match=message) as refusal:
        Settings().changed(**{name: value}).check_values()
    assert refusal.value.settings == (name,)
