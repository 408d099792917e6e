"""What a script relies on: inputs by lists and patterns, formats, ``--quiet``, ``--json``, exit statuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gbad.data.simulate import simulate_dataset
from gbad.data.simulate.looks import WHITE
from gbad.data.simulate.physics import as_shown
from gbad.pipeline import GBADPipeline

Command = Callable[..., Any]


def paths_of(out: Path) -> list[str]:
    return pd.read_csv(out)["path"].tolist()


def test_predict_takes_names_from_a_list_a_pattern_and_standard_input(
    gbad_command: Command, pipeline_file: Path, train_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, listed = tmp_path / "scores.csv", tmp_path / "list.txt"
    listed.write_text(f"{train_paths[2]}\n{train_paths[0]}\n")
    expected = [str(train_paths[2]), str(train_paths[0])]
    assert gbad_command("predict", pipeline_file, "--from", listed, "--out", out).status == 0
    assert paths_of(out) == expected
    pattern = train_paths[0].with_name("P0000[12].jpg")
    outcome = gbad_command("predict", pipeline_file, pattern, "--from", listed, "--out", out)
    assert outcome.status == 0, outcome.err
    assert paths_of(out) == [str(train_paths[0].with_name(f"P0000{number}.jpg")) for number in (1, 2)] + expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.read_bytes())))
    outcome = gbad_command("predict", pipeline_file, "-", "--out", out, "--quiet")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert paths_of(out) == expected
    outcome = gbad_command("predict", pipeline_file, "--out", out)
    assert outcome.status == 2
    assert "name images or folders, or give --from FILE" in outcome.err


def test_json_is_all_of_standard_output(
    gbad_command: Command, pipeline_file: Path, dataset: Path, train_paths: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "scores.jsonl"
    outcome = gbad_command("predict", pipeline_file, train_paths[0], tmp_path / "no.png", "--out", out, "--json")
    assert outcome.status == 3
    summary = json.loads(outcome.out)
    counts = {"pipeline": str(pipeline_file), "images": 2, "alarms": 0, "unfamiliar": 0, "bad": 1, "lost": 0}
    assert {**summary, "alarms": 0} == {**counts, "scores": str(out), "pictures": None}
    assert len(out.read_text().splitlines()) == 2
    outcome = gbad_command("predict", pipeline_file, train_paths[0], "--out", "-", "--json")
    assert outcome.status == 1
    assert "Give --out a file" in outcome.err

    outcome = gbad_command("check", dataset, "--out", tmp_path / "check.csv", "--json", "--quiet")
    summary = json.loads(outcome.out)
    assert (outcome.status, outcome.err) == (0, "")
    assert (summary["complete"], summary["findings"]) == (True, {})
    assert summary["lists"][0]["classes"]["Gun"] > 0


def test_refit_says_what_it_chose(gbad_command: Command, trained: Any, tmp_path: Path) -> None:
    outcome = gbad_command("refit", trained.folder, "--out", tmp_path / "refit", "--set", "gate.C=3", "--alpha", 0.5,
                           "--suppression", "soft")  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "Chosen: soft gate of strength α = 0.5; heads' share 0; thresholds Gun " in outcome.out
    settings = json.loads((tmp_path / "refit" / "run.json").read_text())["settings"]
    assert (settings["gate"]["C"], settings["alpha"]) == (3, 0.5)
    outcome = gbad_command("refit", trained.folder, "--out", tmp_path / "again", "--json", "--quiet")
    assert (outcome.status, outcome.err) == (0, "")
    assert set(json.loads(outcome.out)["phase3"]["thresholds"]) == set(trained.data.classes)
    outcome = gbad_command("refit", trained.folder, "--out", tmp_path / "other", "--set", "epochs=3")
    assert outcome.status == 1
    assert "epochs: phases 1 and 2 depend on it" in outcome.err


def test_an_evaluation_on_some_of_the_classes(
    gbad_command: Command, pipeline_file: Path, own_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gbad.workflows.evaluate.save_plots", lambda *args, **options: None)
    monkeypatch.setattr("gbad.workflows.evaluate.report_on", lambda *args, **options: None)
    listed = own_dataset / "ImageSet" / "10" / "test.csv"
    table = pd.read_csv(listed)
    table[["name", "Scissors", "Gun"]].to_csv(listed, index=False)
    outcome = gbad_command("evaluate", pipeline_file, own_dataset, "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("missing") == 9  # three classes: prevalence, and AP by both methods
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [name for name, ap in metrics["gbad"]["per_class_ap"].items() if ap is None] == ["Knife", "Wrench", "Pliers"]
    assert metrics["n_positive"]["Gun"] == (table["Gun"] == 1).sum()
    present = [metrics["gbad"]["per_class_ap"][name] for name in ("Gun", "Scissors")]
    assert metrics["gbad"]["map"] == pytest.approx(np.mean(present))
    outcome = gbad_command("evaluate", pipeline_file, own_dataset, "--out", tmp_path / "out", "--json", "--quiet")
    assert json.loads(outcome.out)["gbad"] == metrics["gbad"]


def test_a_wrong_pipeline_is_told_at_once(run_python: Command, dataset: Path, tmp_path: Path) -> None:
    """Before PyTorch is imported, which takes seconds."""
    image = next((dataset / "JPEGImage").iterdir())
    absent = tmp_path / "nothing.joblib"
    for command, wrong, message in (
        (["evaluate", absent, dataset], absent, "no such file"),
        (["predict", absent, image], absent, "no such file"),
        (["calibrate", absent, image], absent, "no such file"),
    ):
        arguments = ["gbad", *map(str, command)]
        code = (
            f"import sys, atexit\nsys.argv = {arguments!r}\n"
            "atexit.register(lambda: print('torch' in sys.modules))\nimport gbad.cli.app\ngbad.cli.app.main()"
        )
        outcome = run_python("-c", code)
        assert outcome.status == 1
        assert f"{wrong}: {message}" in outcome.err
        assert outcome.out.strip() == "False"


def test_labels_that_fit_a_pipeline(gbad_command: Command, tmp_path: Path) -> None:
    for name in ("in/Gun/a.jpg", "in/Hammer/b.jpg", "in/Hammer/a.jpg", "in/normal/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    out = tmp_path / "test.csv"
    outcome = gbad_command("labels", tmp_path / "in", "--out", out, "--classes", "Knife, Gun")
    assert outcome.status == 0, outcome.err
    assert out.read_text() == "name,Knife,Gun\na,-1,1\nb,-1,-1\nc,-1,-1\n"
    assert "Left out: Hammer 2. Threat-free without them: 1 image." in outcome.out
    outcome = gbad_command("labels", tmp_path / "in", "--out", out, "--classes", "Gun,Gun")
    assert "name each class once" in outcome.err


@pytest.fixture(scope="module")
def raw_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 training and 2 test images with their raw channels. Not to be changed."""
    data = tmp_path_factory.mktemp("raw") / "data"
    simulate_dataset(data, train_positives=2, test_positives=1, negatives_per_positive=1, size=64, workers=1, raw=True)
    return data


