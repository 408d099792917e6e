from __future__ import annotations

import dataclasses

import pytest

from gbad.phase2_anomaly import IMAGE_DETECTORS, preset
from gbad.phase2_anomaly.images.presets import PUBLISHED, RELEASED


def test_each_detector_has_its_paper() -> None:
    assert PUBLISHED.keys() == IMAGE_DETECTORS.keys()
    for presets in (PUBLISHED, RELEASED):
        for name, parameters in presets.items():
            known = {field.name for field in dataclasses.fields(IMAGE_DETECTORS[name])}
            assert parameters.keys() <= known
            IMAGE_DETECTORS[name](**parameters).check_parameters()


def test_what_the_papers_print() -> None:
    skip = IMAGE_DETECTORS["skip_ganomaly"](**preset("skip_ganomaly", "published"))
    assert (skip.learning_rate, skip.contextual_weight, skip.decay) == (2e-3, 40, "late")  # type: ignore[attr-defined]
    sagan = IMAGE_DETECTORS["sagan"](**preset("sagan", "published"))
    assert (sagan.learning_rate, sagan.score_weight, sagan.decay) == (2e-3, 0.2, "late")  # type: ignore[attr-defined]
    dense = IMAGE_DETECTORS["dense_skip"](**preset("dense_skip", "published"))
    assert (dense.learning_rate, dense.epochs, dense.heads) == (8e-3, 20, 4)  # type: ignore[attr-defined]
    panda = IMAGE_DETECTORS["panda_gan"](**preset("panda_gan", "published"))
    assert (panda.learning_rate, panda.batch_size) == (7e-6, 15)
    assert panda.attention_augmentation  # type: ignore[attr-defined]


def test_the_released_code_of_skip_ganomaly_is_no_mixture() -> None:
    paper, code = preset("skip_ganomaly", "published"), preset("skip_ganomaly", "released")
    differing = {name for name in code if code[name] != paper.get(name)} - {"batch_size", "epochs"}
    assert differing == {
        "learning_rate", "decay", "contextual_weight", "latent_in_discriminator", "restart_discriminator", "score_form",
    }  # fmt: skip


def test_there_is_no_preset_without_a_source() -> None:
    with pytest.raises(ValueError, match="no preset 'released' of 'sagan', but of ganomaly, skip_ganomaly"):
        preset("sagan", "released")
    with pytest.raises(ValueError, match="preset must be one of published, released, got 'paper'"):
        preset("sagan", "paper")
