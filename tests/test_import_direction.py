"""Imports form a star: phases know nothing of one another, and nothing that they build on knows of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHASES = ("gbad.phase1_classifier", "gbad.phase2_anomaly", "gbad.phase3_gate")
TOGETHER = (
    "gbad.pipeline", "gbad.training.fitted", "gbad.training.training_set", "gbad.training.phase1", "gbad.training.run_folder", "gbad.workflows.predict",
    "gbad.training.phase2", "gbad.training.phase3", "gbad.training.file_format", "gbad.workflows.locate", "gbad.cli.app", "gbad.workflows.demo",
    "gbad.training.settings", "gbad.benchmarks.paper", "gbad.benchmarks.detectors",
)  # fmt: skip
MODULES = sorted((ROOT / "gbad").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Everything that a module imports, also inside functions, except for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(name: str, folders: tuple[str, ...]) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_form_a_star(path: Path) -> None:
    name, imports = name_of(path), imports_of(path)
    assert not {other for other in imports if below(other, ("pipelines", "tests", "notebooks"))}
    own = next((phase for phase in PHASES if below(name, (phase,))), None)
    if own is not None:
        assert not {other for other in imports if below(other, tuple(set(PHASES) - {own}) + TOGETHER)}
    elif not below(name, (*TOGETHER, "gbad.cli.app")):
        assert not {other for other in imports if below(other, PHASES)}, "only a few modules know the phases"


def test_only_the_command_line_and_the_demo_build_on_the_top() -> None:
    importers = {name_of(path) for path in MODULES if "gbad.workflows.predict" in imports_of(path)}
    assert importers == {"gbad.cli.app", "gbad.workflows.demo"}


def test_scripts_hold_no_logic() -> None:
    for path in sorted((ROOT / "pipelines").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.For))]
        assert {other for other in imports_of(path) if below(other, ("gbad",))} <= {
            "gbad.cli.app", "gbad.cli.app.main", "gbad.cli.app.phase_script",
        }  # fmt: skip


def test_no_module_is_longer_than_400_lines() -> None:
    assert not {name_of(path) for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 400}
