"""Every command of the page about the papers runs, on tiny data of the layout that it needs.

The networks are narrowed and trained for one epoch. What is measured and written is tested elsewhere.
"""

from __future__ import annotations

import gzip
import pickle
import re
import shlex
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gbad.benchmarks.detectors import cell, outputs, runner
from gbad.data.one_class.cifar import CIFAR10_CLASSES
from gbad.phase2_anomaly import IMAGE_DETECTORS
from gbad.phase2_anomaly.images.panda_gan_perceptual import PerceptualFeatures

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
WEIGHTS = "vgg19-dcbb9e9d.pth"
RNG = np.random.default_rng(0)

NARROW = {"features": 2, "latent_size": 4, "batch_size": 8}
TINY: dict[str, dict[str, Any]] = {
    "ganomaly": NARROW,
    "skip_ganomaly": NARROW,
    "sagan": NARROW | {"widths": [2, 4]},
    "dense_skip": NARROW | {"features": 4, "widths": [2, 4]},
    "panda_gan": {
        "width": 2, "low_channels": 2, "latent_size": 2, "backbone": "small", "parts": 2, "filters": 2,
        "perceptual_width": 2, "perceptual_epochs": 1,
    },
    "egbad": NARROW,
    "anogan": NARROW | {"search_steps": 2, "calibration_images": 2},
    "f_anogan": NARROW | {"gan_epochs": 1},
    "vae": NARROW,
}  # fmt: skip


def commands() -> dict[str, list[str]]:
    """Commands of the page about detectors by the last part of their output folder."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [words for line in lines if (words := shlex.split(line))[:2] == ["gbad", "benchmark-detectors"]]
    named = {words[words.index("--out") + 1]: words[1:] for words in found}
    assert len(named) == len(found)
    return named


def values(words: list[str], option: str) -> list[str]:
    """Values behind an option; none without it."""
    if option not in words:
        return []
    behind = words[words.index(option) + 1 :]
    end = next((place for place, word in enumerate(behind) if word.startswith("--")), len(behind))
    return behind[:end]


def needed_detectors(name: str) -> list[str]:
    """Detectors of a command that no command above it has trained on the same data in the same way; the last always."""
    seen: set[tuple[str, ...]] = set()
    for other, words in commands().items():
        how = tuple(values(words, option)[0] for option in ("--data", "--protocol", "--preset"))
        detectors = values(words, "--detectors")
        if other == name:
            return [one for one in detectors if (one, *how) not in seen or one == detectors[-1]]
        seen |= {(one, *how) for one in detectors}
    raise KeyError(name)


def write_image(path: Path, *shape: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, shape or (32, 32, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A folder with the data sets of the page, under the names that it gives them."""
    root = tmp_path_factory.mktemp("papers")
    (root / "CIFAR10").mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        content = {b"data": RNG.integers(0, 256, (10, 3072), dtype=np.uint8), b"labels": list(range(10))}
        (root / "CIFAR10" / name).write_bytes(pickle.dumps(content, protocol=2))
    (root / "MNIST").mkdir()
    for prefix in ("train", "t10k"):
        images, labels = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8), np.arange(30, dtype=np.uint8) % 3
        for kind, array in (("images", images), ("labels", labels)):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            path = root / "MNIST" / f"{prefix}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes(), 1))
    for part, count in (("train/good", 4), ("test/good", 2), ("test/crack", 2)):
        for number in range(count):
            write_image(root / "MVTEC" / "tile" / part / f"{number:03d}.png", 70, 70, 3)
            if part == "test/crack":
                mask = np.zeros((70, 70), np.uint8)
                mask[20:30, 20:30] = 255
                path = root / "MVTEC" / "tile" / "ground_truth" / "crack" / f"{number:03d}_mask.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)
    shutil.copytree(dataset, root / "SIXRAY")
    for subset in ("100", "1000"):
        shutil.copytree(root / "SIXRAY" / "ImageSet" / "10", root / "SIXRAY" / "ImageSet" / subset)
    for name, count in (("Apple___healthy", 6), ("Corn___healthy", 5), ("Corn___Rust", 4)):
        for number in range(count):
            write_image(root / "PLANT_VILLAGE" / name / f"{number}.jpg")
    for clip, suffix in (("Train/Train001", "tif"), ("Test/Test001", "tif"), ("Test/Test001_gt", "bmp")):
        for frame in range(1, 5):
            write_image(root / "UCSD" / "UCSDped1" / clip / f"{frame:03d}.{suffix}", 24, 32)
    Image.new("L", (32, 24)).save(root / "UCSD" / "UCSDped1" / "Test" / "Test001_gt" / "001.bmp")  # a normal frame
    for part, count in (("train/0.normal", 6), ("test/0.normal", 3), ("test/1.abnormal", 3)):
        for number in range(count):
            write_image(root / "OWN" / part / f"{number}.png")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        torch.save(PerceptualFeatures().state_dict(), root / WEIGHTS)
    return root


