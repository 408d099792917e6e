from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gbad.data.labels import read_list
from gbad.data.layout import GeneratedLayout
from gbad.data.simulate import simulate_dataset
from gbad.data.simulate.frequencies import draw_labels
from gbad.data.simulate.settings import SimulationSettings
from gbad.data.sixray_writer import make_missing
from gbad.errors import DataError, GbadError, RunError
from gbad.storage.locks import held

SMALL = {"train_positives": 4, "test_positives": 2, "negatives_per_positive": 2, "size": 48}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "data"
    simulate_dataset(out, **SMALL, raw=True, workers=1)
    return out


def test_layout_is_that_of_sixray(simulated: Path) -> None:
    names = {p.stem for p in (simulated / "JPEGImage").iterdir()}
    assert names == {f"P{k:05d}" for k in range(1, 7)} | {f"N{k:07d}" for k in range(1, 13)}
    assert {p.name for p in (simulated / "Annotation").iterdir()} == {f"P{k:05d}.xml" for k in range(1, 7)}
    assert {p.name for p in (simulated / "Mask").iterdir()} == {f"P{k:05d}.png" for k in range(1, 7)}
    assert len(list((simulated / "Raw").iterdir())) == 36
    header, first, *_ = (simulated / "ImageSet/10/train.csv").read_text().splitlines()
    assert header == "name,Gun,Knife,Wrench,Pliers,Scissors"
    assert set(first.split(",")[1:]) <= {"1", "-1"}


def test_lists_share_no_image_and_hold_the_labels(simulated: Path) -> None:
    train, test = (read_list(simulated / f"ImageSet/10/{part}.csv") for part in ("train", "test"))
    assert (len(train), len(test)) == (12, 6)
    assert not set(train.names) & set(test.names)
    assert train.positive.sum() == 4
    for name, row in zip(train.names, train.labels, strict=True):
        shown = {label for label, value in zip(train.classes, row, strict=True) if value}
        assert shown == (set(draw_labels(0, int(name[1:]))) if name.startswith("P") else set())


def test_masks_agree_with_labels_and_images(simulated: Path) -> None:
    train = read_list(simulated / "ImageSet/10/train.csv")
    for name, row in zip(train.names[:4], train.labels[:4], strict=True):
        mask = np.asarray(Image.open(simulated / f"Mask/{name}.png"))
        assert set(np.unique(mask)) - {0} <= set(np.flatnonzero(row) + 1)
        assert mask.any()
        with Image.open(simulated / f"JPEGImage/{name}.jpg") as image:
            assert mask.shape == image.size[::-1]
        low = np.asarray(Image.open(simulated / f"Raw/{name}_low.png"))
        assert low.dtype == np.uint16
        assert low.shape == mask.shape


def test_number_of_workers_makes_no_difference(simulated: Path, tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "two", **SMALL, raw=True, workers=2)
    assert contents(tmp_path / "two") == contents(simulated)


def test_a_stopped_run_continues_and_gives_the_same(tmp_path: Path, simulated: Path) -> None:
    out = tmp_path / "stopped"
    shutil.copytree(simulated, out)
    kept = out / "JPEGImage/P00001.jpg"
    time = kept.stat().st_mtime_ns
    for file in ("JPEGImage/P00002.jpg", "Mask/P00003.png", "Raw/N0000004_low.png", "ImageSet/10/test.csv"):
        (out / file).unlink()
    (out / "JPEGImage/N0000001.jpg").write_bytes(b"")  # what a power cut can leave
    simulate_dataset(out, **SMALL, raw=True, workers=1)
    assert contents(out) == contents(simulated)
    assert kept.stat().st_mtime_ns == time


def test_what_a_killed_process_was_writing_is_deleted(tmp_path: Path, simulated: Path) -> None:
    out = Path(shutil.copytree(simulated, tmp_path / "set"))
    left, foreign = out / "JPEGImage" / ".P00001.jpg.12345", out / "JPEGImage" / ".mine.jpg.12345"
    for path in (left, foreign):
        path.write_text("half")
    simulate_dataset(out, **SMALL, raw=True, workers=1)
    assert not left.exists()
    assert foreign.exists()
    foreign.unlink()
    assert contents(out) == contents(simulated)


