"""Scores of a benchmark that were kept and put back are those that it had, to three digits; its tables stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gbad.benchmarks.paper.inference import Scores

Script = Callable[[str], ModuleType]


def make_cell(folder: Path, *, tested: bool = True) -> Scores:
    """A cell as a benchmark leaves it, with a network that is not kept."""
    generator = np.random.default_rng(0)
    scores = Scores(
        np.arange(50).astype(str), 9 * generator.standard_normal((50, 2)),
        second_look=np.where(generator.random((50, 2)) < 0.5, np.nan, -3.2), log_gated=np.full((50, 2), -np.inf),
        losses=generator.uniform(0, 1e6, (50, 2)), thresholds=np.array([0.25, 0.5]), anomalous=np.arange(50) < 9,
    )  # fmt: skip
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "run.json").write_text('{"data": "/of/a/machine", "hardware": {}, "versions": {"gbad": "0.1.0"}}')
    (folder / "run" / "pipeline.joblib").write_text("large")
    scores.save(folder / "validation.npz")
    if tested:
        scores.save(folder / "test-ab" / "scores.npz")
        (folder / "test-ab" / "done.json").write_text('{"result": {"seconds": 1.5, "images": 50}}')
    (folder / "done.json").write_text('{"result": {"epochs": 3}}')
    return scores


def test_a_cell_that_was_kept_and_put_back_is_the_same(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("studies/kept_cells.py")
    scores = make_cell(tmp_path / "out" / "cells" / "gbad-seed0-1f")
    make_cell(tmp_path / "out" / "cells" / "gbad-seed1-2f", tested=False)
    module.main(["keep", str(tmp_path / "out"), str(tmp_path / "kept")])
    assert capsys.readouterr().out == "1 copied\ngbad-seed0-1f\n"
    module.main(["restore", str(tmp_path / "kept"), str(tmp_path / "new")])
    (cell,) = (tmp_path / "new" / "cells").iterdir()
    files = {file.relative_to(cell).as_posix() for file in cell.rglob("*") if file.is_file()}
    assert files == {"done.json", "validation.npz", "run/run.json", "test-ab/done.json", "test-ab/scores.npz"}
    assert json.loads((cell / "done.json").read_text()) == {"result": {"epochs": 3}}
    assert json.loads((cell / "run" / "run.json").read_text()) == {"hardware": {}, "versions": {"gbad": "0.1.0"}}
    for path in (cell / "validation.npz", cell / "test-ab" / "scores.npz"):
        found = Scores.load(path).arrays()
        assert found.keys() == scores.arrays().keys()
        for name, array in scores.arrays().items():
            assert found[name].dtype == array.dtype
            if array.dtype == np.float64:
                np.testing.assert_allclose(found[name], array, rtol=1e-3)
            else:
                np.testing.assert_array_equal(found[name], array)


def test_cells_that_are_there_stay(script: Script, tmp_path: Path) -> None:
    module = script("studies/kept_cells.py")
    make_cell(tmp_path / "out" / "cells" / "cell")
    module.main(["keep", str(tmp_path / "out"), str(tmp_path / "kept")])
    before = (tmp_path / "out" / "cells" / "cell" / "validation.npz").read_bytes()
    module.main(["restore", str(tmp_path / "kept"), str(tmp_path / "out")])
    assert (tmp_path / "out" / "cells" / "cell" / "validation.npz").read_bytes() == before
