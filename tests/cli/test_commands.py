from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from gbad.cli.terminal import ap_table
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.phase2_anomaly import BiGANDetector

Command = Callable[..., Any]
QUICK = ("--backbone", "resnet18", "--no-pretrained", "--size", 64, "--epochs", 1, "--fpn-width", 8,
         "--no-second-look")  # fmt: skip


@pytest.fixture
def nothing_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gbad.training.phases.fit_phase1", lambda *args, **options: pytest.fail("training began"))


def rewrite(data: Path, change: Callable[[str], str], part: str = "train") -> Path:
    path = data / "ImageSet" / "10" / f"{part}.csv"
    path.write_text(change(path.read_text()))
    return path


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("simulate", ["--subset", "--train-positives", "--test-positives", "--size", "--seed",
                      "--negatives-per-positive"]),
        ("project", ["--threats", "--subset", "--train-positives", "--test-positives", "--size", "--seed"]),
        ("check", ["--subset", "--mislabelled"]),
        ("train", ["--subset", "--out", "--backbone", "--size", "--epochs", "--seed", "--pretrained",
                   "--no-pretrained"]),
        ("evaluate", ["--subset", "--out"]),
        ("predict", ["--out"]),
        ("benchmark-detectors", ["--data", "--protocol", "--detectors", "--classes", "--epochs", "--seeds", "--out"]),
        ("demo", ["--out", "--seed"]),
    ],
)  # fmt: skip
def test_the_promised_forms_exist(command: str, options: list[str], gbad_command: Command) -> None:
    outcome = gbad_command(command, "--help")
    assert outcome.status == 0
    for option in options:
        assert option in outcome.out


def test_help_and_usage_errors_need_no_large_package(run_python: Command) -> None:
    code = (
        "import sys, gbad.cli.app\nassert not {'torch', 'numpy'} & sys.modules.keys()\n"
        "sys.argv = ['gbad', 'train']\ngbad.cli.app.main()"
    )
    outcome = run_python("-c", code)
    assert outcome.status == 2
    assert "Missing argument" in outcome.err


