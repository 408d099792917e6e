"""What a benchmark will cost, before it is begun: cells, images, steps, time and disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbad.benchmarks.paper.data import SUBSETS_FILE, BenchmarkData, existing_data
from gbad.benchmarks.paper.network_cells import NetworkCell
from gbad.benchmarks.paper.scales import Scale
from gbad.data.labels import LabelList
from gbad.phase1_classifier import BACKBONES, Classifier, build_classifier, predict_batch
from gbad.phase1_classifier.fine_tuning import fold_norms, freeze_stages
from gbad.phase1_classifier.optimisation import build_optimiser
from gbad.report.tables import Column, Table, keyed
from gbad.runtime.device import chosen_device
from gbad.runtime.text import counted
from gbad.training.phase1 import architecture_options, given
from gbad.training.regions import NEGATIVES_PER_POSITIVE, suitable_passes
from gbad.training.settings import Settings

STEPS = 10
"""Training steps that are timed for each network."""

_BATCH = 8  # images of a timed step: a rate, not a batch, is asked for
_SIXRAY = ("Gun", "Knife", "Wrench", "Pliers", "Scissors")
_COPIES = 3  # of a network's weights in a run folder: phase 1, pipeline, and an optimiser's while it is trained


@dataclass(frozen=True)
class Rates:
    """What was measured of a network on this machine.

    Attributes
    ----------
    training, scoring : float
        Images per second.
    parameters, features : int
        Weights, and features for phase 2.
    """

    training: float
    scoring: float
    parameters: int
    features: int


@dataclass(frozen=True)
class Work:
    """What one network of a benchmark has to do, once for each seed.

    Attributes
    ----------
    cells : tuple of NetworkCell
        One a seed.
    epoch : int
        Images of an epoch of phase 1.
    extracted : int
        Images whose features phase 2 needs.
    regions : int
        Regions of an epoch of the second look; 0 without one.
    scored : int
        Test images.
    """

    cells: tuple[NetworkCell, ...]
    epoch: int
    extracted: int
    regions: int
    scored: int

    @property
    def settings(self) -> Settings:
        """Settings of the network."""
        return self.cells[0].settings

    @property
    def steps(self) -> int:
        """Optimiser steps of phase 1, of one seed."""
        return math.ceil(self.epoch / self.settings.batch_size) * self.settings.epochs

    def seconds(self, first: Rates, second: Rates | None) -> float:
        """Seconds of one seed: phase 1, features, second look, and scoring of the test images."""
        settings = self.settings
        trained = settings.epochs * self.epoch / first.training
        seen = (self.extracted + self.scored) * settings.views / first.scoring
        if second is None:
            return trained + seen
        looked_at = settings.regions * settings.second_look_share * self.scored
        passes = given(settings.region_epochs, suitable_passes(self.regions))
        return trained + seen + passes * self.regions / second.training + looked_at / second.scoring

    def megabytes(self, rates: Rates) -> float:
        """Disk of one seed's cell: features, weights and scores; without decoded images, which are removed."""
        classes = len(self.cells[0].lists.test.classes)
        features = self.extracted * (4 * rates.features + 16 * classes)
        return (features + 4 * _COPIES * rates.parameters + 8 * 5 * classes * self.scored) / 1e6

    def cache_megabytes(self, listed: int) -> float:
        """Disk for decoded images while a cell is trained."""
        return 3 * self.settings.size**2 * min(listed, self.epoch * self.settings.epochs) / 1e6


def planned_data(folder: Path, scale: Scale) -> BenchmarkData:
    """The simulated data of a scale: those that are there, or names and labels of those that would be simulated."""
    if (folder / SUBSETS_FILE).exists():
        return existing_data(folder)
    lists = {
        (name, part): _made_up(getattr(sizes, f"{part}_positives"), getattr(sizes, f"{part}_negatives"), part)
        for name, sizes in scale.lists.items()
        for part in ("train", "test")
    }
    return BenchmarkData(folder, scale.subsets, {"simulation": "planned"}, scale.notes, lists)


def work_of(cells: Mapping[tuple[str, str], Mapping[str, tuple[NetworkCell, ...]]], data: BenchmarkData) -> list[Work]:
    """What each network has to do; cells that are done are left out.

    Parameters
    ----------
    cells : mapping
        As in `gbad.benchmarks.paper.run.Plan`.
    data : BenchmarkData
    """
    found = []
    for networks in cells.values():
        for of_seeds in networks.values():
            left = tuple(cell for cell in of_seeds if not (cell.entry.is_done and cell.scores.is_done))
            if left:
                found.append(_work(left, data))
    return found


