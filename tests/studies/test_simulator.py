from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image


def test_realism(
    script: Callable[[str], ModuleType], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, beside = tmp_path / "out", tmp_path / "private" / "beside.png"
    module = script("studies/simulator_realism.py")
    module.NEIGHBOURS = 4
    data = ("--real", dataset, "--most", 20, "--side-by-side", beside)
    module.main([*map(str, ("--n", 4, "--size", 64, "--workers", 1, "--out", out, *data))])
    table = pd.read_csv(out / "statistics.csv", index_col="statistic")
    assert len([name for name in table.index if name.startswith("colour")]) == 6
    assert table["AUC alone"].dropna().between(0.5, 1).all()
    assert table["value"].dropna().between(0, 1).all()
    assert "18 real threat-free bags and as many simulated ones" in capsys.readouterr().out
    for path in (out / "contact_sheet.png", beside):
        with Image.open(path) as picture:
            assert picture.width > 100
    assert sorted(path.name for path in out.iterdir()) == ["contact_sheet.png", "statistics.csv"]  # no real image


def test_real_images_stay_outside_the_repository(
    script: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("studies/simulator_realism.py")
    for beside in (module.REPOSITORY / "beside.png", tmp_path / "out" / "beside.png"):
        with pytest.raises(SystemExit):
            module.main(["--real", "data", "--out", str(tmp_path / "out"), "--side-by-side", str(beside)])
        assert "outside the repository" in capsys.readouterr().err


def test_too_few_real_images_are_refused(
    script: Callable[[str], ModuleType], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--real", dataset, "--n", 2, "--size", 64, "--out", tmp_path)
    with pytest.raises(SystemExit):
        script("studies/simulator_realism.py").main([*map(str, options)])
    assert "72 threat-free images are too few" in capsys.readouterr().err


@pytest.mark.parametrize("stored", [False, True])
def test_shortcuts(
    script: Callable[[str], ModuleType], dataset: Path, tmp_path: Path, stored: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ("--data", dataset) if stored else ("--positives", 20, "--size", 64, "--seeds", 1, "--workers", 1)
    options = (*source, "--resamples", 5, "--out", tmp_path / "shortcuts.csv")
    script("studies/simulator_shortcuts.py").main([*map(str, options)])
    table = pd.read_csv(tmp_path / "shortcuts.csv", index_col="feature")
    assert ("metal share, raw channels" in table.index) == (not stored)
    assert table["AUC"].between(0, 1).all()
    assert (table["95 % low"] <= table["95 % high"]).all()
    told = "72 training and 36 test images, 1 folders" if stored else "20 + 20 scans, 64 px, 1 seeds"
    assert table["made_with"].str.startswith(told).all()
    assert told in capsys.readouterr().out


def test_interval_of_the_mean_auc(script: Callable[[str], ModuleType]) -> None:
    truth = np.repeat([0, 1], 50)
    scores = np.random.default_rng(0).standard_normal(100) + truth
    low, high = script("studies/simulator_shortcuts.py").bootstrap_auc([(truth, scores)], 50)
    assert 0.6 < low < high < 0.95
