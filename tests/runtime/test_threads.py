"""How threads wait is a matter of commands: the package leaves the process of its user as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FREE = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP_", "KMP_"))}


def said(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=FREE | environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


COMMAND = """
import os, sys
sys.argv = ["gbad", "--version"]
from gbad.cli.app import main
try:
    main()
except SystemExit:
    print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


def test_threads_of_a_command_wait_asleep() -> None:
    assert said(COMMAND) == "passive None False"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"OMP_WAIT_POLICY": "active"}, "active None False"), ({"GOMP_SPINCOUNT": "100"}, "None 100 False")],
)
def test_what_the_user_has_chosen_stays(given: dict[str, str], expected: str) -> None:
    assert said(COMMAND, **given) == expected


def test_the_package_changes_no_process() -> None:
    names = "('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')"
    assert said(f"import os, gbad.pipeline; print([name for name in {names} if name in os.environ])") == "[]"


def test_it_is_too_late_once_pytorch_is_there() -> None:
    code = "import os, torch; from gbad.runtime.threads import wait_asleep; "
    assert said(code + "print(wait_asleep(), os.environ.get('OMP_WAIT_POLICY'))") == "False None"
