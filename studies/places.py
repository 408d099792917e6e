"""Where a pipeline points: peaks and boxes of several maps against the true boxes of the threats that it detects.

python studies/places.py --run runs/places --out results/places

It simulates bags and trains a small pipeline without boxes: the demonstration with fewer epochs; a run that is there is
taken. The pipeline with boxes is the one that comes with gbad, on simulated bags that it has not seen.

Each map is judged on the threats that the pipeline detects (present, and at or above the class's threshold): does its
highest place lie in a true box of the class, and how much does a box around it overlap the true one (intersection over
union)? One map is chosen on the validation part, images of the training list that neither look has trained on: of those
that point as well as the best, within one standard error, the one whose boxes overlap best. The test list, on which
nothing is chosen, is for the report.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn import functional as F

from gbad.data.boxes import read_boxes
from gbad.data.images import image_paths
from gbad.data.labels import LabelList, read_sixray
from gbad.data.maps import in_their_images, smooth
from gbad.data.original import Original, cut_region
from gbad.data.simulate import simulate_dataset
from gbad.data.source import opened
from gbad.data.transforms import eval_preset
from gbad.models import DEFAULT
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.evidence import evidence_maps, stage_maps, together
from gbad.pipeline import GBADPipeline, load
from gbad.report.drawing import box_around_peak
from gbad.runtime.versions import hardware, library_versions
from gbad.storage.files import write_json
from gbad.training.run_folder import open_run, start_run
from gbad.workflows.demo import demo_settings
from gbad.workflows.locate import peaks
from gbad.workflows.resume import BATCH
from gbad.workflows.train import train

SUBSET, SEED = 10, 31
EASY: dict[str, Any] = {
    "train_positives": 500, "test_positives": 300, "negatives_per_positive": 2, "test_negatives_per_positive": 0,
    "load": 0.3, "size": 320, "seed": SEED,
}  # fmt: skip
"""Lightly packed bags in small files, as in the demonstration."""
USUAL: dict[str, Any] = {
    "train_positives": 80, "test_positives": 160, "negatives_per_positive": 0, "test_negatives_per_positive": 0,
    "size": 512, "seed": SEED + 1,
}  # fmt: skip

CELLS = 96
"""Of a map, along each side of the image."""

DRAWN = "as gbad predict draws it"
"""Name of the package's own map, at its own resolution."""