def shortened(words: list[str], detectors: list[str], data: Path, out: Path) -> list[str]:
    """The same command with some of its detectors, one class, one seed, narrowed networks, and few images."""
    name = values(words, "--data")[0]
    changed = {name: str(data / name), values(words, "--out")[0]: str(out), "2589": "3"}
    cut = {*values(words, "--classes")[1:], *values(words, "--detectors")} - set(detectors)
    kept = [changed.get(word, word.replace(WEIGHTS, str(data / WEIGHTS))) for word in words if word not in cut]
    assert set(values(words, "--detectors")) <= IMAGE_DETECTORS.keys()
    if "--classes" not in words and name in ("CIFAR10", "MNIST"):
        kept += ["--classes", CIFAR10_CLASSES[2] if name == "CIFAR10" else "1"]
    tiny = [f"{one}.{key}={value}" for one in detectors for key, value in TINY[one].items()]
    return [*kept, "--set", *(text.replace(" ", "") for text in tiny), "--epochs", "1", "--size", "32", "--seeds", "0",
            "--max-train", "6", "--paper-every", "0"]  # fmt: skip


@pytest.mark.parametrize("name", commands())
def test_each_command_runs_on_data_of_its_layout(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gbad_command: Callable[..., Any]
) -> None:
    for cost in ("milliseconds_per_image", "inference_parameters"):
        monkeypatch.setattr(cell, cost, lambda *arguments: 1)
    monkeypatch.setattr(runner, "run_cell", partial(runner.run_cell, resamples=2))
    found: list[Any] = []
    monkeypatch.setattr(outputs, "write_outputs", lambda out, results: found.extend(results))
    words, detectors = commands()[name], needed_detectors(name)
    outcome = gbad_command(*shortened(words, detectors, data, tmp_path / "out"))
    assert outcome.status == 0, outcome.err
    assert [result["detector"] for result in found] == detectors
    assert not [result["error"] for result in found if "error" in result]
    assert {result["protocol"] for result in found} == set(values(words, "--protocol"))


def test_what_the_page_says_of_the_papers_is_all_there() -> None:
    """A line for each table and figure; each command that a line names is there, and each command is named."""
    text = PAGE.read_text(encoding="utf-8")
    for section, expected in {
        "## Zaware": ("Table 1", "Table 2", "Table 3", "Fig. 6", "Fig. 7", "Figs. 1 to 5"),
        "## Barker": ("Fig. 3", "Table I,", "Table II,", "Table III", "Figs. 1, 4, 5", "Fig. 2"),
        "## Liu": ("Table 1", "Table 2", "Table 3", "Fig. 3", "Figs. 1 and 2"),
    }.items():
        lines = [line for line in text.split(section)[1].split("\n## ")[0].splitlines() if line.startswith("| ")]
        assert all(any(line.startswith(f"| {one}") for line in lines) for one in expected)
    in_tables = " ".join(line for line in text.splitlines() if line.startswith("| "))
    in_numbers = {f"panda-table-3-row-{number}" for number in range(2, 8)}
    by_suffix = {
        "zaware-table-3-b", "zaware-table-3-c", "skip-ganomaly-cifar-10-released", "panda-table-1-leaves-problem",
        "panda-table-1-leaves-general", "sagan-table-3-without-separable", "zaware-without-attention",
        "zaware-without-spectral-norm", "zaware-without-dense-skip",
    }  # fmt: skip
    for name in commands().keys() - in_numbers - by_suffix:
        assert f"`{name}`" in in_tables, name
