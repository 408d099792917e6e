from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gbad import GbadError
from gbad.pipeline import GBADPipeline
from gbad.training.fitted import FittedGBAD
from gbad.workflows import formats
from gbad.workflows.formats import check_format
from gbad.workflows.predict import predict


@pytest.fixture(scope="module")
def inputs(train_paths: list[Path]) -> list[Path]:
    return [*train_paths[:20], train_paths[0].with_name("missing.jpg"), *train_paths[20:40]]


@pytest.fixture(scope="module")
def expected(pipeline: GBADPipeline, inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows as CSV."""
    out = tmp_path_factory.mktemp("csv") / "scores.csv"
    predict(pipeline, inputs, out)
    return pd.read_csv(out, dtype=object, keep_default_na=False)


def check_rows(rows: list[dict[str, Any]], expected: pd.DataFrame) -> None:
    assert list(rows[0]) == list(expected.columns)
    for column in expected.columns:
        for row, text in zip(rows, expected[column], strict=True):
            value = row[column]
            if column in formats.TEXTS:
                assert value == text
            elif text == "":
                assert value is None
            else:
                assert type(value) is (int if column in formats.WHOLE else float)
                assert value == float(text)  # to the last digit


def test_json_lines_hold_the_rows_of_the_csv(
    pipeline: GBADPipeline, inputs: list[Path], expected: pd.DataFrame, tmp_path: Path
) -> None:
    predict(pipeline, inputs, tmp_path / "scores.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert rows[20]["status"] == "missing"
    assert rows[20]["classes"] == []
    assert any(row["classes"] for row in rows)
    for row in rows:  # nested, where a CSV has texts
        row["classes"] = "; ".join(row["classes"])
        row["boxes"] = json.dumps(row["boxes"]) if row["boxes"] else ""
    check_rows(rows, expected)
    assert os.listdir(tmp_path) == ["scores.jsonl"]


def test_parquet_holds_the_rows_of_the_csv(
    pipeline: GBADPipeline, inputs: list[Path], expected: pd.DataFrame, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    predict(pipeline, inputs, tmp_path / "scores.PARQUET")
    check_rows(parquet.read_table(tmp_path / "scores.PARQUET").to_pylist(), expected)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_interrupted_run_goes_on(
    pipeline: GBADPipeline, inputs: list[Path], tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:  # fmt: skip
    """While images are scored, and while the rows are converted."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"scores{suffix}"
    predict(pipeline, inputs, whole)
    explain, scored = FittedGBAD.explain, []

    def interrupt(fitted: FittedGBAD, images: np.ndarray) -> Any:
        if scored:
            raise KeyboardInterrupt
        scored.append(len(images))
        return explain(fitted, images)

    with monkeypatch.context() as patch:
        patch.setattr(FittedGBAD, "explain", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict(pipeline, inputs, out)
    assert scored == [31]
    with monkeypatch.context() as patch:
        patch.setattr("gbad.workflows.resume.convert", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict(pipeline, inputs, out)
    monkeypatch.setattr(FittedGBAD, "explain", lambda *args: pytest.fail("an image was scored again"))
    part = Path(f"{out}.part")
    shutil.copy(part, tmp_path / "kept")
    with full_disk(1000), pytest.raises(GbadError, match="cannot be written"):
        predict(pipeline, inputs, out)
    assert part.read_bytes() == (tmp_path / "kept").read_bytes()
    assert not out.exists()
    predict(pipeline, inputs, out)
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def test_an_unknown_suffix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for out in ("scores.txt", "scores", "scores.json"):
        with pytest.raises(GbadError, match=r"names no format of scores. Give \.csv, \.jsonl, \.parquet, or -"):
            check_format(out)
    for out in ("scores.csv", "-", "a.b/scores.JSONL"):
        check_format(out)
    monkeypatch.setattr("gbad.workflows.formats.find_spec", lambda name: None)
    with pytest.raises(GbadError, match=r"pip install 'gbad\[parquet\]'"):
        check_format("scores.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_scores_of_each_format_are_replaced_by_scores_and_other_files_stay(
    pipeline: GBADPipeline, train_paths: list[Path], tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"scores{suffix}"
    for _ in range(2):
        predict(pipeline, train_paths[:1], out)
    out.write_text("something else that is precious")
    with pytest.raises(GbadError, match="will not be replaced, since it is no list of scores"):
        predict(pipeline, train_paths[:1], out)
    assert out.read_text() == "something else that is precious"
