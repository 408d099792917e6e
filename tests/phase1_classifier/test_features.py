"""Features of many images on disk: a break forgets nothing, bad images included."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource
from gbad.errors import DataError, ImageError, RunError, TooManyBadImagesError
from gbad.phase1_classifier import Classifier, FeatureFile, extract_features
from gbad.phase1_classifier.prediction import full_precision

ROWS = np.arange(12)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def source(*bad: int, killed: int | None = None) -> ImageSource:
    """Images of which some are bad; at one of them the process is killed."""

    def load(row: int) -> np.ndarray:
        if row == killed:
            raise KeyboardInterrupt
        if row in bad:
            raise ImageError(f"{row}.png", "unreadable", "damaged")
        return PIXELS[row]

    return ImageSource([f"{row}.png" for row in ROWS], 32, load)


@pytest.fixture(scope="module")
def model(build: Callable[..., Classifier]) -> Classifier:
    return build("plain").eval()


@pytest.fixture(scope="module")
def broken(model: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the first eight rows without rows 1 and 5, where a training was killed. Not to be changed."""
    folder = tmp_path_factory.mktemp("broken") / "features"
    with pytest.raises(KeyboardInterrupt):
        extract_features(model, source(1, 5, killed=8), ROWS, folder, BadImages(12, 1.0), batch_size=2)
    return folder


def test_bad_images_of_before_a_break_count_again(model: Classifier, broken: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(broken, tmp_path / "features"))
    bad = BadImages(12, 1.0)
    file = extract_features(model, source(1, 5, 9), ROWS, folder, bad, batch_size=2)
    assert file.rows.tolist() == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    assert {path: error.reason for path, error in bad.errors.items()} == dict.fromkeys(
        ("1.png", "5.png", "9.png"), "damaged"
    )
    again = BadImages(12, 1.0)
    extract_features(model, source(1, 5), ROWS, folder, again)  # row 9 has been repaired since
    assert again.errors["5.png"].reason == "damaged"
    assert f"can be now; delete {folder} to have it used" in again.errors["9.png"].reason
    unbroken = extract_features(model, source(1, 5, 9), ROWS, tmp_path / "unbroken", BadImages(12, 1.0), batch_size=2)
    np.testing.assert_array_equal(file.features, unbroken.features)


def test_images_repaired_during_a_break_are_used(model: Classifier, broken: Path, tmp_path: Path) -> None:
    folder, bad = Path(shutil.copytree(broken, tmp_path / "features")), BadImages(12, 1.0)
    file = extract_features(model, source(1), ROWS, folder, bad, batch_size=2)
    assert file.rows.tolist() == [0, *range(2, 12)]
    assert list(bad.errors) == ["1.png"]
    unbroken = extract_features(model, source(1), ROWS, tmp_path / "unbroken", BadImages(12, 1.0), batch_size=2)
    np.testing.assert_array_equal(file.features, unbroken.features)


def test_full_precision_leaves_cudnn_on() -> None:
    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    with full_precision():
        assert torch.backends.cudnn.enabled == before[0]
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before


def test_the_limit_holds_over_a_break(model: Classifier, broken: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(broken, tmp_path / "features"))
    with pytest.raises(TooManyBadImagesError, match="3 of 12"):
        extract_features(model, source(1, 5, 9), ROWS, folder, BadImages(12, 2 / 12), batch_size=2)


def test_no_usable_image_is_an_error_with_a_remedy(model: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    for _ in range(2):
        with pytest.raises(DataError, match="none of the images for phase 2 can be used.*Repair them"):
            extract_features(model, source(*ROWS.tolist()), ROWS, folder, BadImages(12, 1.0))
    assert len(extract_features(model, source(), ROWS, folder, BadImages(12)).rows) == 12
    (folder / "done.json").write_text('{"rows": 0, "features": 32, "classes": 2}')  # by other means
    with pytest.raises(DataError, match="none of the images.*Delete this folder too"):
        extract_features(model, source(), ROWS, folder, BadImages(12))


@pytest.mark.parametrize("name", ["features.f32", "logits.f64", "rows.i64"])
def test_features_that_are_not_what_was_written_are_refused(name: str, model: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "phase2" / "features"
    extract_features(model, source(), ROWS, folder, BadImages(12))
    whole = (folder / name).read_bytes()
    at = len(whole) // 2
    for damaged in (whole[:at], b"", whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :], whole + bytes(8)):
        (folder / name).write_bytes(damaged)
        with pytest.raises(RunError, match=f"{name}: damaged.*Delete the folder .*phase2 and run"):
            FeatureFile(folder)
    (folder / name).write_bytes(whole)
    done = json.loads((folder / "done.json").read_text())
    del done["digests"], done["digest"]  # as runs of before
    (folder / "done.json").write_text(json.dumps(done))
    assert len(FeatureFile(folder).rows) == 12


@pytest.mark.parametrize("name", ["features.f32", "logits.f64", "rows.i64", "batches.txt"])
def test_damage_of_half_written_features_is_computed_anew(
    name: str, model: Classifier, broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = extract_features(model, source(1, 5), ROWS, tmp_path / "whole", BadImages(12, 1.0), batch_size=2)
    folder = Path(shutil.copytree(broken, tmp_path / "broken"))
    left = (folder / name).read_bytes()
    at = len(left) // 2
    (folder / name).write_bytes(left[:at] + bytes(len(left) - at))  # as a disk leaves it that lost power
    found = extract_features(model, source(1, 5), ROWS, folder, BadImages(12, 1.0), batch_size=2)
    for mine, expected in ((found.features, whole.features), (found.logits, whole.logits), (found.rows, whole.rows)):
        np.testing.assert_array_equal(mine, expected)
    assert ("damaged behind row" in caplog.text) == (name != "batches.txt")  # of which a part is missing, no more
    assert not (folder / "batches.txt").exists()


@pytest.mark.parametrize("rows", [10**12, 10**18 - 1])
def test_a_ledger_that_tells_of_more_rows_than_there_are_is_not_believed(
    rows: int, model: Classifier, broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(broken, tmp_path / "broken"))
    seen, _, digest = (folder / "batches.txt").read_text().splitlines()[0].split()
    (folder / "batches.txt").write_text(f"{seen} {rows} {digest}\n")
    found = extract_features(model, source(1, 5), ROWS, folder, BadImages(12, 1.0), batch_size=2)
    assert found.rows.tolist() == [row for row in ROWS.tolist() if row not in (1, 5)]
    assert "damaged behind row 0" in caplog.text