def test_simulate_check_train_evaluate_predict(
    gbad_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk of the README, in a folder whose name asks for quotation marks."""
    monkeypatch.setitem(BiGANDetector.__init__.__kwdefaults__, "min_steps", 50)
    root = tmp_path / "a [bold] folder"
    data, run, out = root / "data", root / "run", root / "evaluation"
    outcome = gbad_command(
        "simulate", data, "--subset", 10, "--train-positives", 12, "--test-positives", 6, "--size", 64, "--seed", 3,
        "--negatives-per-positive", 2, "--workers", 1,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert f"Next: gbad train '{data}' --subset 10 --out runs/simulated" in outcome.out
    assert len(read_sixray(data, 10, "train")) == 36

    outcome = gbad_command("check", data, "--subset", 10, "--out", root / "check.csv")
    assert outcome.status == 0, outcome.out + outcome.err
    assert "complete" in outcome.out

    outcome = gbad_command("train", data, "--subset", 10, "--out", run, *QUICK, "--seed", 5)
    assert outcome.status == 0, outcome.err
    assert f"Next: gbad evaluate '{run / 'pipeline.joblib'}' '{data}'" in outcome.out

    outcome = gbad_command("evaluate", run / "pipeline.joblib", data, "--subset", 10, "--out", out)
    assert outcome.status == 0, outcome.err
    assert "classifier alone" in outcome.out
    assert str(out / "report.html") in outcome.out
    assert json.loads((out / "metrics.json").read_text())["seed"] == 5

    images = image_paths(data, read_sixray(data, 10, "test").names)
    bad = root / "bad.jpg"
    bad.touch()
    inputs = [images[0], bad, images[0], root / "missing"]
    outcome = gbad_command("predict", run / "pipeline.joblib", *inputs, "--out", root / "scores.csv")
    assert outcome.status == 3, outcome.err
    assert "4 images, " in outcome.out
    assert "2 that cannot be used" in outcome.out
    assert pd.read_csv(root / "scores.csv")["status"].tolist() == ["ok", "unreadable", "ok", "missing"]
    outcome = gbad_command("predict", run / "pipeline.joblib", bad, bad, "--out", root / "scores.csv")
    assert outcome.status == 1
    assert f"none of 2 images can be used; the column reason of {root / 'scores.csv.part'} says why" in outcome.err
    assert len(pd.read_csv(root / "scores.csv")) == 4  # a finished file stays
    outcome = gbad_command("predict", run / "pipeline.joblib", images[0], "--out", images[0])
    assert outcome.status == 1
    assert "will not be replaced, since it is no list of scores" in outcome.err
    outcome = gbad_command("predict", run / "pipeline.joblib", images[0], "--out", "-")
    assert outcome.out.startswith("path,status,reason,")
    assert outcome.err.rstrip().endswith("Scores in -.")
    for option in (("--strict",), ("--max-bad", 0.1)):
        outcome = gbad_command("predict", run / "pipeline.joblib", *inputs, *option, "--out", root / "scores.csv")
        assert outcome.status == 1
        assert "bad.jpg: the file is empty" in outcome.err


def test_class_names_and_missing_figures_in_the_table() -> None:
    console = Console(width=100, file=StringIO())
    per_class = {"[red]Gun": 0.5, "Pliers": float("nan")}
    method = {"map": 0.5, "per_class_ap": per_class}
    metrics = {
        "subset": "[10]", "n_images": 1234, "classes": list(per_class), "n_positive": {"[red]Gun": 1000, "Pliers": 0},
        "prevalence": {"[red]Gun": 0.25, "Pliers": None}, "ungated": method, "gbad": method, "first_look": method,
        "looked_twice": {"threats": 0.0, "threat_free": None},
    }  # fmt: skip
    console.print(ap_table(metrics))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("subset [10]", "1,234", "[red]Gun", "1,000", "25.0", "missing"):
        assert expected in text
    assert text.count("missing") == 3
    assert "first look" not in text
    console.print(ap_table(metrics | {"looked_twice": {"threats": 0.5, "threat_free": 0.2}}))
    assert "first look" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("nothing_trained")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("name,Gun", "image,Gun"), "line 1: the header must begin with 'name'"),
        (lambda text: text.replace("Gun", "status"), "no class may be called 'status'"),
        (lambda text: text.replace("Gun", "gate_score"), "no class may be called 'gate_score'"),
        (lambda text: text.replace("Knife", "Gun"), "the column 'Gun' occurs twice"),
        (lambda text: text.replace(",1", ",2", 1), "the value '2' is neither 1 (present) nor -1"),
        (lambda text: text + text.splitlines()[1] + "\n", "was on line 2 already"),
        (lambda text: text.splitlines()[0] + "\n", "a header but no rows"),
        (lambda text: "", "empty"),
        (lambda text: text.replace(",1", ",-1"), "0 images with threats and 72 without"),
        (lambda text: text + "../../etc/passwd,1,1,1,1,1\n", "path separator"),
    ],
    ids=["no name column", "class status", "class gate_score", "class twice", "unknown value", "name twice", "no row",
         "empty", "no threat", "name of a path"],
)  # fmt: skip
def test_bad_lists_are_refused_before_anything_is_written(
    change: Callable[[str], str], message: str, gbad_command: Command, own_dataset: Path, tmp_path: Path
) -> None:
    path = rewrite(own_dataset, change)
    outcome = gbad_command("train", own_dataset, "--subset", 10, "--out", tmp_path / "run", *QUICK)
    assert outcome.status == 1
    assert "error:" in outcome.err
    assert message in outcome.err
    assert str(path) in outcome.err or "class" in message or "images" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("always:.*of 0 count")
def test_zeros_in_a_list_give_one_warning(
    gbad_command: Command, own_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for phase in (1, 2, 3):
        monkeypatch.setattr(f"gbad.training.phases.fit_phase{phase}", lambda *args, **options: None)
    rewrite(own_dataset, lambda text: text.replace("-1", "0", 7))
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("py.warnings").addHandler(handler)
    gbad_command("train", own_dataset, "--out", tmp_path / "run", "--stop-after", 1, *QUICK)
    logging.getLogger("py.warnings").removeHandler(handler)
    path = own_dataset / "ImageSet" / "10" / "train.csv"
    assert logged == [f"{path}: 7 values of 0 count as -1 (absent)."]


@pytest.mark.usefixtures("nothing_trained")
def test_folders_that_hold_no_data_are_refused(gbad_command: Command, own_dataset: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        for command in (("train", folder, "--out", tmp_path / "run"), ("check", folder)):
            outcome = gbad_command(*command)
            assert outcome.status == 1
            assert str(folder) in outcome.err
    outcome = gbad_command("train", own_dataset, "--subset", 1000, "--out", tmp_path / "run")
    assert outcome.status == 1
    assert "Subsets with lists here: 10" in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images_stops_the_training(gbad_command: Command, own_dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_dataset / "JPEGImage")
    outcome = gbad_command("train", own_dataset, "--out", tmp_path / "run", *QUICK)
    assert outcome.status == 1
    assert "1 of 72 images cannot be used, more than the 1.0% tolerated" in outcome.err
    assert "bad_images.csv" in outcome.err
    assert "gbad check` on the data, or raise --max-bad" in outcome.err.replace("\n", " ")
    outcome = gbad_command("check", own_dataset, "--out", tmp_path / "check.csv")
    assert outcome.status == 1
    assert len(pd.read_csv(tmp_path / "check.csv")) >= 108


@pytest.mark.usefixtures("nothing_trained")
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--backbone", "resnet43"), 1, "unknown --backbone 'resnet43'"),
        (("--epsilon", 0), 1, "--epsilon must be"),
        (("--validation-fraction", 1.5), 1, "--validation-fraction must be"),
        (("--learning-rate", -1), 1, "--learning-rate must be"),
        (("--gate-fit", "best"), 1, "unknown --gate-fit"),
        (("--architecture", "vit"), 1, "unknown --architecture 'vit'"),
        (("--architecture", "chr", "--chr-mask", "some"), 1, "unknown --chr-mask 'some'"),
        (("--architecture", "plain", "--position-weight", 1), 1, "--position-weight 1.0 needs the --architecture fpn"),
        (("--position-weight", -1), 2, "--position-weight"),
        (("--negatives", "half"), 1, "fixed, fresh, hard, natural, all"),
        (("--weights", "nothing.pth"), 1, "nothing.pth: no such file"),
        (("--precision", "fp16"), 1, "needs an accelerator"),
        (("--image-detector-size", 32), 1, "--image-detector-size needs an image-level detector"),
        (("--size", 16), 2, "--size"),
        (("--epochs", "many"), 2, "--epochs"),
        (("--epochs", -1), 2, "--epochs"),
        (("--epochs", 0), 1, "--epochs 0 keeps the classifier of a pipeline, but there is none to --start from"),
        (("--max-bad", 2), 2, "--max-bad"),
        (("--seed", -1), 2, "--seed"),
        (("--fast",), 2, "--fast"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_written(
    options: tuple[object, ...], status: int, message: str, gbad_command: Command, dataset: Path, tmp_path: Path
) -> None:
    outcome = gbad_command("train", dataset, "--out", tmp_path / "run", *options)
    assert outcome.status == status
    assert message in outcome.err
    assert not (tmp_path / "run").exists()


def test_the_simulator_refuses_a_subset_that_is_no_number(gbad_command: Command, tmp_path: Path) -> None:
    for subset in ("ten", 0):
        outcome = gbad_command("simulate", tmp_path / "data", "--subset", subset)
        assert outcome.status == 2
        assert "--subset" in outcome.err


def test_another_run_in_the_folder_is_refused(gbad_command: Command, dataset: Path, trained: Any) -> None:
    outcome = gbad_command("train", dataset, "--out", trained.folder, *QUICK)
    assert outcome.status == 1
    assert "holds a run with another" in outcome.err
    assert "epochs" in outcome.err
    assert "Choose another run folder" in outcome.err


def test_pipeline_files_that_cannot_be_used(
    gbad_command: Command, dataset: Path, pipeline_file: Path, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.joblib"
    truncated.write_bytes(pipeline_file.read_bytes()[:1000])
    for file, message in ((truncated, "damaged"), (tmp_path / "nothing.joblib", "no such file")):
        for command in (("evaluate", file, dataset, "--out", tmp_path / "out"), ("predict", file, tmp_path)):
            outcome = gbad_command(*command)
            assert outcome.status == 1
            assert message in outcome.err
            assert str(file) in outcome.err


def test_images_of_every_kind(gbad_command: Command, pipeline_file: Path, own_dataset: Path, tmp_path: Path) -> None:
    """An evaluation skips what it cannot use; the files behind the names may have any format."""
    out = tmp_path / "out"
    paths = image_paths(own_dataset, read_sixray(own_dataset, 10, "test").names)
    grey = (np.arange(4096) // 16).astype(np.uint8).reshape(64, 64)
    for path, image in ((paths[0], Image.new("CMYK", (64, 64))), (paths[1], Image.fromarray(grey))):
        path.unlink()
        image.save(path.with_suffix(".tif"))
    options = (pipeline_file, own_dataset, "--subset", 10, "--out", out)
    outcome = gbad_command("evaluate", *options)
    assert outcome.status == 1
    assert "1 of 36 images cannot be used, more than the 1.0% tolerated" in outcome.err
    assert not (out / "metrics.json").exists()
    outcome = gbad_command("evaluate", *options, "--strict")
    assert outcome.status == 1
    assert "colour mode CMYK" in outcome.err
    outcome = gbad_command("evaluate", *options, "--max-bad", 0.05)
    assert outcome.status == 0, outcome.err
    assert json.loads((out / "metrics.json").read_text())["n_bad"] == 1
    assert pd.read_csv(out / "bad_test_images.csv")["status"].tolist() == ["unsupported"]
    assert pd.read_csv(out / "scores.csv")["status"].tolist() == ["unsupported"] + ["ok"] * 35


def test_huge_images_are_refused_from_their_header(
    gbad_command: Command, pipeline_file: Path, dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(path)  # 50 kB
    good = image_paths(dataset, read_sixray(dataset, 10, "test").names)[0]
    outcome = gbad_command("predict", pipeline_file, path, good, "--out", tmp_path / "scores.csv")
    assert outcome.status == 3
    assert pd.read_csv(tmp_path / "scores.csv")["status"].tolist() == ["too_large", "ok"]
    outcome = gbad_command("predict", pipeline_file, path, "--strict", "--out", tmp_path / "scores.csv")
    assert "20000 × 20000 pixels, more than the limit of 100,000,000" in outcome.err


def test_calibrate_writes_a_new_file(gbad_command: Command, pipeline_file: Path, own_dataset: Path) -> None:
    image = image_paths(own_dataset, read_sixray(own_dataset, 10, "train").names)[0]
    for out in (pipeline_file, image):
        before = out.read_bytes()
        outcome = gbad_command("calibrate", pipeline_file, image, "--out", out)
        assert outcome.status == 1
        assert "since it is read as" in outcome.err
        assert out.read_bytes() == before


def test_check_and_labels_do_not_write_over_what_they_read(gbad_command: Command, own_dataset: Path) -> None:
    image, train = image_paths(own_dataset, read_sixray(own_dataset, 10, "train").names)[0], "ImageSet/10/train.csv"
    for out in (image, own_dataset / train, "/dev/null"):
        outcome = gbad_command("check", own_dataset, "--out", out)
        assert outcome.status == 1
        assert "cannot be written" in outcome.err
    annotation = next((own_dataset / "Annotation").rglob("*.xml"))
    outcome = gbad_command("labels", own_dataset / "Annotation", "--out", annotation)
    assert "since it is read as" in outcome.err
    assert gbad_command("check", own_dataset, "--out", "-").out == "part,name,path,problem,detail\n"


def test_a_full_disk_ends_with_a_message(
    gbad_command: Command,
    pipeline_file: Path,
    dataset: Path,
    tmp_path: Path,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("path,status,reason\n")
    with full_disk(5000):
        outcome = gbad_command("predict", pipeline_file, dataset, "--out", out)
    assert outcome.status == 1
    assert "scores cannot be written (File too large)" in outcome.err
    assert out.read_text() == "path,status,reason\n"


def test_ctrl_c_ends_with_a_message(
    gbad_command: Command, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gbad.workflows.predict.predict", interrupt)
    outcome = gbad_command("predict", pipeline_file, "image.png")
    assert outcome.status == 130
    assert "Interrupted. Run the same command again: it goes on behind the images" in outcome.err
    assert "training" not in outcome.err
    monkeypatch.setattr("gbad.data.check.check_dataset", interrupt)
    assert gbad_command("check", "data").err.strip() == "Interrupted."
    monkeypatch.setattr("gbad.training.run_folder.start_run", interrupt)
    outcome = gbad_command("train", "data")
    assert "Interrupted. Run the same command again: training goes on where it stopped." in outcome.err


def test_labels_of_a_folder_per_class(gbad_command: Command, tmp_path: Path) -> None:
    for name in ("in/Gun/a.jpg", "in/normal/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    out = tmp_path / "d[/old]" / "x.csv"
    outcome = gbad_command("labels", tmp_path / "in", "--out", out)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.strip() == f"2 images in {out}: Gun 1"
    assert out.read_text() == "name,Gun\na,1\nb,-1\n"
    outcome = gbad_command("labels", tmp_path / "in", "--out", "-", "--classes", "Knife")
    assert outcome.out == "name,Knife\na,-1\nb,-1\n"
    assert "Left out: Gun 1" in outcome.err
    assert "2 images in -: Knife 0" in outcome.err
    for name in ("gun", "Knife"):
        (tmp_path / "in" / name).mkdir()
    outcome = gbad_command("labels", tmp_path / "in", "--out", out)
    assert outcome.out.splitlines()[1:] == [
        "Several classes in upper and lower case: Gun, gun. If they are one, rename them."
    ]
    (tmp_path / "in" / "name").mkdir()
    outcome = gbad_command("labels", tmp_path / "in", "--out", out)
    assert outcome.status == 1
    assert "no class may be called 'name'" in outcome.err


def test_names_between_colons_stay_as_they_are(gbad_command: Command, tmp_path: Path) -> None:
    (tmp_path / "in" / "Gun").mkdir(parents=True)
    (tmp_path / "in" / "Gun" / "a.jpg").touch()
    out = tmp_path / "bags:x:1.csv"
    assert gbad_command("labels", tmp_path / "in", "--out", out).out.strip() == f"1 image in {out}: Gun 1"
    assert f"{tmp_path / 'no:x:1'}: no such folder" in gbad_command("labels", tmp_path / "no:x:1", "--out", out).err


def test_train_takes_another_detector_and_one_of_images(
    gbad_command: Command, dataset: Path, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gbad.training.phases.fit_phase1", lambda *args, **options: None)
    monkeypatch.setattr("gbad.training.phases.fit_phase2", lambda *args, **options: None)
    options = ["--detector", "neighbours", "--image-detector", "vae", "--image-detector-size", 32]
    options += ["--image-detector-epochs", 3, "--seed", 4]
    outcome = gbad_command("train", dataset, "--out", tmp_path / "run", *QUICK, *options, "--stop-after", 2)
    assert outcome.status == 0, outcome.err
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert settings["detector"] == "neighbours"
    assert settings["image_detector"]["kind"] == "vae"
    params = settings["image_detector"]["params"]
    assert (params["image_size"], params["epochs"]) == (32, 3)
    usual = gbad_command("train", dataset, "--out", tmp_path / "usual", *QUICK, "--stop-after", 2)
    assert usual.status == 0, usual.err
    settings = json.loads((tmp_path / "usual" / "run.json").read_text())["settings"]
    assert settings["detector"] == "bigan"
    assert settings["image_detector"] is None
    for option, value, known in (("--detector", "gan", "bigan, gaussian"), ("--image-detector", "gan", "ganomaly")):
        outcome = gbad_command("train", dataset, "--out", tmp_path / "other", *QUICK, option, value)
        assert outcome.status == 1
        assert f"'gan'; choose one of {known}" in outcome.err


def test_train_passes_the_options_of_phase_1_on(
    gbad_command: Command, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for phase in (1, 2, 3):
        monkeypatch.setattr(f"gbad.training.phases.fit_phase{phase}", lambda *args, **options: None)
    for number, options in enumerate(
        (
            {"architecture": "chr", "chr_mask": "released", "negatives": "natural"},
            {"architecture": "fpn", "position_weight": 0.5},
        )
    ):
        run = tmp_path / str(number)
        given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
        outcome = gbad_command("train", dataset, "--out", run, *QUICK, *given, "--stop-after", 1)
        assert outcome.status == 0, outcome.err
        settings = json.loads((run / "run.json").read_text())["settings"]
        assert {name: settings[name] for name in options} == options
