"""What is said before the work: needs that are not met, and a plan of cells, images, steps, time and disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gbad.benchmarks.paper import planning, run
from gbad.benchmarks.paper.data import existing_data
from gbad.benchmarks.paper.methods import chosen_methods
from gbad.benchmarks.paper.needs import without_unusable
from gbad.benchmarks.paper.planning import Rates, plan_table, planned_data, work_of
from gbad.benchmarks.paper.run import make_plan, plan_benchmark, run_benchmark
from gbad.benchmarks.paper.scales import SCALES, ListSizes
from gbad.data.labels import read_sixray
from gbad.errors import DataError, GbadError

SCALE = replace(SCALES["small"], backbones=("resnet18",), resamples=5)
QUICK = {"pretrained": False, "size": 32, "fpn_width": 8, "head_width": 8, "epochs": 3}


def test_methods_without_boxes_are_left_out_before_the_first_training(
    own_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(own_dataset / "Annotation")
    said: list[str] = []
    computed: list[Any] = []
    monkeypatch.setattr(run, "_compute", lambda plan, *args: computed.append(plan))
    monkeypatch.setattr(run, "make_group", lambda *args: pytest.skip("planned"))
    try:
        run_benchmark(
            tmp_path, SCALE, data=own_dataset, methods=("cnn", "gbad_boxes"), seeds=(0,), overrides=QUICK,
            say=said.append,
        )  # fmt: skip
    except pytest.skip.Exception:
        pass
    assert {cell.name for cell in computed[0].networks} == {"cnn"}
    assert said[0].startswith("GBAD, boxes is left out: ")
    assert "no box for any image" in said[0]
    with pytest.raises(GbadError, match="none of the methods gbad_boxes can be run: .*no box"):
        without_unusable(existing_data(own_dataset), chosen_methods(["gbad_boxes"]))


def test_a_damaged_annotation_leaves_methods_out_too(own_dataset: Path) -> None:
    chosen = chosen_methods(["cnn", "gbad_boxes"])
    damaged = {}
    for part in ("train", "test"):
        labels = read_sixray(own_dataset, 10, part)
        damaged[part] = own_dataset / "Annotation" / f"{labels.names[int(labels.positive.argmax())]}.xml"
    damaged["train"].write_text("<annotation>")
    usable, reasons = without_unusable(existing_data(own_dataset), chosen)
    assert set(usable) == {"cnn"}
    assert str(damaged["train"]) in reasons["gbad_boxes"]
    # Peaks of heat-maps are held against the boxes of test images when all is trained.
    damaged["test"].write_text("<annotation>")
    with pytest.raises(DataError, match=re.escape(str(damaged["test"]))):
        without_unusable(existing_data(own_dataset), chosen_methods(["cnn", "gbad"]))


def test_all_methods_can_be_run_where_boxes_are_there(dataset: Path) -> None:
    chosen = chosen_methods(["cnn", "gbad_boxes"])
    assert without_unusable(existing_data(dataset), chosen) == (chosen, {})


def test_a_plan_counts_images_and_steps(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 images with threats and 48 without; a fifth is held out, except by the paper's mode."""
    monkeypatch.setattr(planning, "measure", lambda settings, classes: Rates(10.0, 40.0, 1000, 100))
    table, notes = plan_benchmark(
        tmp_path, SCALE, data=dataset, methods=("cnn", "cnn_all", "gbad_paper", "gbad"), seeds=(0, 1), overrides=QUICK
    )
    rows = {row["network"]: row for row in table.rows}
    assert rows["cnn"]["training images"] == 3 * 2 * 19
    assert rows["cnn_all"]["training images"] == 3 * (19 + 38)
    assert rows["gbad_paper"]["training images"] == 3 * (24 + 24)
    assert rows["cnn"]["steps"] == 3 * 2  # batches of 32 out of 38 images
    assert rows["cnn"]["test images"] == 36
    assert rows["cnn"]["hours a seed"] == pytest.approx((3 * 38 / 10 + 36 / 40) / 3600)
    assert rows["gbad_paper"]["hours"] == pytest.approx(2 * (3 * 48 / 10 + (72 + 36) / 40) / 3600)
    assert notes[0].startswith("8 cells to train and score")
    assert not (tmp_path / "cells").exists()


