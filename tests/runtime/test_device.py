from __future__ import annotations

import pytest
import torch

from gbad.runtime.device import chosen_device, device_or_cpu, training_processes


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str | None:
    """Pretend that the machine has two accelerators of this type, or none."""
    name: str | None = request.param
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: name is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(name or "cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0 if name is None else 2)
    return name


@pytest.mark.parametrize("accelerator", [None, "cuda", "mps"], indirect=True)
def test_auto_is_the_accelerator_where_there_is_one(accelerator: str | None) -> None:
    assert chosen_device() == chosen_device("auto") == (accelerator or "cpu")
    assert chosen_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("accelerator", "wanted", "found"),
    [
        (None, "cpu", "cpu"),
        (None, "cuda", "cpu"),
        ("cuda", "cpu", "cpu"),
        ("cuda", "cuda", "cuda"),
        ("cuda", "cuda:1", "cuda:1"),
        ("cuda", "cuda:2", "cpu"),
        ("cuda", "mps", "cpu"),
    ],
    indirect=["accelerator"],
)
def test_a_device_that_is_missing_becomes_the_cpu(accelerator: str | None, wanted: str, found: str) -> None:
    assert device_or_cpu(wanted) == found


def test_a_process_alone_is_the_main_one() -> None:
    assert training_processes("cpu").is_main_process
