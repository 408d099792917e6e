from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gbad
from gbad import DataError, GbadError, RunError
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray
from gbad.errors import ImageError, TooManyBadImagesError
from gbad.phase2_anomaly import BiGANDetector, GaussianDetector, NearestNeighboursDetector, VAEDetector
from gbad.pipeline import GBADPipeline
from gbad.storage.ledger import locked
from gbad.training.run_folder import Run, open_run, start_run
from gbad.workflows.train import refit, train

Make = Callable[..., GBADPipeline]
OPTIONS = ["--backbone", "resnet18", "--no-pretrained", "--size", 64, "--epochs", 3, "--fpn-width", 8,
           "--pooling", "max", "--seed", 3, "--no-second-look"]  # fmt: skip

# Runs a script with the tests' backbone, and a BiGAN that trains for two seconds instead of twenty.
SHORT = """
import runpy, sys
import pytest
sys.path.insert(0, "tests")
from tiny_backbone import install
from gbad.phase2_anomaly import BiGANDetector
install(pytest.MonkeyPatch())
BiGANDetector.__init__.__kwdefaults__["min_steps"] = 80
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ROOT = Path(__file__).parents[2]
TRAIN = ("-c", SHORT, "gbad/cli/__main__.py", "train")


@pytest.fixture
def no_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the phases themselves."""
    for phase in (1, 2, 3):
        monkeypatch.setattr(f"gbad.training.phases.fit_phase{phase}", lambda *args, **options: None)


@pytest.fixture(scope="module")
def unbroken(dataset: Path, tmp_path_factory: pytest.TempPathFactory, run_python: Callable[..., Any]) -> Path:
    """What ``gbad train`` gives when nobody kills it, in a process of its own."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    outcome = run_python(*TRAIN, dataset, "--subset", 10, "--out", folder, *OPTIONS)
    assert outcome.status == 0, outcome.err
    assert f"Next: gbad evaluate {folder}/pipeline.joblib {dataset}" in outcome.out
    return folder


@pytest.fixture
def short_bigan(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `SHORT`, in this process."""
    monkeypatch.setitem(BiGANDetector.__init__.__kwdefaults__, "min_steps", 80)


def assert_same_pipeline(one: Path, other: Path, data: Path) -> None:
    paths = image_paths(data, read_sixray(data, 10, "test").names)
    expected, found = (gbad.load(folder / "pipeline.joblib").explain(paths) for folder in (one, other))
    assert np.ptp(expected.logits, axis=0).min() > 1e-3
    for name in ("logits", "losses", "gate_score", "gated"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-6, err_msg=name)
    # Equal seeds give equal files on one machine: seconds and dates stay in the run folder.
    files = [(folder / "pipeline.joblib").read_bytes() for folder in (one, other)]
    assert files[0] == files[1], "the files differ"


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"ended too early, status {process.returncode}: {process.communicate()[1]}")
        time.sleep(0.01)