Map = npt.NDArray[np.float64]
Box = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A threat that was detected.

    Attributes
    ----------
    image : Original
    pixels : uint8 array (size, size, 3)
        The image as the first look sees it.
    column : int
        Of the class.
    boxes : float64 array (k, 4)
        True boxes of the class, as shares of the image's width and height.
    region : float64 array (4,) or None
        Box of the region that speaks most for the class; None without a second look.
    drawn : float64 array (h, w)
        Evidence for the class as ``gbad predict`` draws it.
    """

    image: Original
    pixels: npt.NDArray[np.uint8]
    column: int
    boxes: Box
    region: Box | None
    drawn: Map


def detected(pipeline: GBADPipeline, data: Path, some: LabelList) -> Iterator[Case]:
    """Threats of a list of images with threats that the pipeline detects, and of which a true box is known."""
    paths = image_paths(data, some.names)
    known = read_boxes(data, some.names, paths, some.labels, some.classes)
    source = pipeline.image_source(paths)
    for rows, seen, errors in pipeline.stream(source, batch_size=BATCH):
        for error in errors.values():
            raise error
        present = seen.reaching(pipeline.thresholds_) & (some.labels[rows] == 1)
        for number, column in np.argwhere(present).tolist():
            own = known.get(int(rows[number]), np.empty((0, 5)))
            boxes = own[own[:, 0] == column][:, 1:].astype(np.float64)
            if not len(boxes):
                continue
            regions = seen.regions.of(number)
            best = regions[seen.regions.log_odds[regions, column].argmax()] if len(regions) else None
            image = opened(source, int(rows[number]))
            pixels = image.warped(source.size)
            drawn = pipeline.check_fitted().evidence(pixels, image, seen, number, [column])[0]
            yield Case(image, pixels, column, boxes, None if best is None else seen.regions.boxes[best], drawn)


class Maps:
    """Maps of a case over the whole image, (CELLS, CELLS), 0 or larger; each is computed once."""

    def __init__(self, pipeline: GBADPipeline, case: Case) -> None:
        self._case, self._fitted = case, pipeline.check_fitted()
        self._kept: dict[Any, Map] = {}
        self._stages: dict[str, npt.NDArray[np.float64]] | None = None

    def _once(self, key: Any, compute: Callable[[], Map]) -> Map:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def first(self, kind: str) -> Map:
        """The first look's evidence: what the package gives, or Grad-CAM."""
        network, column = self._fitted.network, self._case.column

        def compute() -> Map:
            with torch.no_grad():
                levels = network.levels(eval_preset(self._case.pixels[None]))
            one = evidence_maps(network, levels, [column]) if kind == "package" else grad_cam(network, levels, column)
            return np.asarray(F.interpolate(one, size=(CELLS, CELLS), mode="bilinear")[0, 0].double().numpy())

        return self._once(("first", kind), compute)

    def second(self, stages: Sequence[str], *, shifted: bool = False) -> Map | None:
        """The second network's evidence on the region, in its place; or the mean over four regions shifted by a bit.

        HiResCAM of a network with one linear layer behind its global average is Grad-CAM and the class's own map: all
        are the weighted sum of the channels. Of an earlier stage, gradients take part.
        """
        region = self._case.region
        if region is None or self._fitted.second is None:
            return None
        shape = self._fitted.second.model.shape
        centre, extent = (region[:2] + region[2:]) / 2, region[2:] - region[:2]
        quarter = 8 / shape.size * extent  # of a cell of the last stage
        centres = [centre, *(centre + quarter * (x, y) for y in (-1, 1) for x in (-1, 1))]
        if self._stages is None:
            pixels = self._case.image.pixels()
            cut = np.stack([cut_region(pixels, one, shape.side, shape.size) for one in centres])
            columns = [self._case.column] * len(cut)
            self._stages = stage_maps(self._fitted.second.network, cut, columns, ("L2", "L3", "L4"))

        def compute() -> Map:
            assert self._stages is not None
            chosen = slice(1, None) if shifted else slice(1)
            of_stages = [self._stages[stage][chosen] for stage in stages]
            maps = of_stages[0] if len(of_stages) == 1 else together(of_stages)
            boxes = np.array([[*(one - extent / 2), *(one + extent / 2)] for one in centres[chosen]])
            return np.asarray(in_their_images(maps, boxes, (CELLS, CELLS)).mean(0) * inside(region))

        return self._once(("second", *stages, shifted), compute)