def test_raw_channels_are_checked_and_scored_as_what_the_console_shows(
    gbad_command: Command, pipeline: GBADPipeline, pipeline_file: Path, raw_dataset: Path, tmp_path: Path
) -> None:
    outcome = gbad_command("check", raw_dataset, "--out", tmp_path / "check.csv")
    assert outcome.status == 0, outcome.out
    assert "0 findings" in outcome.out
    out = tmp_path / "scores.csv"
    assert gbad_command("predict", pipeline_file, raw_dataset / "Raw", "--out", out).status == 0
    assert paths_of(out) == [str(path) for path in sorted((raw_dataset / "Raw").glob("*_low.png"))]
    low = raw_dataset / "Raw" / "P00001_low.png"
    channels = [np.asarray(Image.open(path)) for path in (low, low.with_name("P00001_high.png"))]
    Image.fromarray(as_shown(np.stack(channels).astype(np.uint16), WHITE)).save(tmp_path / "shown.png")
    np.testing.assert_allclose(pipeline.predict_proba(low), pipeline.predict_proba(tmp_path / "shown.png"), rtol=1e-12)
    (tmp_path / "lists").mkdir()
    for part in ("Raw", "ImageSet", "Annotation"):  # a data set of raw channels alone
        (tmp_path / "lists" / part).symlink_to(raw_dataset / part)
    outcome = gbad_command("check", tmp_path / "lists", "--out", tmp_path / "check.csv")
    assert outcome.status == 0, outcome.out
    assert "0 findings" in outcome.out


def test_a_terminal_that_is_not_utf_8_shows_escapes(tmp_path: Path) -> None:
    (tmp_path / "in" / "Gun").mkdir(parents=True)
    (tmp_path / "in" / "Gun" / "a.jpg").touch()
    command = [sys.executable, "-m", "gbad", "labels", "in", "--out", "α é.csv"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("latin-1").strip() == r"1 image in \u03b1 é.csv: Gun 1"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("out", ["list.csv", "-"])
def test_a_full_disk_behind_standard_output_is_told_in_words(out: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "Gun").mkdir(parents=True)
    (tmp_path / "in" / "Gun" / "a.jpg").touch()
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gbad", "labels", "in", "--out", out]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard output: No space left on device. Free some space" in done.stderr


def test_a_run_without_a_terminal_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from gbad.runtime.progress import progress_bar

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gbad.runtime.progress.EVERY", 0.05)
        with progress_bar("scoring [1]", 2000) as advance:
            advance(500)
            deadline = time.monotonic() + 20
            text = ""
            while "500 of 2,000" not in text and time.monotonic() < deadline:
                time.sleep(0.05)
                text += capsys.readouterr().err
            advance(1500)
    assert "scoring [1]: 500 of 2,000 images, " in text
    assert " left\n" in text
    assert text[:2] == "20"  # a date as of ISO 8601
    assert capsys.readouterr().err.endswith("images/s\n")
    assert os.environ.get("FORCE_COLOR") is None
