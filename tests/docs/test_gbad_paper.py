"""Each command that docs/papers.md gives for GBAD runs, on small data of the same layout and a small network."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gbad.benchmarks.paper import data as benchmark_data
from gbad.benchmarks.paper.scales import SCALES, ListSizes
from gbad.phase2_anomaly import BiGANDetector

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
SMALL = {
    "train": ["--backbone", "resnet18", "--size", 32, "--epochs", 1, "--no-pretrained", "--fpn-width", 8,
              "--head-width", 8],
    "benchmark": ["--backbones", "resnet18", "--size", 32, "--epochs", 1, "--no-pretrained", "--fpn-width", 8,
                  "--head-width", 8, "--seeds", 0, "--resamples", 3],
}  # fmt: skip


def commands() -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split("## GBAD (Dumagpi et al. 2020)")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def sixray(own_dataset: Path) -> Path:
    """Small data with the lists of all three subsets."""
    for subset in ("100", "1000"):
        shutil.copytree(own_dataset / "ImageSet" / "10", own_dataset / "ImageSet" / subset)
    return own_dataset


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"min_steps": 20, "epochs": 1, "latent_size": 4, "hidden_sizes": (8,), "discriminator_sizes": (8, 8, 8)}
    for name, value in options.items():
        monkeypatch.setitem(BiGANDetector.__init__.__kwdefaults__, name, value)
    detectors = {"image_size": 32, "epochs": 1, "features": 8, "max_images": 100}
    monkeypatch.setitem(SCALES, "full", replace(SCALES["full"], image_detectors=detectors))
    lists = {"10": ListSizes(20, 40, 5, 10)}
    monkeypatch.setitem(SCALES, "backbones", replace(SCALES["backbones"], lists=lists, image_size=48))
    simulate = benchmark_data.simulate_dataset
    monkeypatch.setattr(
        benchmark_data, "simulate_dataset", lambda *args, **options: simulate(*args, **(options | {"workers": 1}))
    )


def test_the_page_has_commands() -> None:
    assert [words[1] for words in commands()] == ["benchmark", "train", "benchmark", "benchmark"]


@pytest.mark.parametrize("number", range(4))
def test_each_command_of_the_page_runs(
    number: int, sixray: Path, tmp_path: Path, gbad_command: Callable[..., Any]
) -> None:
    words = commands()[number][1:]
    places = {"DATA": sixray, "DIR": tmp_path / "out", "DIR2": tmp_path / "out", "RUN": tmp_path / "out"}
    done = gbad_command(*[places.get(word, word) for word in words], *SMALL[words[0]])
    assert done.status == 0, done.err
    if words[0] == "train":
        assert (tmp_path / "out" / "pipeline.joblib").exists()
        return
    results = tmp_path / "out" / "results"
    assert (results / "report.html").exists()
    if "paper" in words:
        table4 = pd.read_csv(results / "table4.csv")
        assert {"gbad_paper: BiGAN and SVM", "GANomaly", "Skip-GANomaly"} <= set(table4["method"])
        assert {f"table{table}.csv" for table in range(1, 6)} <= {path.name for path in results.iterdir()}
        assert (results / "plots" / "roc-resnet18.png").exists()
        assert "7.4487e-04" not in (results / "table5.csv").read_text()  # our images, not the paper's
        assert re.search(r"\d\.\d{4}e-\d\d", (results / "table5.csv").read_text())
