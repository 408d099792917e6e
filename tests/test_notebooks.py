from __future__ import annotations

import ast
import base64
import io
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALLER = {r"^POSITIVES = \d+": "POSITIVES = 30", r"^EPOCHS = \d+": "EPOCHS = 1"}

of_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def pictures(cells: list[Any]) -> list[str]:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


@of_notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client|zmq|tornado|nbclient")
def test_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for pattern, smaller in SMALLER.items():
            cell.source = re.sub(pattern, smaller, cell.source, flags=re.MULTILINE)
    assert all(smaller in "\n".join(cell.source for cell in notebook.cells) for smaller in SMALLER.values())
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert len(pictures(notebook.cells)) == len(pictures(code(path)))


@of_notebook
def test_notebook_is_stored_with_its_pictures(path: Path) -> None:
    cells = code(path)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]  # run from top to bottom
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert len(pictures(cells)) >= 6
    for picture in pictures(cells):
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert min(image.size) > 150
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
    assert len(text) < 2_500_000


@of_notebook
def test_notebook_imports_what_the_reference_describes(path: Path) -> None:
    """A reader may use what it shows: modules of the reference, and no name with an underscore."""
    build = ast.parse((ROOT / "docs" / "build.py").read_text(encoding="utf-8"))
    (value,) = [node.value for node in build.body if isinstance(node, ast.Assign) and node.targets[0].id == "REFERENCE"]  # type: ignore[attr-defined]
    patterns = [pattern for _, modules in ast.literal_eval(value).values() for pattern in modules]
    for cell in code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gbad."):
                name = str(node.module).removeprefix("gbad.").replace(".", "/")
                is_described = any(fnmatch(name, pattern) or pattern.startswith(f"{name}/") for pattern in patterns)
                assert is_described, f"{node.module} is not in the reference"
                assert not [alias.name for alias in node.names if alias.name.startswith("_")]
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_"), node.attr