def plan_table(
    work: Sequence[Work], data: BenchmarkData, advance: Callable[[], object] = lambda: None
) -> tuple[Table[dict[str, Any]], list[str]]:
    """Time ten steps of each network, and say what all of them will cost.

    Parameters
    ----------
    work : sequence of Work
    data : BenchmarkData
    advance : callable
        Is called after each network.

    Returns
    -------
    table : Table
        A row for each network.
    notes : list of str
        Totals, and what the estimate leaves out.
    """
    measured: dict[str, Rates] = {}
    rows, hours, disk, cache = [], 0.0, 0.0, 0.0
    for one in work:
        cell, classes = one.cells[0], len(one.cells[0].lists.test.classes)
        first = _measured(measured, one.settings, classes)
        second = _measured(measured, region_settings(one.settings), classes) if one.regions else None
        seconds = one.seconds(first, second)
        hours += len(one.cells) * seconds / 3600
        disk += len(one.cells) * one.megabytes(first)
        cache = max(cache, one.cache_megabytes(len(data.read(cell.lists.subset, "train"))))
        rows.append({
            "list": cell.lists.subset.list, "backbone": cell.backbone, "network": cell.name, "seeds": len(one.cells),
            "steps": one.steps, "training images": one.settings.epochs * one.epoch, "test images": one.scored,
            "images/s": first.training, "hours a seed": seconds / 3600, "hours": len(one.cells) * seconds / 3600,
        })  # fmt: skip
        advance()
    texts = ("list", "backbone", "network")
    formats = {
        "training images": "{:,}", "test images": "{:,}", "images/s": "{:.1f}", "hours a seed": "{:.2f}",
        "hours": "{:.2f}",
    }  # fmt: skip
    columns: list[Column[dict[str, Any]]] = [
        *keyed(*texts, "seeds", "steps", left=texts),
        *[Column[dict[str, Any]](name, itemgetter(name), form.format) for name, form in formats.items()],
    ]
    notes = [
        f"{counted(sum(len(one.cells) for one in work), 'cell')} to train and score, {hours:.1f} hours on this "
        f"machine, {disk / 1000:.1f} GB of disk, and up to {cache / 1000:.1f} GB for decoded images of a training at a "
        "time.",
        f"Time is from {STEPS} training steps of each network. Not included: decoding images, training the BiGAN, "
        "phase 3, image-level detectors, and simulating images.",
    ]
    return Table(columns, rows), notes


def region_settings(settings: Settings) -> Settings:
    """Settings of the classifier of the second look."""
    return settings.changed(architecture="plain", size=settings.region_size, position_weight=0.0)


def _work(cells: tuple[NetworkCell, ...], data: BenchmarkData) -> Work:
    settings, lists = cells[0].settings, cells[0].lists
    positive = np.asarray(data.read(lists.subset, "train").positive)
    threats, free = int(positive.sum()), int((~positive).sum())
    kept = 1 - settings.validation_fraction
    trained, negatives = round(kept * threats), round(kept * free)
    epoch = trained + (negatives if settings.negatives == "all" else min(trained, negatives))
    extracted = regions = 0
    if cells[0].phases > 1:
        held_out = min(free - negatives, settings.max_negatives) + threats - trained
        extracted = trained + min(negatives, settings.max_negatives) + held_out
        if settings.second_look:
            regions = trained * (1 + NEGATIVES_PER_POSITIVE)
    return Work(cells, epoch, extracted, regions, len(lists.test))


def _made_up(positives: int, negatives: int, part: str) -> LabelList:
    labels = np.zeros((positives + negatives, len(_SIXRAY)), np.uint8)
    labels[np.arange(positives), np.arange(positives) % len(_SIXRAY)] = 1
    return LabelList(tuple(f"{part}{number}" for number in range(len(labels))), labels, _SIXRAY)


def _measured(known: dict[str, Rates], settings: Settings, classes: int) -> Rates:
    names = (
        "backbone",
        "architecture",
        "size",
        "fpn_width",
        "fpn_form",
        "head_width",
        "pooling",
        "fusion",
        "chr_mask",
        "optimiser",
    )
    key = str([getattr(settings, name) for name in names] + [settings.position_weight > 0, settings.pretrained])
    if key not in known:
        known[key] = measure(settings, classes)
    return known[key]


def measure(settings: Settings, classes: int) -> Rates:
    """Time training steps and scoring of a network on random images, without its weights being loaded.

    Parameters
    ----------
    settings : Settings
    classes : int
        Number of classes.
    """
    suits = BACKBONES[settings.backbone]
    # Boxes cost next to nothing, and made-up ones would have to fit made-up labels.
    options = architecture_options(settings.changed(position_weight=0.0))
    model, _ = build_classifier(
        settings.backbone, classes, architecture=settings.architecture, pretrained=False, weights=None, frozen_stages=0,
        frozen_norm=False, seed=0, **options,
    )  # fmt: skip
    if settings.pretrained:  # what is frozen is not trained, which is faster
        freeze_stages(model.backbone, settings.backbone, given(settings.frozen_stages, suits.frozen_stages))
        if given(settings.frozen_norm, suits.frozen_norm):
            fold_norms(model.backbone)
    model = model.to(memory_format=torch.channels_last).to(chosen_device(settings.device))
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, settings.size, settings.size, 3)).astype(np.uint8)
    training = _BATCH * STEPS / _training_seconds(model, pixels, classes, given(settings.optimiser, suits.optimiser))
    model.eval()
    begun = time.perf_counter()
    predict_batch(model, pixels)
    scoring = _BATCH / (time.perf_counter() - begun)
    return Rates(training, scoring, sum(one.numel() for one in model.parameters()), model.n_features)


def _training_seconds(model: Classifier, pixels: np.ndarray, classes: int, optimiser: str) -> float:
    """Seconds of `STEPS` steps, after one that warms up."""
    optimizer = build_optimiser(optimiser, model.parameters(), learning_rate=1e-6, weight_decay=0.0)
    device = next(model.parameters()).device
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    images, labels = images.to(device), torch.zeros(len(pixels), classes, device=device)
    model.train()
    begun = 0.0
    for step in range(STEPS + 1):
        if step == 1:
            begun = time.perf_counter()
        loss = model.loss(images, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        float(loss.detach())  # an accelerator is behind its own clock until a value is read
    return time.perf_counter() - begun
