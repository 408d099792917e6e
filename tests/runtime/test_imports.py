"""Modules that load when they are first used, and what a first score does not load."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from gbad.runtime.imports import postpone, uncollected

# Each takes a tenth of a second or more, and only training or drawing needs it.
NOT_NEEDED = (
    *("accelerate", "matplotlib", "torchvision", "gbad.data.simulate", "scipy.stats._stats_py"),
    *("scipy.optimize", "scipy.interpolate", "scipy.spatial"),
    *("sklearn.svm", "sklearn.metrics", "sklearn.ensemble", "sklearn.covariance", "sklearn.linear_model"),
)

NAME = "a_module_that_is_slow"


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that tells of being loaded, and has a module of its own."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "__init__.py").write_text(f"import sys\nsys.{NAME} = True\nvalue = 3\n")
    (tmp_path / NAME / "part.py").write_text("other = 4\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield NAME
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]
    monkeypatch.delattr(sys, NAME, raising=False)


def test_a_postponed_module_loads_when_it_is_used(slow: str) -> None:
    postpone(slow)
    module = import_module(slow)
    assert not hasattr(module, "__file__")
    assert not hasattr(sys, slow)
    assert module.value == 3
    assert hasattr(sys, slow)
    assert import_module(slow) is not module
    assert (module.value, import_module(slow).value) == (3, 3)
    with pytest.raises(AttributeError, match="nothing_of_it"):
        _ = module.nothing_of_it


def test_a_module_in_a_postponed_package_loads_the_package(slow: str) -> None:
    postpone(slow)
    assert import_module(f"{slow}.part").other == 4
    assert hasattr(sys, slow)


def test_a_module_that_is_loaded_stays(slow: str) -> None:
    module = import_module(slow)
    postpone(slow)
    assert import_module(slow) is module


def test_a_module_that_is_not_there_is_told_when_it_is_used() -> None:
    postpone("no_such_module_at_all")
    module = import_module("no_such_module_at_all")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        _ = module.value


def test_garbage_is_looked_for_again_as_before() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with suppress(ImportError), uncollected():
        import_module("no_such_module_at_all")
    assert gc.isenabled()
    with uncollected(), uncollected():
        pass
    assert gc.isenabled()


def test_a_first_score_does_not_load_what_training_needs(dataset: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from gbad.cli.app import app\n"
        "try:\n"
        f"    app(['predict', {str(next((dataset / 'JPEGImage').iterdir()))!r}, '--out', 'scores.csv', '--quiet'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"print([name for name in {NOT_NEEDED} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert (tmp_path / "scores.csv").exists()


def test_the_package_lists_its_public_names_before_they_are_loaded() -> None:
    """Tab completion in a notebook offers them."""
    code = "import gbad\nassert 'load' in dir(gbad)\nassert all(getattr(gbad, name) for name in dir(gbad))"
    subprocess.run([sys.executable, "-c", code], check=True)
