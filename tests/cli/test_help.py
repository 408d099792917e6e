from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gbad.cli.app import app
from gbad.training.settings import GROUPS, choices, options

COMMANDS = ["simulate", "project", "check", "labels", "train", "refit", "evaluate", "predict", "calibrate", "export",
            "demo", "benchmark", "benchmark-detectors"]  # fmt: skip


def test_all_commands_are_tested() -> None:
    assert len(COMMANDS) == len(app.registered_commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_cut_at_80_columns(
    command: str, gbad_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = gbad_command(command, "-h")
    assert shown.status == 0
    assert shown.out == gbad_command(command, "--help").out
    lines = shown.out.splitlines()
    assert max(map(len, lines)) == 80
    assert "…" not in shown.out
    words = shown.out.split()
    assert "--help," in words
    if command == "train":
        for name in options():
            for choice in choices(name):
                if options()[name].flag and isinstance(choice, str):
                    assert choice in " ".join(words).replace("(", " ").replace(")", " ").replace(",", " ").split()


def test_the_ten_options_that_matter_stand_first(gbad_command: Callable[..., Any]) -> None:
    panels = gbad_command("train", "-h").out.split("╭─ ")[1:]
    titles = [panel.split(" ─")[0] for panel in panels]
    assert titles == ["Arguments", "What matters first", *GROUPS.values(), "Other options"]
    assert panels[1].count("│ --") == 10


def test_a_wrong_call_shows_how_to_call(gbad_command: Callable[..., Any]) -> None:
    outcome = gbad_command("simulate")
    assert outcome.status == 2
    assert " simulate [OPTIONS] OUT\n" in outcome.err


def test_python_m_gbad(run_python: Callable[..., Any]) -> None:
    outcome = run_python("-m", "gbad", "-h")
    assert outcome.status == 0
    assert "benchmark-detectors" in outcome.out
