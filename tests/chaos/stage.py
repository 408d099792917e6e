"""What trials work on: a small data set, a trained pipeline, the commands, and what each gives undisturbed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from tiny_backbone import install

import gbad
from chaos.processes import Ended, command

TRAINING = (
    "--subset", 10, "--backbone", "resnet18", "--no-pretrained", "--size", 64, "--epochs", 2, "--fpn-width", 8,
    "--pooling", "max", "--seed", 3, "--region-size", 32, "--region-epochs", 1, "--regions", 2,
)  # fmt: skip
SIZES = ("--train-positives", 4, "--test-positives", 2, "--negatives-per-positive", 2, "--size", 64, "--workers", 2)

_LEFT = re.compile(r"\..*|.*\.(part|part\.json|lock|gbad)|lock")
_OF_THE_RUN = re.compile(r'"(seconds|evaluation|phase\d|second_look)": [\d.]+')  # times differ between equal runs


class NotHeld(Exception):
    """A promise was broken."""


@dataclass(frozen=True)
class Command:
    """A command of ``gbad`` that writes below a folder.

    Attributes
    ----------
    arguments : callable
        From the folder to the arguments.
    result : str
        Pattern of the files that count, below the folder.
    locks : tuple of str
        Files that may stay.
    shared : bool
        Whether two such commands may both succeed at once.
    """

    arguments: Callable[[Path], list[object]]
    result: str
    locks: tuple[str, ...] = ()
    shared: bool = False


@dataclass
class Stage:
    """See above; everything lies below a folder.

    Attributes
    ----------
    expected : dict of str to dict of str to bytes
        Files that each command gives undisturbed.
    seconds : dict of str to float
        That it takes.
    """

    folder: Path
    expected: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "undisturbed" / "train" / "run"

    @property
    def pipeline(self) -> Path:
        return self.run / "pipeline.joblib"

    @property
    def commands(self) -> dict[str, Command]:
        images, coco = self.data / "JPEGImage", self.folder / "coco.json"
        return {
            "train": Command(lambda at: ["train", self.data, "--out", at / "run", *TRAINING], "run/pipeline.joblib",
                             ("run/lock",)),
            "refit": Command(lambda at: ["refit", self.run, "--out", at / "run", "--prevalence", 0.01],
                             "run/pipeline.joblib", ("run/lock",)),
            "predict": Command(lambda at: ["predict", self.pipeline, images, "--out", at / "scores.csv", "--pictures",
                                           at / "pictures", "--all-pictures"], "**/*"),
            "evaluate": Command(lambda at: ["evaluate", self.pipeline, self.data, "--out", at / "evaluation"],
                                "evaluation/[ms]*.[cj]s*"),
            "calibrate": Command(lambda at: ["calibrate", self.pipeline, *sorted(images.glob("N*.jpg"))[:20], "--out",
                                             at / "calibrated.joblib"], "*", shared=True),
            "simulate": Command(lambda at: ["simulate", at / "bags", *SIZES], "**/*"),
            "project": Command(lambda at: ["project", self.data, at / "bags", *SIZES], "**/*"),
            "labels": Command(lambda at: ["labels", coco, "--out", at / "ImageSet/10/train.csv"], "**/*", shared=True),
            "check": Command(lambda at: ["check", self.data, "--out", at / "check.csv"], "*", shared=True),
        }  # fmt: skip

    def fresh(self, name: str) -> Path:
        """An empty folder for a trial."""
        at = self.folder / "trials" / name
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        return at

    def check_ended(self, ended: Ended, statuses: tuple[int, ...] = (0, 1)) -> None:
        """NotHeld if a command ended with a traceback, a signal or nothing to say."""
        text = f"status {ended.status} after {ended.seconds:.1f} s: {ended.err[-2000:]}"
        if ended.status not in statuses or "Traceback" in ended.err:
            raise NotHeld(text)
        if ended.status == 1 and "error:" not in ended.err:
            raise NotHeld(f"no message; {text}")

    def check_result(self, name: str, at: Path) -> None:
        """NotHeld if files differ from those of an undisturbed command, or something is left beside them."""
        found, expected = self.result(name, at), self.expected[name]
        if different := sorted(path for path in found | expected if found.get(path) != expected.get(path)):
            raise NotHeld(f"{name}: differs from the undisturbed result: {', '.join(different[:5])}")
        locks = self.commands[name].locks
        left = [str(path.relative_to(at)) for path in at.rglob("*") if _LEFT.fullmatch(path.name)]
        if left := sorted(set(left) - set(locks)):
            raise NotHeld(f"{name}: leftovers: {', '.join(left[:5])}")

    def result(self, name: str, at: Path) -> dict[str, bytes]:
        """What a command has written that must be equal."""
        paths = sorted(path for path in at.glob(self.commands[name].result) if path.is_file())
        return {str(path.relative_to(at)): _comparable(path) for path in paths}


def _comparable(path: Path) -> bytes:
    content = path.read_bytes()
    return _OF_THE_RUN.sub("", content.decode()).encode() if path.suffix == ".json" else content


def build(folder: Path, say: Callable[[str], object]) -> Stage:
    """Make data and pipeline, and run each command undisturbed."""
    from gbad.data.simulate import simulate_dataset
    from gbad.phase2_anomaly import BiGANDetector

    for module in walk_packages(gbad.__path__, "gbad."):
        if not module.name.endswith("__main__"):
            import_module(module.name)  # once, not in each process
    install(pytest.MonkeyPatch())
    BiGANDetector.__init__.__kwdefaults__["min_steps"] = 12
    stage = Stage(folder)
    simulate_dataset(stage.data, train_positives=16, test_positives=6, negatives_per_positive=2, size=64, workers=1)
    content = {
        "images": [{"id": i, "file_name": f"{i} ü.jpg", "width": 9, "height": 9} for i in range(40)],
        "categories": [{"id": 1, "name": "Gun"}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5]} for i in range(20)],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    for name, spec in stage.commands.items():
        at = folder / "undisturbed" / name
        at.mkdir(parents=True)
        ended = command(spec.arguments(at), folder / "log").wait()
        assert ended.status == 0, (name, ended)
        stage.expected[name], stage.seconds[name] = stage.result(name, at), ended.seconds
        assert stage.expected[name], name
        say(f"undisturbed {name}: {ended.seconds:.1f} s, {len(stage.expected[name])} files")
        stage.check_result(name, at)
    return stage