def grad_cam(model: Classifier, levels: list[Tensor], column: int) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017) on each level, summed as `evidence_maps` does: float32 (1, 1, h, w)."""
    with torch.enable_grad():
        inputs = [level.detach().requires_grad_(True) for level in levels]
        logit = model.classify_levels(inputs).logits[:, column].sum()
        gradients = torch.autograd.grad(logit, inputs, materialize_grads=True)
    total = torch.zeros((1, 1, *levels[0].shape[2:]))
    for level, gradient in zip(levels, gradients, strict=True):
        one = (gradient.mean((2, 3), keepdim=True) * level).sum(1, keepdim=True).relu()
        total += F.interpolate(
            one, size=total.shape[2:], mode="bilinear"
        )  # a mean gradient is small where cells are many
    return total


def inside(box: Box) -> npt.NDArray[np.bool_]:
    """Cells whose centres are in a box: bool (CELLS, CELLS)."""
    middles = (np.arange(CELLS) + 0.5) / CELLS
    x, y = ((middles >= box[axis]) & (middles <= box[axis + 2]) for axis in (0, 1))
    return np.asarray(np.outer(y, x))


def within(one: Map, region: Box | None) -> Map:
    """A map with nothing outside of a region; as it is without a region, or without evidence in it."""
    cut = one if region is None else one * inside(region)
    return cut if cut.any() else one


def scaled(one: Map) -> Map:
    """A map with the maximum 1, if it is not all zero."""
    return one / one.max() if one.any() else one


def methods() -> dict[str, Callable[[Case, Maps], Map]]:
    """Maps to compare, by name."""

    def first(kind: str, blur: float, *, restricted: bool) -> Callable[[Case, Maps], Map]:
        def give(case: Case, maps: Maps) -> Map:
            one = smooth(maps.first(kind), blur) if blur else maps.first(kind)
            return within(one, case.region) if restricted else one

        return give

    def second(stages: Sequence[str], blur: float, *, shifted: bool = False) -> Callable[[Case, Maps], Map]:
        def give(case: Case, maps: Maps) -> Map:
            one = maps.second(stages, shifted=shifted)
            if one is None or not one.any():
                return first("package", 0.04, restricted=True)(case, maps)
            return within(smooth(one, blur), case.region) if blur else one

        return give

    def both(stages: Sequence[str], blur: float, *, shifted: bool = False) -> Callable[[Case, Maps], Map]:
        def give(case: Case, maps: Maps) -> Map:
            of_first = first("package", blur, restricted=True)(case, maps)
            one = maps.second(stages, shifted=shifted)
            return of_first if one is None or not (one * of_first).any() else np.sqrt(scaled(one) * scaled(of_first))

        return give

    found: dict[str, Callable[[Case, Maps], Map]] = {DRAWN: lambda case, maps: case.drawn}
    for kind, title in (("package", "first look, HiResCAM"), ("grad-cam", "first look, Grad-CAM")):
        for blur in (0.0, 0.04, 0.08):
            found[f"{title}, blur {blur:g}"] = first(kind, blur, restricted=False)
            found[f"{title}, blur {blur:g}, in the region"] = first(kind, blur, restricted=True)
    for stages in (["L4"], ["L3"], ["L2"], ["L3", "L4"]):
        name = "+".join(stages)
        for blur in (0.0, 0.02, 0.04):
            found[f"second look, {name}, blur {blur:g}"] = second(stages, blur)
        found[f"second look, {name}, four shifts, blur 0.02"] = second(stages, 0.02, shifted=True)
        found[f"both looks, {name}, blur 0.04"] = both(stages, 0.04)
    found["both looks, L4, four shifts, blur 0.04"] = both(["L4"], 0.04, shifted=True)
    return found


def peak(one: Map) -> Box:
    """Centre of the highest cell: x and y as shares."""
    return np.asarray(peaks(one[None, None])[0, 0])


def in_box(place: Box, boxes: Box) -> bool:
    """Whether a place lies in one of the boxes."""
    return bool(((boxes[:, :2] <= place) & (place <= boxes[:, 2:])).all(1).any())


def overlap(box: Box | None, boxes: Box) -> float:
    """Largest intersection over union of a box with one of the others; 0 without a box."""
    if box is None:
        return 0.0
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = sides.clip(min=0).prod(1)
    return float((common / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common)).max())


OVERLAPS = {"overlap_0.3": 0.3, "overlap_0.5": 0.5, "overlap_0.7": 0.7}
"""Columns of the overlap, and the share of the highest value down to which a place belongs to the box."""


REPORTED = (
    DRAWN, "first look, HiResCAM, blur 0", "first look, HiResCAM, blur 0.04",
    "first look, HiResCAM, blur 0.04, in the region", "first look, Grad-CAM, blur 0.04, in the region",
    "second look, L4, blur 0.02", "second look, L3, blur 0.04",
)  # fmt: skip
"""Maps that the test list judges besides the one that is chosen: what was drawn before, and the plainest rivals."""


def judged(pipeline: GBADPipeline, data: Path, some: LabelList, names: Sequence[str]) -> pd.DataFrame:
    """A row for each detected threat and map, and for chance: a place anywhere in the image, or in the region."""
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(detected(pipeline, data, some)):
        maps, name = Maps(pipeline, case), pipeline.classes_[case.column]
        truth = np.logical_or.reduce([inside(box) for box in case.boxes])
        region = np.ones_like(truth) if case.region is None else inside(case.region)
        about = {"threat": number, "class": name, "looked_twice": case.region is not None}
        rows += [
            about | {"map": "chance", "in_box": truth.mean()},
            about | {"map": "chance in the region", "in_box": truth[region].mean()},
            about | {"map": "any place in the region", "in_box": float(truth[region].any())},
        ]
        for title in names:
            one = methods()[title](case, maps)
            rows.append(
                about
                | {"map": title, "in_box": float(in_box(peak(one), case.boxes))}
                | {name: overlap(box_around_peak(one, level), case.boxes) for name, level in OVERLAPS.items()}
            )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, part: str) -> pd.DataFrame:
    """Share of threats whose peak lies in a true box, with its exact 95 % interval, and mean overlap, by map."""
    rows = []
    for title, own in table.groupby("map", sort=False):
        share = own["in_box"].mean()
        bounds = (np.nan, np.nan)
        if own["in_box"].isin([0.0, 1.0]).all():
            bounds = tuple(binomtest(int(own["in_box"].sum()), len(own)).proportion_ci())
        by_class = {f"in_box_{name}": value for name, value in own.groupby("class")["in_box"].mean().items()}
        overlaps: dict[str, float] = {name: own[name].mean() for name in OVERLAPS if name in own}
        rows.append({
            "part": part, "map": title, "threats": len(own), "looked_twice": int(own["looked_twice"].sum()),
            "in_box": share, "low": bounds[0], "high": bounds[1],
            **overlaps, **by_class,
        })  # fmt: skip
    return pd.DataFrame(rows)


def best(rivals: pd.DataFrame) -> str:
    """Of the maps that point as well as the best, within one standard error, the one whose boxes overlap best."""
    most, threats = rivals["in_box"].max(), rivals["threats"].iloc[0]
    near = rivals[rivals["in_box"] >= most - np.sqrt(most * (1 - most) / threats)]
    return str(near["map"].iloc[near["overlap_0.5"].argmax()])


def seconds(pipeline: GBADPipeline, data: Path, some: LabelList, title: str, count: int = 20) -> dict[str, float]:
    """Median seconds that a map of one alarm takes, by map; images are decoded already."""
    taken: dict[str, list[float]] = defaultdict(list)
    cases = [case for case, _ in zip(detected(pipeline, data, some), range(count), strict=False)]
    for case in cases:
        case.image.pixels()
        for name in ("first look, HiResCAM, blur 0.04, in the region", title):
            begun = time.perf_counter()
            methods()[name](case, Maps(pipeline, case))
            taken[name].append(time.perf_counter() - begun)
    return {name: float(np.median(values)) for name, values in taken.items()}


def without_boxes(run: Path) -> tuple[GBADPipeline, Path, dict[str, LabelList]]:
    """The small pipeline that knows no boxes: simulate and train, unless that is done."""
    data = run / "data"
    simulate_dataset(data, SUBSET, **EASY, show_progress=True)
    train(
        start_run(
            run / "run", data, SUBSET, demo_settings(SEED).changed(epochs=4, region_epochs=1, detector="gaussian")
        ),
        show_progress=True,
    )
    validation = open_run(run / "run").data.validation
    lists = {"validation": read_sixray(data, SUBSET, "train").select(validation)}
    return load(run / "run" / "pipeline.joblib"), data, lists | {"test": read_sixray(data, SUBSET, "test")}


def with_boxes(run: Path) -> tuple[GBADPipeline, Path, dict[str, LabelList]]:
    """The pipeline that comes with gbad, and bags that it has not seen: one list to choose on, one to report."""
    data = run / "unseen"
    simulate_dataset(data, SUBSET, **USUAL, show_progress=True)
    lists = {part: read_sixray(data, SUBSET, own) for part, own in (("validation", "train"), ("test", "test"))}
    return load(DEFAULT), data, lists


def main(argv: Sequence[str] | None = None) -> None:
    """Write a CSV and a JSON for each of the two pipelines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder for data and training")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--most", type=int, help="images of a list with threats that are looked at; default: all")
    parser.add_argument("--only", choices=[one.__name__ for one in (without_boxes, with_boxes)])
    options = parser.parse_args(argv)
    for prepared in (without_boxes, with_boxes):
        if options.only in (None, prepared.__name__):
            pipeline, data, lists = prepared(options.run)
            lists = {part: some.select(some.positive).select(slice(options.most)) for part, some in lists.items()}
            report(pipeline, data, lists, options.out / prepared.__name__, argv)


def report(
    pipeline: GBADPipeline, data: Path, lists: Mapping[str, LabelList], out: Path, argv: Sequence[str] | None
) -> None:
    """Judge all maps on both lists, and write OUT.csv and OUT.json."""
    validation = summary(judged(pipeline, data, lists["validation"], [*methods()]), "validation")
    chosen = best(validation[validation["map"].isin(methods().keys() - {DRAWN})])
    names = list(dict.fromkeys([*REPORTED, chosen]))
    table = pd.concat([validation, summary(judged(pipeline, data, lists["test"], names), "test")])
    print(table[["part", "map", "threats", "in_box", "low", "high", "overlap_0.5"]].round(3).to_string(index=False))
    print("chosen on the validation part:", chosen)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(f"{out}.csv", index=False)
    write_json(Path(f"{out}.json"), {
        "command": " ".join([Path(sys.argv[0]).name, *(sys.argv[1:] if argv is None else argv)]),
        "chosen": chosen, "seconds": seconds(pipeline, data, lists["test"], chosen),
        "settings": {name: str(value) for name, value in vars(pipeline.settings).items()},
        "versions": library_versions(), "hardware": hardware(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
