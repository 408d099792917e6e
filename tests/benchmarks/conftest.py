"""Scripts of ``pipelines``, run in this process: a new one costs seconds of imports."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gbad_command: Callable[..., Any]
) -> Callable[..., Any]:
    """Run ``python <script> <arguments>``: status, out and err. `gbad_command` is there for what it sets up."""

    def run(script: str, *arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        captured = capsys.readouterr()
        return SimpleNamespace(status=int(leaving.value.code or 0), out=captured.out, err=captured.err)

    return run