def test_a_second_look_is_planned(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measure", lambda settings, classes: Rates(10.0, 40.0, 1000, 100))
    common: dict[str, Any] = {"data": dataset, "methods": ("gbad",), "seeds": (0,)}
    hours = {
        twice: plan_benchmark(tmp_path, SCALE, overrides=QUICK | {"second_look": twice}, **common)[0].rows[0]["hours"]
        for twice in (False, True)
    }
    regions, looked_at = 12 * 19 * 4 / 10, 4 * 0.2 * 36 / 40  # few regions: twelve passes
    assert hours[True] - hours[False] == pytest.approx((regions + looked_at) / 3600)


def test_cells_that_are_done_are_not_planned(dataset: Path, tmp_path: Path) -> None:
    data = existing_data(dataset)
    plan = make_plan(tmp_path, data, SCALE, chosen_methods(["cnn"]), ["resnet18"], (0, 1), QUICK)
    assert len(work_of(plan.cells, data)[0].cells) == 2
    for entry in (plan.networks[0].entry, plan.networks[0].scores):
        entry.complete(dict)
    assert [cell.seed for cell in work_of(plan.cells, data)[0].cells] == [1]


def test_simulated_data_are_planned_without_being_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "measure", lambda settings, classes: Rates(10.0, 40.0, 1000, 100))
    scale = replace(SCALE, lists={"10": ListSizes(10, 20, 5, 10), "100": ListSizes(10, 20, 5, 50)})
    data = planned_data(tmp_path / "data", scale)
    assert len(data.read(scale.subsets[1], "test")) == 55
    plan = make_plan(tmp_path, data, scale, chosen_methods(["cnn"]), ["resnet18"], (0,), QUICK)
    table, _ = plan_table(work_of(plan.cells, data), data)
    assert [(row["list"], row["test images"]) for row in table.rows] == [("10", 55)]  # subsets share the network
    _, notes = plan_benchmark(tmp_path, scale, methods=("cnn",), seeds=(0,), overrides=QUICK)
    assert any("images of 192 px are simulated first" in note for note in notes)
    assert not (tmp_path / "data").exists()


def test_ten_steps_are_really_timed(dataset: Path, tmp_path: Path, gbad_command: Callable[..., Any]) -> None:
    quick = ["--size", 32, "--fpn-width", 8, "--head-width", 8, "--epochs", 1, "--no-pretrained", "--seeds", 0]
    done = gbad_command("benchmark", dataset, "--methods", "cnn,gbad", "--backbones", "resnet18", *quick,
                        "--out", tmp_path / "out", "--plan")  # fmt: skip
    assert done.status == 0, done.err
    assert "2 cells to train and score" in done.out
    assert "Time is from 10 training steps of each network." in done.out
    assert not (tmp_path / "out").exists()


def test_the_paper_mode_of_the_benchmark(dataset: Path, tmp_path: Path, gbad_command: Callable[..., Any]) -> None:
    quick = ["--size", 32, "--epochs", 1, "--no-pretrained", "--seeds", 0, "--backbones", "resnet18"]
    done = gbad_command("benchmark", dataset, "--preset", "paper", "--methods", "cnn_all,gbad_paper", *quick,
                        "--out", tmp_path, "--plan")  # fmt: skip
    assert done.status == 0, done.err
    assert " 72 " in done.out  # an epoch of the whole list: no image is held out
    refused = gbad_command("benchmark", dataset, "--preset", "paper", "--methods", "gbad", "--out", tmp_path, "--plan")
    assert refused.status != 0
    assert "preset paper holds no image out, which gbad would need" in refused.err


def test_random_weights_where_there_are_no_others(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, chosen = existing_data(dataset), chosen_methods(["cnn", "gbad_paper"])
    monkeypatch.setattr(run, "load_imagenet_weights", lambda network, name, file: None)
    overrides = {"size": 32}
    cells = make_plan(tmp_path, data, replace(SCALE, any_weights=True), chosen, ["resnet18"], (0,), overrides).networks
    assert not any(cell.settings.pretrained for cell in cells)
    cells = make_plan(tmp_path, data, SCALE, chosen, ["resnet18"], (0,), overrides).networks
    assert all(cell.settings.pretrained for cell in cells)


def test_an_unknown_rule_is_refused_before_the_work(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'voc12'; choose one of all_points, voc07, voc10"):
        run_benchmark(tmp_path, SCALE, data=dataset, methods=("cnn",), rule="voc12")  # type: ignore[arg-type]
    assert not (tmp_path / "cells").exists()