def stop(process: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str]:
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_a_run_that_was_killed_twice_and_interrupted_ends_like_an_unbroken_one(
    unbroken: Path, dataset: Path, tmp_path: Path, start: Callable[..., subprocess.Popen[str]],
    gbad_command: Callable[..., Any], short_bigan: None,
) -> None:  # fmt: skip
    """Killed in phase 1 and while features are made or the BiGAN is trained; Ctrl-C after the first checkpoint."""
    run = tmp_path / "run"
    command = [*TRAIN, dataset, "--subset", "10", "--out", run, *OPTIONS]

    process = start(*command)
    wait_for(process, lambda: (run / "phase1" / "checkpoint-0001.pt").exists())
    assert stop(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (run / "phase1" / "done.json").exists()

    process = start(*command)
    wait_for(process, lambda: (run / "phase1" / "checkpoint-0002.pt").exists())
    status, err = stop(process, signal.SIGINT)
    assert status == 130, err
    assert "Interrupted" in err
    assert "same command" in err
    assert "Traceback" not in err
    assert "Aborted" not in err
    assert not list(run.rglob(".*")), "half-written files"

    process = start(*command)
    wait_for(process, lambda: (run / "phase2" / "features" / "rows.i64").exists())
    assert stop(process, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (run / "pipeline.joblib").exists()

    outcome = gbad_command("train", *command[len(TRAIN) :])
    assert outcome.status == 0, outcome.err
    assert "Pipeline in" in outcome.out
    assert pd.read_csv(run / "phase1" / "history.csv")["epoch"].tolist() == [1, 2, 3]
    assert_same_pipeline(unbroken, run, dataset)


def test_one_script_per_phase_gives_the_same_pipeline(
    unbroken: Path, dataset: Path, tmp_path: Path, run_python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
    short_bigan: None,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    outcome = run_python("pipelines/phase2_train_detector.py", run)
    assert outcome.status == 1
    assert f"{run}: phase 1 is not done yet" in outcome.err
    for script, left in (
        (["phase1_train_classifier.py", dataset, "--subset", 10, "--out", run, *OPTIONS], "phase1/classifier.joblib"),
        (["phase2_train_detector.py", run], "phase2/detector.joblib"),
        (["phase3_fit_gate.py", run], "pipeline.joblib"),
    ):
        assert not (run / left).exists()
        monkeypatch.setattr(sys, "argv", [script[0], *map(str, script[1:])])
        with pytest.raises(SystemExit) as leaving:  # in this process, which has PyTorch already
            runpy.run_path(str(ROOT / "pipelines" / script[0]), run_name="__main__")
        assert not leaving.value.code
        assert (run / left).exists()
    assert_same_pipeline(unbroken, run, dataset)
    told = json.loads((run / "run.json").read_text())
    assert told["settings"]["backbone"] == "resnet18"
    assert told["subset"] == "10"
    assert told["data"] == str(dataset)
    assert "torch" in told["versions"]


def test_the_run_folder_tells_what_it_holds(trained: Run, dataset: Path) -> None:
    told = json.loads((trained.folder / "run.json").read_text())
    assert told["data"] == str(dataset.resolve())
    assert told["settings"]["detector"]["params"]["min_steps"] == 60
    assert {"torch", "gbad"} <= set(told["versions"])
    assert "processor" in told["hardware"]
    split = pd.read_csv(trained.folder / "split.csv")
    assert split.columns.tolist() == ["name", "part", "Gun", "Knife", "Wrench", "Pliers", "Scissors"]
    np.testing.assert_array_equal(split["part"] == "validation", trained.data.validation)
    assert 0 < trained.data.validation.mean() < 0.5
    losses = pd.read_csv(trained.folder / "phase2" / "losses.csv")
    assert sorted(losses["row"]) == list(range(72))
    for phase in (1, 2, 3):
        done = json.loads((trained.folder / f"phase{phase}" / "done.json").read_text())
        assert done["seconds"] > 0
    assert not (trained.folder / "bad_images.csv").exists()


def test_a_finished_run_does_nothing_again(trained: Run, dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    train(start_run(folder, dataset, 10, make_pipeline().settings))
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {"pipeline.joblib", "lock"}  # the lock says who holds it


def test_another_run_is_refused_by_what_differs(
    trained: Run, dataset: Path, own_dataset: Path, make_pipeline: Make
) -> None:
    before = (trained.folder / "run.json").read_bytes()
    detector = make_pipeline().detector.set_params(min_steps=61)
    for data, subset, options, different in (
        (own_dataset, 10, {}, "data"),
        (dataset, 10, {"epochs": 3}, "epochs"),
        (dataset, 10, {"size": 96, "backbone": "resnet34", "random_state": 2}, "backbone, random_state, size"),
        (dataset, 10, {"epsilon": 0.01}, "epsilon"),
        (dataset, 10, {"detector": detector}, "detector"),
        (dataset, 10, {"detector": "bigan"}, "detector"),
        (dataset, 10, {"augmentation": "strong", "prevalence": 0.1}, "augmentation, prevalence"),
    ):
        with pytest.raises(RunError) as refusal:
            start_run(trained.folder, data, subset, make_pipeline(**options).settings)
        assert named_by(refusal.value) == different
    assert (trained.folder / "run.json").read_bytes() == before


def named_by(refusal: RunError) -> str:
    """What a refusal says is different, in alphabetical order."""
    named = str(refusal).split("another ")[1].split(". Choose")[0]
    return ", ".join(sorted(named.split(", ")))


def test_another_subset_is_another_run(own_dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    shutil.copytree(own_dataset / "ImageSet" / "10", own_dataset / "ImageSet" / "100")
    start_run(tmp_path / "run", own_dataset, 10, make_pipeline().settings)
    with pytest.raises(RunError) as refusal:
        start_run(tmp_path / "run", own_dataset, 100, make_pipeline().settings)
    assert named_by(refusal.value) == "subset"


def test_a_setting_that_is_left_out_is_another_run_too(
    trained: Run, dataset: Path, make_pipeline: Make, pixels: np.ndarray, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also one that has its default, or none."""
    monkeypatch.setattr("gbad.pipeline.fit_phases", lambda *args, **options: False)
    labels = np.zeros((40, 2), np.uint8)
    labels[::3, 0] = 1
    for name, value in (("augmentation", "strong"), ("image_detector", "vae"), ("prevalence", 0.1)):
        run, fitted = tmp_path / name, tmp_path / f"fitted {name}"
        chosen, usual = make_pipeline(**{name: value}), make_pipeline()
        start_run(run, dataset, 10, chosen.settings)
        chosen.fit(pixels, labels, run=fitted)
        with pytest.raises(RunError) as refusal:
            start_run(run, dataset, 10, usual.settings)
        assert named_by(refusal.value) == name
        with pytest.raises(RunError) as refusal:
            usual.fit(pixels, labels, run=fitted)
        assert named_by(refusal.value) == name
        start_run(run, dataset, 10, chosen.settings)
    refit(trained.folder, tmp_path / "refitted", prevalence=0.1)
    with pytest.raises(RunError) as refusal:
        refit(trained.folder, tmp_path / "refitted", epsilon=0.5)
    assert named_by(refusal.value) == "epsilon, prevalence"


@pytest.mark.usefixtures("no_phase")
def test_a_changed_list_is_refused(own_dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    path = own_dataset / "ImageSet" / "10" / "train.csv"
    original = path.read_text()
    start_run(tmp_path / "run", own_dataset, 10, make_pipeline().settings)
    head, first, second, *rest = original.splitlines()
    name, *values = first.split(",")
    flipped = ",".join([name, "-1" if values[0] == "1" else "1", *values[1:]])
    changes = {
        "a label": [head, flipped, second, *rest],
        "the order": [head, second, first, *rest],
        "a row less": [head, second, *rest],
        "a class": [head.replace("Gun", "Hammer"), first, second, *rest],
    }
    for lines in changes.values():
        path.write_text("\n".join(lines) + "\n")
        for again in (
            lambda: start_run(tmp_path / "run", own_dataset, 10, make_pipeline().settings),
            lambda: open_run(tmp_path / "run"),
        ):
            with pytest.raises(RunError, match=r"train\.csv has changed since the run in .* began. Restore it"):
                again()
    path.write_text(original)
    open_run(tmp_path / "run")


@pytest.mark.usefixtures("no_phase")
def test_the_validation_part_divides_no_group_of_the_users_file(
    own_dataset: Path, make_pipeline: Make, tmp_path: Path
) -> None:
    names = read_sixray(own_dataset, 10, "train").names
    path = own_dataset / "ImageSet" / "10" / "groups.csv"
    groups = np.array([f"passenger {row % 6}" for row in range(len(names))])
    path.write_text("name,group\n" + "".join(f"{n},{g}\n" for n, g in zip(names, groups, strict=True)))
    run = start_run(tmp_path / "run", own_dataset, 10, make_pipeline().settings)
    inside, outside = set(groups[run.data.validation]), set(groups[~run.data.validation])
    assert not inside & outside
    assert len(inside) in (1, 2)
    path.write_text("name,group\nP00001,a\nP00001,b\n")
    np.testing.assert_array_equal(open_run(tmp_path / "run").data.validation, run.data.validation)
    with pytest.raises(DataError, match=r"groups\.csv, line 3"):
        start_run(tmp_path / "other", own_dataset, 10, make_pipeline().settings)
    assert not (tmp_path / "other").exists()


def test_what_fails_at_once_leaves_no_run_behind(own_dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    """Else the corrected command would be refused as another run."""
    run, path = tmp_path / "run", own_dataset / "ImageSet" / "10" / "train.csv"
    with pytest.raises(GbadError, match="unknown backbone"):
        start_run(run, own_dataset, 10, make_pipeline(backbone="resnet43").settings)
    with pytest.raises(DataError, match="Subsets with lists here: 10"):
        start_run(run, own_dataset, 100, make_pipeline().settings)
    with pytest.raises(DataError, match="no such file"):
        start_run(run, own_dataset / "nothing", 10, make_pipeline().settings)
    for detectors, message in (
        ({"image_detector": VAEDetector(image_size=100)}, "image_detector vae: image_size must be 32, 64.*got 100"),
        ({"image_detector": VAEDetector(epochs=0)}, "image_detector vae: epochs == 0"),
        ({"detector": NearestNeighboursDetector(n_neighbors="two")}, "detector neighbours: n_neighbors must be"),
        ({"detector": GaussianDetector(contamination=0.7)}, "detector gaussian: contamination == 0.7"),
        ({"detector": BiGANDetector(epochs=0)}, "detector bigan: epochs == 0"),
    ):
        with pytest.raises(GbadError, match=message):
            start_run(run, own_dataset, 10, make_pipeline(**detectors).settings)
    original = path.read_text()
    for name, file in (("status", "scores.csv"), ("part", "split.csv")):
        path.write_text(original.replace("Gun", name))
        with pytest.raises(DataError, match=f"no class may be called '{name}': {file}"):
            start_run(run, own_dataset, 10, make_pipeline().settings)
    path.write_text(original)
    table = pd.read_csv(path)
    table[table.columns[1:]] = -1
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match="0 images with threats and 72 without"):
        start_run(run, own_dataset, 10, make_pipeline().settings)
    table.loc[0, "Gun"] = 1
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match="validation part has 0 images with threats"):
        start_run(run, own_dataset, 10, make_pipeline().settings)
    assert not run.exists()
    start_run(run, own_dataset, 10, make_pipeline(gate_fit="paper").settings)
    with pytest.raises(DataError, match="validation part has 0 images with threats"):
        make_pipeline().fit(
            image_paths(own_dataset, table["name"]), table.iloc[:, 1:].to_numpy() == 1, run=tmp_path / "fit"
        )
    assert not (tmp_path / "fit").exists()


def test_folders_that_are_no_run_are_refused(dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder. Make one with `gbad train"):
        open_run(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pipeline.joblib").write_text("mine")
    with pytest.raises(RunError, match="unknown run"):
        start_run(tmp_path / "other", dataset, 10, make_pipeline().settings)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(GbadError, match="cannot be written"):
        start_run(tmp_path / "file", dataset, 10, make_pipeline().settings)
    assert (tmp_path / "other" / "pipeline.joblib").read_text() == "mine"


def test_damaged_files_of_a_run_are_named_with_a_remedy(dataset: Path, make_pipeline: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start_run(folder, dataset, 10, make_pipeline().settings)
    head, split = folder / "run.json", folder / "split.csv"
    whole = json.loads(head.read_text())
    for content in ('{"data": ', "[1]", "{}", json.dumps(whole | {"settings": 3})):
        head.write_text(content)
        for again in (lambda: start_run(folder, dataset, 10, make_pipeline().settings), lambda: open_run(folder)):
            with pytest.raises(
                GbadError, match=r"run\.json: (not valid JSON|damaged, it holds no settings.*Restore it)"
            ):
                again()
    head.write_text(json.dumps(whole | {"settings": whole["settings"] | {"colour": "red"}}))
    with pytest.raises(RunError, match=r"run\.json: damaged, or written by a newer gbad \(.*colour.*update gbad"):
        open_run(folder)
    with pytest.raises(RunError, match="another colour"):
        start_run(folder, dataset, 10, make_pipeline().settings)
    head.write_text(json.dumps({name: value for name, value in whole.items() if name != "subset"}))
    with pytest.raises(RunError, match=r"run\.json: damaged, it has no subset"):
        open_run(folder)
    head.write_text(json.dumps(whole))
    expected = split.read_bytes()
    moved = expected.replace(b",train,", b",validation,", 1)  # as a disk or a hand may do it
    for content in (b"", b"name\na\n", moved):
        split.write_bytes(content)
        with pytest.raises(RunError, match=r"split\.csv: damaged.*Delete it"):
            start_run(folder, dataset, 10, make_pipeline().settings)
    split.unlink()
    open_run(folder)
    assert split.read_bytes() == expected


@pytest.mark.usefixtures("no_phase")
def test_a_run_folder_takes_one_training_at_a_time(
    dataset: Path, make_pipeline: Make, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="the system has no locks of this kind")
    run = start_run(tmp_path / "run", dataset, 10, make_pipeline().settings)
    with (
        locked(run.folder, "cpu"),
        pytest.raises(
            RunError, match=rf"another process is working in this run folder \(process {os.getpid()} on .*\)\. Wait"
        ),
    ):
        train(run, last=2)
    assert train(run, last=2) == {}
    labels = np.zeros((40, 1), np.uint8)
    labels[::3] = 1
    (tmp_path / "fit").mkdir()
    with locked(tmp_path / "fit", "cpu"), pytest.raises(RunError, match="another process"):
        make_pipeline().fit(pixels, labels, run=tmp_path / "fit")

    def no_locks(*args: Any) -> None:
        raise OSError("No locks available")

    with locked(run.folder, "cpu"):
        monkeypatch.setattr(fcntl, "flock", no_locks)
        assert train(run, last=2) == {}


@pytest.mark.usefixtures("no_phase")
def test_bad_images_are_listed_with_those_of_before_even_if_training_fails(
    dataset: Path, make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(data: Any, settings: Any, run: Path, bad: BadImages, **options: Any) -> None:
        bad.add(ImageError(next(images), "unreadable", "damaged"))
        raise KeyboardInterrupt

    images = iter(["a.png", "donn\udce9es/b.png", "a.png"])
    monkeypatch.setattr("gbad.training.phases.fit_phase1", fails)
    listed = tmp_path / "run" / "bad_images.csv"
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            train(start_run(tmp_path / "run", dataset, 10, make_pipeline().settings, max_bad=1.0))
    assert listed.read_bytes() == (
        b"path,status,reason\na.png,unreadable,damaged\ndonn\xe9es/b.png,unreadable,damaged\n"
    )
    listed.write_text("")
    with pytest.raises(RunError, match=r"bad_images\.csv: damaged.*Delete it"):
        train(start_run(tmp_path / "run", dataset, 10, make_pipeline().settings))


def test_bad_images_stop_the_run_are_listed_and_may_be_tolerated_afterwards(
    own_dataset: Path, make_pipeline: Make, tmp_path: Path
) -> None:
    names = read_sixray(own_dataset, 10, "train").names
    broken, missing = image_paths(own_dataset, [names[0], names[-1]])
    broken.write_bytes(broken.read_bytes()[:300])
    missing.unlink()
    settings, folder = make_pipeline(negatives="all", epochs=1).settings, tmp_path / "run"
    half_written = folder / "phase1" / ".checkpoint-0002.pt.gbad"
    with pytest.raises(TooManyBadImagesError, match=r"1 of 72 images.*bad_images\.csv.*gbad check.*raise max_bad"):
        train(start_run(folder, own_dataset, 10, settings))
    assert len(pd.read_csv(folder / "bad_images.csv")) == 1
    with pytest.raises(GbadError, match=r"the file ends too early|damaged|no such file"):
        train(start_run(folder, own_dataset, 10, settings, strict=True))
    half_written.mkdir(parents=True)
    done = train(start_run(folder, own_dataset, 10, settings, max_bad=0.03))
    assert not half_written.exists()
    assert set(done) == {"phase1", "phase2", "phase3"}
    listed = pd.read_csv(folder / "bad_images.csv")
    assert set(listed["status"]) == {"unreadable", "missing"}
    assert [Path(path).name for path in sorted(listed["path"])] == sorted([broken.name, missing.name])
    losses = pd.read_csv(folder / "phase2" / "losses.csv")
    assert len(losses) == 70
    assert names[0] not in set(losses["name"])
    assert os.path.exists(folder / "pipeline.joblib")


OTHERS = {"prevalence": 0.01, "class_heads": True, "suppression": "soft"}


def test_phase_3_alone_gives_the_pipeline_of_a_whole_training(
    trained: Run, dataset: Path, make_pipeline: Make, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    train(refit(trained.folder, tmp_path / "refitted", **OTHERS))
    train(start_run(tmp_path / "whole", dataset, 10, make_pipeline(**OTHERS).settings))
    assert_same_pipeline(tmp_path / "whole", tmp_path / "refitted", dataset)
    told = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "refitted")]
    assert told[0] == told[1]
    assert before == {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    assert not list((tmp_path / "refitted").rglob("checkpoint-*"))


def test_phase_3_alone_goes_on_where_it_was_killed(
    trained: Run, gbad_command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: BaseException) -> Callable[..., None]:
        def call(*args: Any, **options: Any) -> None:
            raise error

        return call

    out, again = tmp_path / "out", ["--prevalence", 0.02, "--suppression", "soft"]
    with monkeypatch.context() as patched:
        patched.setattr("gbad.workflows.train.os.link", fails(OSError("another disk")))
        patched.setattr("gbad.workflows.train.shutil.copytree", fails(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            refit(trained.folder, out, prevalence=0.02, suppression="soft")
    assert (out / "split.csv").read_bytes() == (trained.folder / "split.csv").read_bytes()
    for name in (".git", ".phase2.gbad"):
        (out / name).mkdir()
    outcome = gbad_command("refit", trained.folder, "--out", out, *again)
    assert outcome.status == 0, outcome.err
    assert outcome.out.strip().endswith(f"Pipeline in {out / 'pipeline.joblib'}.")
    assert gbad.load(out / "pipeline.joblib").get_params(deep=False)["prevalence"] == 0.02
    assert [path.name for path in out.glob(".*")] == [".git"]  # what is not its own stays
    assert gbad_command("refit", trained.folder, "--out", out, *again).status == 0
    other = gbad_command("refit", trained.folder, "--out", out, "--prevalence", 0.3)
    assert other.status == 1
    assert "prevalence: there 0.02, asked for 0.3" in other.err.replace("\n", " ")


def test_phase_3_alone_needs_nothing_that_the_classifiers_started_from(trained: Run, tmp_path: Path) -> None:
    run = shutil.copytree(trained.folder, tmp_path / "run")
    head = json.loads((run / "run.json").read_text())
    for gone in ({"weights": "gone.pth"}, {"start": "gone.joblib"}):
        (run / "run.json").write_text(json.dumps(head | {"settings": head["settings"] | gone}))
        again = refit(run, tmp_path / "again" / next(iter(gone)), prevalence=0.02)
        assert gone.items() <= vars(again.settings).items()


def test_phase_3_alone_refuses_what_it_cannot_do(
    trained: Run, gbad_command: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(GbadError, match=r"epochs, size: phases 1 and 2 depend on it.*gbad train"):
        refit(trained.folder, out, size=96, epochs=3)
    with pytest.raises(GbadError, match="prevalence must be a number above 0 and below 1, not 1.5"):
        refit(trained.folder, out, prevalence=1.5)
    unfinished = shutil.copytree(trained.folder, tmp_path / "unfinished")
    (unfinished / "phase2" / "done.json").unlink()
    with pytest.raises(RunError, match="phase 2 or the second look is not done yet"):
        refit(unfinished, out, prevalence=0.1)
    assert not out.exists()
    same = gbad_command("refit", trained.folder, "--out", trained.folder, "--prevalence", 0.1)
    assert same.status == 1
    assert "Give another folder" in same.err.replace("\n", " ")
    assert gbad_command("refit", tmp_path, "--out", out).status == 1


def test_several_processes_share_the_training_of_both_looks(run_python: Any, dataset: Path, tmp_path: Path) -> None:
    """Two processes, as `torchrun` starts them, train together and leave one whole run."""
    (tmp_path / "short.py").write_text(SHORT)
    outcome = run_python(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, tmp_path / "short.py", *TRAIN[2:],
        dataset, "--subset", 10, "--out", tmp_path / "run", "--backbone", "resnet18", "--no-pretrained", "--size", 64,
        "--epochs", 1, "--fpn-width", 8, "--negatives", "hard",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert outcome.err.count("epoch 1/1: loss") == 1, "one process speaks for both"
    assert gbad.load(tmp_path / "run" / "pipeline.joblib").fitted_.second is not None
    assert len(pd.read_csv(tmp_path / "run" / "phase1" / "history.csv")) == 1
