"""Paths that cannot be read or written: a row or a line that says why, and the rest goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gbad.data.check import check_dataset

LONG = "n" * 300

Command = Callable[..., Any]


@pytest.fixture
def no_permission(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Let a folder be one that cannot be listed, also for the superuser."""

    def lock(folder: Path) -> Path:
        for name in ("scandir", "listdir"):
            list_it = getattr(os, name)

            def refuse(path: Any = ".", list_it: Callable[..., Any] = list_it) -> Any:
                if not isinstance(path, int) and os.path.abspath(path) == str(folder):
                    raise PermissionError(errno.EACCES, "Permission denied", str(path))
                return list_it(path)

            monkeypatch.setattr(os, name, refuse)
        return folder

    return lock


def test_one_bad_path_does_not_stop_a_prediction(
    gbad_command: Command, pipeline_file: Path, train_paths: list[Path], tmp_path: Path,
    no_permission: Callable[[Path], Path],
) -> None:  # fmt: skip
    for name in ("locked", "in/sub"):
        (tmp_path / name).mkdir(parents=True)
        shutil.copy(train_paths[0], tmp_path / name / "a.jpg")
    good = Path(shutil.copy(train_paths[0], tmp_path / "in" / "b.jpg"))
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    no_permission(tmp_path / "locked")
    no_permission(tmp_path / "in" / "sub")
    inputs = [tmp_path / "locked", f"{LONG}.jpg", tmp_path / "in", tmp_path / "circle.jpg", good / "x.jpg"]
    outcome = gbad_command("predict", pipeline_file, *inputs, "--out", tmp_path / "scores.csv")
    assert outcome.status == 3, outcome.err  # some inputs have no scores
    table = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    expected = [
        tmp_path / "locked",
        f"{LONG}.jpg",
        good,
        tmp_path / "in" / "sub",
        tmp_path / "circle.jpg",
        good / "x.jpg",
    ]
    assert table["path"].tolist() == list(map(str, expected))
    assert table["status"].tolist() == ["unreadable", "unreadable", "ok", "unreadable", "unreadable", "unreadable"]
    for row, reason in ((0, "Permission denied"), (1, "File name too long"), (3, "Permission denied")):
        assert reason in table["reason"][row]


def test_check_lists_a_folder_that_cannot_be_listed(own_dataset: Path, no_permission: Callable[[Path], Path]) -> None:
    (own_dataset / "more").mkdir()
    before = check_dataset(own_dataset, 10)
    no_permission(own_dataset / "more")
    found = check_dataset(own_dataset, 10).problems
    assert found["problem"].tolist() == [*before.problems["problem"], "bad_folder"]
    assert found.iloc[-1]["path"] == str(own_dataset / "more")
    assert "Permission denied" in found.iloc[-1]["detail"]


def test_annotations_in_a_folder_that_cannot_be_listed_are_not_just_left_out(
    gbad_command: Command, own_dataset: Path, no_permission: Callable[[Path], Path], tmp_path: Path
) -> None:
    (own_dataset / "Annotation" / "more").mkdir()
    no_permission(own_dataset / "Annotation" / "more")
    outcome = gbad_command("labels", own_dataset / "Annotation", "--out", tmp_path / "list.csv")
    assert outcome.status == 1
    assert "more: cannot be listed (Permission denied)" in outcome.err
    assert not (tmp_path / "list.csv").exists()


def test_names_that_are_too_long_take_one_line(
    gbad_command: Command, pipeline_file: Path, dataset: Path, tmp_path: Path
) -> None:
    inside, sizes = tmp_path / LONG, ("--train-positives", 1, "--test-positives", 1)
    for command in (
        ("predict", LONG, dataset, "--out", tmp_path / "a.csv"),
        ("predict", pipeline_file, dataset, "--out", inside),
        ("evaluate", pipeline_file, LONG, "--out", tmp_path / "a"),
        ("evaluate", pipeline_file, dataset, "--out", inside),
        ("check", LONG, "--out", tmp_path / "a.csv"),
        ("check", dataset, "--out", inside),
        ("train", LONG, "--out", tmp_path / "a"),
        ("train", dataset, "--out", inside),
        ("refit", LONG, "--out", tmp_path / "a"),
        ("labels", LONG, "--out", tmp_path / "a.csv"),
        ("labels", f"{LONG}.json", "--out", tmp_path / "a.csv"),
        ("labels", dataset / "Annotation", "--out", inside),
        ("simulate", inside, *sizes),
        ("project", dataset, inside, *sizes),
    ):
        outcome = gbad_command(*command)
        assert outcome.status == 1, command
        errors = outcome.err[outcome.err.index("error:") :].strip()
        assert "File name too long" in errors
        assert "\n" not in errors
    assert not list(tmp_path.iterdir())


def test_pipes_and_devices_as_inputs_are_refused_at_once(
    gbad_command: Command, dataset: Path, own_dataset: Path, tmp_path: Path
) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    lists = own_dataset / "ImageSet" / "10"
    (lists / "groups.csv").symlink_to("/dev/zero")
    xml = tmp_path / "annotations" / "a.xml"
    xml.parent.mkdir()
    os.mkfifo(xml)
    begun = time.monotonic()
    for command in (
        ("labels", tmp_path / "pipe.json", "--out", tmp_path / "a.csv"),
        ("labels", tmp_path / "zero.json", "--out", tmp_path / "a.csv"),
        ("labels", xml.parent, "--out", tmp_path / "a.csv"),
        ("predict", tmp_path / "pipe.json", dataset, "--out", tmp_path / "a.csv"),
        ("train", own_dataset, "--out", tmp_path / "run"),
    ):
        outcome = gbad_command(*command)
        assert outcome.status == 1, command
        assert "not a regular file" in outcome.err
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "a.csv").exists()


def test_a_coco_file_of_too_many_labels_is_refused(gbad_command: Command, tmp_path: Path) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(50_000)],
        "categories": [{"id": i, "name": str(i)} for i in range(50_000)],
        "annotations": [],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    outcome = gbad_command("labels", tmp_path / "coco.json", "--out", tmp_path / "a.csv")
    assert outcome.status == 1
    assert "coco.json: 50,000 images and 50,000 classes are too many labels" in outcome.err
