"""A tiny simulated data set and a tiny trained pipeline, made once for all tests that need them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbone import install, uninstall

import gbad
from gbad.data.images import image_paths
from gbad.data.labels import LabelList, read_sixray
from gbad.data.simulate import simulate_dataset
from gbad.phase2_anomaly import BiGANDetector
from gbad.pipeline import GBADPipeline
from gbad.training.run_folder import Run, start_run
from gbad.workflows.train import train

ROOT = Path(__file__).parents[1]
WIDE = "1000"
"""Columns of the terminal: no text is broken into lines, whatever the length of a folder's name or of a rate."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore Ctrl-C, which tests of it send to themselves and to commands.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.getoption("numprocesses", None):  # not the process that hands tests to others and prints
        os.environ["COLUMNS"] = WIDE  # before a console is made, here and in the processes of commands


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A network that a test makes has the same weights whichever tests ran before in its process.

    The few channels of a test's network are all dead with some weights, and its output is then constant.
    """
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def tiny_backbone() -> Iterator[None]:
    """Let all tests train five convolutions in the place of ResNet-18."""
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        yield


@pytest.fixture(scope="module")
def real_resnet18(tiny_backbone: None) -> Iterator[None]:
    """The real ResNet-18, for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        uninstall(patch)
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 training and 36 test images of 64 px in SIXray's layout; a third show threats. Not to be changed."""
    folder = tmp_path_factory.mktemp("simulated") / "data"
    simulate_dataset(folder, train_positives=24, test_positives=12, negatives_per_positive=2, size=64, workers=1)
    return folder


@pytest.fixture
def own_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil."""
    return Path(shutil.copytree(dataset, tmp_path / "own data"))


@pytest.fixture(scope="session")
def train_list(dataset: Path) -> LabelList:
    return read_sixray(dataset, 10, "train")


@pytest.fixture(scope="session")
def train_paths(dataset: Path, train_list: LabelList) -> list[Path]:
    return image_paths(dataset, train_list.names)


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[..., GBADPipeline]:
    """Pipeline that trains in seconds and learns enough for scores that differ between images."""

    def make(**options: Any) -> GBADPipeline:
        detector = BiGANDetector(latent_size=4, hidden_sizes=(16,), discriminator_sizes=(16, 8, 8), min_steps=60)
        settings: dict[str, Any] = {
            "backbone": "resnet18", "size": 64, "pretrained": False, "fusion": "hidden", "fpn_width": 8,
            "head_width": 8, "negatives": "fixed", "epochs": 2, "optimiser": "adamw", "learning_rate": 3e-3,
            "ema_decay": 0.5, "detector": detector, "second_look": False, "region_size": 32, "region_epochs": 1,
            "class_heads": False, "suppression": "hard", "random_state": 1, "device": "cpu", "precision": "no",
        }  # fmt: skip
        return GBADPipeline(**settings | options)

    return make


@pytest.fixture(scope="session")
def trained(dataset: Path, make_pipeline: Callable[..., GBADPipeline], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run folder. Not to be changed."""
    run = start_run(tmp_path_factory.mktemp("trained") / "run", dataset, 10, make_pipeline().settings)
    train(run)
    return run


@pytest.fixture(scope="session")
def pipeline_file(trained: Run) -> Path:
    return trained.folder / "pipeline.joblib"


@pytest.fixture(scope="session")
def pipeline(pipeline_file: Path) -> GBADPipeline:
    """The saved pipeline, loaded. Not to be changed."""
    return gbad.load(pipeline_file)


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Noisy images with squares and stripes: uint8 (40, 64, 64, 3)."""
    images = np.random.default_rng(0).integers(150, 256, (40, 64, 64, 3), dtype=np.uint8)
    images[10:20, 8:24, 8:24] = 10
    images[15:25, 40:44, :, 1:] = 40
    return images


@pytest.fixture
def gbad_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Outcome]]:
    """Run ``gbad ...`` in this process."""
    from gbad.cli.app import main

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gbad", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(leaving.value.code or 0), captured.out, captured.err)

    yield run
    logging.captureWarnings(False)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes: writing then fails in the same calls as on a full disk."""
    resource = pytest.importorskip("resource", reason="the system has no limit on the size of files")

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start Python in a new process: ``start("-m", "gbad.cli", "train", ...)``."""

    def popen(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return popen


@pytest.fixture(scope="session")
def run_python(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Outcome]:
    """Run Python in a new process to its end."""

    def run(*arguments: object) -> Outcome:
        process = start(*arguments)
        out, err = process.communicate(timeout=300)
        return Outcome(process.returncode, out, err)

    return run
