"""``gbad simulate``, ``project``, ``check`` and ``labels``: make data sets and label lists, and check them."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from gbad.cli.parameters import Data, Json, Quiet, Seed, Subset, refuse_two_outputs
from gbad.cli.terminal import console, errors, say, voice
from gbad.runtime.text import counted

# Shared by `simulate` and `project`, which make data sets of the same form.
Out = Annotated[Path, typer.Argument(help="Folder for the data set.")]
Ratio = Annotated[int, typer.Option(min=1, help="Name of the subset, and threat-free images for each with threats.")]
TrainPositives = Annotated[int, typer.Option(min=1, help="Training images with threats.")]
TestPositives = Annotated[int, typer.Option(min=1, help="Test images with threats.")]
NegativesPerPositive = Annotated[
    int | None, typer.Option(min=0, help="Threat-free images for each with threats. Default: the subset's number.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")]


def simulate(
    out: Out,
    subset: Ratio = 10,
    train_positives: TrainPositives = 200,
    test_positives: TestPositives = 100,
    negatives_per_positive: NegativesPerPositive = None,
    size: Annotated[int, typer.Option(min=64, help="Longer side of the images in pixels.")] = 256,
    load: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Harmless contents of the bags, relative to the usual amount.")
    ] = 1.0,
    seed: Seed = 0,
    workers: Workers = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Also write the low- and high-energy channels as 16-bit PNG.")
    ] = False,
) -> None:
    """Simulate dual-energy X-ray images of bags, with and without threats, in SIXray's layout."""
    from gbad.data.simulate import simulate_dataset

    simulate_dataset(
        out, subset=subset, train_positives=train_positives, test_positives=test_positives,
        negatives_per_positive=negatives_per_positive, size=size, load=load, seed=seed, workers=workers, raw=raw,
        show_progress=True,
    )  # fmt: skip
    say(f"Simulated data set in {out}.", "train", out, "--subset", subset, "--out", "runs/simulated")


def project(
    data: Data,
    out: Out,
    threats: Annotated[Path | None, typer.Option(help="Cut-outs. Default: DATA/threats, else boxes.")] = None,
    subset: Ratio = 10,
    train_positives: TrainPositives = 200,
    test_positives: TestPositives = 100,
    negatives_per_positive: NegativesPerPositive = None,
    size: Annotated[int, typer.Option(min=64, help="Longer side of the images in pixels.")] = 384,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Project real threats into real threat-free bags (threat image projection), in SIXray's layout."""
    from gbad.data.project import project_dataset

    project_dataset(
        data, out, subset=subset, threats=threats, train_positives=train_positives, test_positives=test_positives,
        negatives_per_positive=negatives_per_positive, size=size, seed=seed, workers=workers, show_progress=True,
    )  # fmt: skip
    say(f"Projected data set in {out}.", "train", out, "--subset", subset, "--out", "runs/projected")


def check(
    data: Data,
    subset: Subset = "10",
    mislabelled: Annotated[
        Path | None, typer.Option(help="Text file of ids known to be mislabelled, one a line.")
    ] = None,
    out: Annotated[Path, typer.Option(help="CSV of all that is wrong; - for standard output.")] = Path("check.csv"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say whether a download is complete and sound; exit status 1 if it is not."""
    refuse_two_outputs(as_json, out)
    from gbad.cli.check_report import print_report
    from gbad.data.check import FINDINGS, check_dataset, files_of
    from gbad.storage.tables import write_table
    from gbad.storage.targets import is_stream, output_file

    if not is_stream(out):
        output_file(out, chain(files_of(data, subset), [mislabelled] if mislabelled else []), FINDINGS)
    speak = voice(quiet, as_json)
    report = check_dataset(data, subset, mislabelled, show_progress=not quiet)
    if speak.in_words:
        print_report(report, errors if is_stream(out) else console)
    write_table(report.problems, out)
    speak.say(f"{counted(len(report.problems), 'finding')} in {out}.", beside=out)
    speak.summarise(
        {
            "data": data, "subset": subset, "complete": report.complete, "images": report.images,
            "findings": report.totals, "lists": [asdict(entry) for entry in report.counts], "out": out,
        }
    )  # fmt: skip
    if not report.complete:
        raise typer.Exit(1)


def labels(
    source: Annotated[Path, typer.Argument(help="Folder of Pascal VOC XML, COCO JSON file, or folder per class.")],
    out: Annotated[
        Path, typer.Option(help="Label list to write, such as DATA/ImageSet/10/train.csv; - for standard output.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes of the list in their order, separated by commas, as a pipeline has them; all others are left "
            "out. Default: those found."
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="Folder for the boxes. Default: DATA/Annotation, if OUT is DATA/ImageSet/SUBSET/PART.csv."),
    ] = None,
) -> None:
    """Write a label list in SIXray's form from Pascal VOC, COCO or a folder per class, and the boxes if known."""
    from gbad.data.annotations import (
        find_annotations,
        label_sources,
        labels_from_coco,
        labels_from_folders,
        labels_from_voc,
    )
    from gbad.data.labels import LABELS, alike, with_classes, write_list
    from gbad.data.voc_writer import annotation_folder, check_annotations, known_boxes, write_annotations
    from gbad.storage.targets import is_stream, output_file

    if not is_stream(out):
        output_file(out, label_sources(source), LABELS)
    if source.suffix.lower() == ".json":
        found = labels_from_coco(source)
    else:
        found = labels_from_voc(source) if find_annotations(source) else labels_from_folders(source)
    if classes is not None:
        wanted = [name for text in classes.split(",") if (name := text.strip())]
        kept = with_classes(found, wanted)
        if left_out := {name: count for name, count in found.counts().items() if name not in wanted and count}:
            bare = int((found.positive & ~kept.positive).sum())
            say(
                f"Left out: {', '.join(f'{name} {count:,}' for name, count in left_out.items())}. "
                f"Threat-free without them: {counted(bare, 'image')}.",
                beside=out,
            )
        found = kept
    folder = boxes or annotation_folder(out)
    annotations = {} if folder is None else known_boxes(source)
    if folder is not None:
        check_annotations(annotations, folder)
    write_list(found, out)
    counts = ", ".join(f"{name} {count:,}" for name, count in found.counts().items())
    where = ""
    if folder is not None and annotations:
        where = f". Annotations of {counted(write_annotations(annotations, folder), 'image')} in {folder}."
    say(f"{counted(len(found), 'image')} in {out}: {counts}{where}", beside=out)
    for names in alike(found.classes):
        say(f"Several classes in upper and lower case: {', '.join(names)}. If they are one, rename them.", beside=out)