def test_two_processes_do_not_make_one_data_set(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="the system has no locks on files")
    with (
        held(tmp_path / "lock", "", remove=True),
        pytest.raises(RunError, match=r"another process is making this simulation \(process \d+"),
    ):
        simulate_dataset(tmp_path, **SMALL, raw=True, workers=1)
    assert not list(tmp_path.iterdir())


def test_processes_that_make_images_load_no_pytorch(run_python: Any) -> None:
    code = "import sys, gbad.data.simulate, gbad.data.project\nassert 'torch' not in sys.modules"
    assert run_python("-c", code).status == 0


def test_a_killed_process_is_named_and_keeps_what_is_finished(tmp_path: Path) -> None:
    def make(positions: Sequence[int]) -> int:
        if 1 in positions:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
        return len(positions)

    layout = GeneratedLayout(10, 4, 0, 0, 32, 0)
    with pytest.raises(GbadError, match=r"a process .* was killed.*Finished images are kept.*workers=1"):
        make_missing(tmp_path, layout, make, images_per_job=1, workers=2, doing="making", show_progress=False)


def test_other_settings_are_refused(simulated: Path) -> None:
    before = contents(simulated)
    with pytest.raises(RunError, match=r"simulation with another size\. .* size: there 48, asked for 64\."):
        simulate_dataset(simulated, **{**SMALL, "size": 64}, raw=True, workers=1)
    assert contents(simulated) == before


def test_images_of_another_origin_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "JPEGImage").mkdir()
    (tmp_path / "JPEGImage/P00001.jpg").write_bytes(b"mine")
    with pytest.raises(RunError, match="results of an unknown simulation"):
        simulate_dataset(tmp_path, **SMALL, workers=1)
    assert (tmp_path / "JPEGImage/P00001.jpg").read_bytes() == b"mine"


def test_full_disk_gives_a_clear_error_no_half_file_and_no_list(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with full_disk(700), pytest.raises(GbadError, match=r"P00001.*File too large.*free some space"):
        simulate_dataset(tmp_path / "data", **SMALL, workers=1)
    assert [p.name for p in (tmp_path / "data").rglob("*") if p.is_file()] == ["simulation.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_positives": -1}, "train_positives is -1"),
        ({"size": 16}, "size is 16. Give at least 32"),
        ({"train_positives": 0, "test_positives": 0}, "train_positives and test_positives are both 0"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        simulate_dataset(tmp_path, **{**SMALL, **change})


def test_removed_threats_leave_labels_and_sizes(simulated: Path, tmp_path: Path) -> None:
    simulate_dataset(tmp_path, **SMALL, workers=1, remove_threats=True)
    for part in ("train", "test"):
        assert (tmp_path / f"ImageSet/10/{part}.csv").read_bytes() == (
            simulated / f"ImageSet/10/{part}.csv"
        ).read_bytes()
    assert not np.asarray(Image.open(tmp_path / "Mask/P00001.png")).any()
    assert json.loads((tmp_path / "simulation.json").read_text())["remove_threats"] is True


def test_negatives_follow_from_the_subset() -> None:
    settings = SimulationSettings(100, 3, 2, 100, 64, 0)
    assert len(settings) == 505
    assert settings.parts["test"] == (range(4, 6), range(301, 501))


def test_large_sets_go_into_numbered_folders() -> None:
    settings = SimulationSettings(10, 1000, 0, 10, 64, 0)
    assert settings.files(0)["image"] == "JPEGImage/0/P00001.jpg"
    assert settings.files(9_999)["image"] == "JPEGImage/0/N0009000.jpg"
    assert settings.files(10_000)["image"] == "JPEGImage/1/N0009001.jpg"
    counts = np.bincount([int(settings.files(k)["image"].split("/")[1]) for k in range(len(settings))])
    assert counts.tolist() == [10_000, 1_000]


def test_the_test_list_can_have_a_ratio_of_its_own() -> None:
    settings = SimulationSettings(100, 4, 2, 3, 48, 0, test_negatives_per_positive=5)
    assert settings.parts["train"] == (range(1, 5), range(1, 13))
    assert settings.parts["test"] == (range(5, 7), range(13, 23))
    assert len(settings) == 6 + 12 + 10
    with pytest.raises(DataError, match="test_negatives_per_positive is -1"):
        SimulationSettings(100, 4, 2, 3, 48, 0, test_negatives_per_positive=-1).check()
