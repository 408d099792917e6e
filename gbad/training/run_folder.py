"""Run folders: what `gbad train` works on, kept so that a killed run goes on and every step can be repeated.

A run folder holds::

    run.json                 data, classes, settings, versions
    split.csv                which training rows belong to the validation part
    bad_images.csv           images that were skipped
    lock                     held while a training works here
    cache/                   decoded images (may be deleted)
    phase1/                  classifier.joblib, history.csv, checkpoint-<epoch>.pt, done.json
    phase2/                  detector.joblib, image_detector.joblib (if any), losses.csv, features/, done.json
    second_look/             phases 1 and 2 on regions, see `gbad.training.second_look`
    phase3/                  gate.joblib, second_look*.joblib (if any), done.json
    pipeline.joblib          all three in one file
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gbad.data.bad_images import BadImages
from gbad.data.boxes import Boxes, read_boxes
from gbad.data.groups import read_groups
from gbad.data.images import image_files
from gbad.data.labels import LabelList, list_path, read_sixray
from gbad.data.source import source_from_paths
from gbad.errors import RunError
from gbad.models import pipeline_path
from gbad.runtime.text import counted
from gbad.storage.digests import file_digest
from gbad.storage.files import read_sealed
from gbad.storage.ledger import claim, read_head
from gbad.storage.tables import read_table, texts, write_table
from gbad.training.checks import check_labels, check_parts, check_settings
from gbad.training.plain_settings import from_plain, to_plain
from gbad.training.settings import Settings
from gbad.training.start import check_kept_classes, start_of
from gbad.training.training_set import TrainingSet, validation_rows


@dataclass(frozen=True)
class Head:
    """What a run is about: the content of ``run.json``.

    Attributes
    ----------
    data : str
        Folder in SIXray's layout, absolute.
    subset : str
        Its training list.
    settings : Settings
    max_bad, strict : float, bool
        How many unusable images are too many, see `BadImages`.
    """

    data: str
    subset: str
    settings: Settings
    max_bad: float
    strict: bool


@dataclass(frozen=True)
class Run:
    """A run folder that is ready for its next phase.

    Attributes
    ----------
    folder : Path
    data : TrainingSet
    settings : Settings
    bad : BadImages
        Images that had to be skipped.
    """

    folder: Path
    data: TrainingSet
    settings: Settings
    bad: BadImages


def start_run(
    folder: str | Path,
    data: str | Path,
    subset: int | str,
    settings: Settings,
    *,
    max_bad: float = 0.01,
    strict: bool = False,
) -> Run:
    """Make a run folder for a training list in SIXray's layout, or continue the one that is there.

    Raises
    ------
    RunError
        If the folder holds a run on other data or with other settings; the message names what differs.
    DataError
        If the list or its groups cannot be used, or phase 1 is to learn from boxes and there are none.
    """
    folder = Path(folder)
    check_settings(settings)
    head = Head(str(Path(data).resolve()), str(subset), settings, max_bad, strict)
    # Read before anything is written: what is found wrong later would keep the corrected command out of the folder.
    listed = _read_list(folder, data, head)
    claim_run(folder, head)
    return _open(folder, head, listed)


def open_run(folder: str | Path) -> Run:
    """Open a run folder that `start_run` made: read its list and its split.

    Raises
    ------
    RunError
        If it is no run folder or a damaged one, or its list has changed since.
    """
    folder = Path(folder)
    head = read_run_head(folder)
    return _open(folder, head, _read_list(folder, head.data, head))


def training_seconds(folder: Path) -> dict[str, float]:
    """Seconds of each phase that is done in a run folder; nothing for another folder."""
    found = {}
    for name in ("phase1", "phase2", "second_look", "phase3"):
        path = folder / name / "done.json"
        if path.exists():
            found[name] = round(float(read_sealed(path)["seconds"]), 1)
    return found


def claim_run(folder: Path, head: Head, split: Path | None = None) -> None:
    """Write ``run.json``, or make sure that the folder's run is about the same; RunError if it is not.

    The digest of a `split` is noted in it.
    """
    content = {"data": head.data, "subset": head.subset, "settings": to_plain(head.settings)}
    noted = {} if split is None else {"split": _digest_of(split)}
    claim(folder, content, {"max_bad": head.max_bad, "strict": head.strict} | noted)


def read_run_head(folder: Path) -> Head:
    """Read ``run.json``; RunError if `folder` is no run folder, or damaged."""
    path = folder / "run.json"
    if not path.exists():
        raise RunError(f"{folder} is no run folder. Make one with `gbad train DATA --out {folder}`.")
    content = read_head(folder)
    if "data" not in content:
        raise RunError(f"{folder} belongs to GBADPipeline.fit. Continue it there, or choose another run folder.")
    names = ("subset", "max_bad", "strict")
    if missing := [name for name in names if name not in content]:
        raise RunError(f"{path}: damaged, it has no {', '.join(missing)}. Restore it, or train again.")
    try:
        settings = from_plain({"second_look": False} | content["settings"])  # older runs know no second look
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, or written by a newer gbad ({error}). Restore it, update gbad, or choose another run "
            "folder."
        ) from error
    return Head(content["data"], settings=settings, **{name: content[name] for name in names})


def _digest_of(path: Path) -> str:
    return (file_digest(path) or b"").hex()


class _Listed(NamedTuple):
    labels: LabelList
    paths: list[str]
    boxes: Boxes | None  # where a classifier has yet to learn from them
    validation: npt.NDArray[np.bool_] | None  # where the folder has no split yet


def _read_list(folder: Path, data: str | Path, head: Head) -> _Listed:
    """Read the training list; DataError if it cannot be used."""
    settings = head.settings
    labels = read_sixray(data, head.subset, "train")
    check_labels(labels.labels, labels.classes)
    paths = image_files(data, labels.names)
    boxes = validation = None
    if not (folder / "split.csv").exists():
        check_kept_classes(settings, labels.classes)
        validation = validation_rows(
            labels.names, labels.labels, paths, settings.validation_fraction, settings.random_state,
            read_groups(data, head.subset, labels.names),
        )  # fmt: skip
        check_parts(np.asarray(labels.labels.any(1)), validation, settings.gate_fit)
        _warn_of_known(head, labels.names, validation)
    learns = ["phase1", *(["second_look"] if settings.second_look else [])]
    if settings.position_weight and not all((folder / name / "done.json").exists() for name in learns):
        boxes = read_boxes(data, labels.names, paths, labels.labels, labels.classes)
    return _Listed(labels, paths, boxes, validation)


def _warn_of_known(head: Head, names: Sequence[str], validation: npt.NDArray[np.bool_]) -> None:
    """Warn if the pipeline to start from has learnt from validation images, as far as its run folder tells."""
    start = start_of(head.settings)
    if start is None:
        return
    folder = pipeline_path(start).parent
    if not all((folder / name).exists() for name in ("run.json", "split.csv")):
        return
    before = read_head(folder)
    if before.get("data") != head.data:
        return
    split = read_table(folder / "split.csv", ("name", "part"), "Restore it, or move the pipeline into another folder.")
    known = set(split["name"][split["part"] == "train"])
    count = sum(name in known for name, is_held_out in zip(names, validation, strict=True) if is_held_out)
    if count:
        seed = before["settings"].get("random_state")
        warnings.warn(
            f"{start} has learnt from {counted(count, 'image')} of the validation part: thresholds, gates and rates "
            f"will look too good. Start with the seed of its training, {seed}, and its list, or give other images.",
            stacklevel=2,
        )


def _open(folder: Path, head: Head, listed: _Listed) -> Run:
    labels, paths, boxes, validation = listed
    split = folder / "split.csv"
    if validation is not None:
        table = pd.DataFrame({"name": texts(labels.names), "part": np.where(validation, "validation", "train")})
        table[list(labels.classes)] = labels.labels
        write_table(table, split)
        claim_run(folder, head, split)
    remedy = "Delete it and run the same command again, which makes the same split."
    noted = read_head(folder).get("split")  # runs of before have none
    if noted is not None and noted != _digest_of(split):
        raise RunError(f"{split}: damaged, it is not what was written. {remedy}")
    table = read_table(split, ("name", "part"), remedy)
    if not (
        tuple(table["name"]) == labels.names
        and tuple(table.columns[2:]) == labels.classes
        and bool((table.iloc[:, 2:].to_numpy() == np.array(["0", "1"], object)[labels.labels]).all())
    ):
        path = list_path(head.data, head.subset, "train")
        raise RunError(f"{path} has changed since the run in {folder} began. Restore it, or start in another folder.")
    source = source_from_paths(paths, head.settings.size)
    data = TrainingSet(source, labels.labels, labels.classes, (table["part"] == "validation").to_numpy(), boxes)
    bad = BadImages(
        len(source), head.max_bad, strict=head.strict, report=folder / "bad_images.csv",
        shown=(paths, labels.labels, labels.classes),
    )  # fmt: skip
    return Run(folder, data, head.settings, bad)
