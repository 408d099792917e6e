"""The command line: each command parses its arguments, calls the package and says what it did."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from gbad.cli.benchmark import benchmark
from gbad.cli.benchmark_detectors import register as register_benchmark_detectors
from gbad.cli.terminal import ap_table, interrupted
from gbad.errors import GbadError, RunError
from gbad.runtime.allocator import keep_freed_memory
from gbad.runtime.signals import raise_lost_interrupts
from gbad.runtime.text import printable

app = typer.Typer(
    help="Find rare threats in X-ray images of baggage with GAN-based anomaly detection (GBAD).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console()
_errors = Console(stderr=True)

Data = Annotated[Path, typer.Argument(help="Folder in SIXray's layout: ImageSet/<subset>/{train,test}.csv and images.")]
Subset = Annotated[str, typer.Option(help="Subset: 10, 100 or 1000 negatives per positive in SIXray.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds give equal results on the same machine.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first image that cannot be used.")]
MaxBad = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Stop if more than this share of the images, or of a class's, cannot be used."),
]


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the data set.")],
    subset: Annotated[int, typer.Option(min=1, help="Name of the subset, and its negatives per positive.")] = 10,
    train_positives: Annotated[int, typer.Option(min=1, help="Training images with threats.")] = 200,
    test_positives: Annotated[int, typer.Option(min=1, help="Test images with threats.")] = 100,
    negatives_per_positive: Annotated[
        int | None, typer.Option(min=0, help="Threat-free images per positive. Default: the subset's number.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, help="Longer side of the images in pixels.")] = 256,
    load: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Harmless contents of the bags, relative to the usual amount.")
    ] = 1.0,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")] = None,
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
    _say(f"Simulated data set in {out}.", "train", out, "--subset", subset, "--out", "runs/simulated")


@app.command()
def project(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder for the data set.")],
    threats: Annotated[Path | None, typer.Option(help="Cut-outs. Default: DATA/threats, else boxes.")] = None,
    subset: Annotated[int, typer.Option(min=1, help="Name of the subset, and its negatives per positive.")] = 10,
    train_positives: Annotated[int, typer.Option(min=1, help="Training images with threats.")] = 200,
    test_positives: Annotated[int, typer.Option(min=1, help="Test images with threats.")] = 100,
    negatives_per_positive: Annotated[
        int | None, typer.Option(min=0, help="Threat-free images per positive. Default: the subset's number.")
    ] = None,
    size: Annotated[int, typer.Option(min=64, help="Longer side of the images in pixels.")] = 384,
    seed: Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")] = None,
) -> None:
    """Project real threats into real threat-free bags (threat image projection), in SIXray's layout."""
    from gbad.data.project import project_dataset

    project_dataset(
        data, out, subset=subset, threats=threats, train_positives=train_positives, test_positives=test_positives,
        negatives_per_positive=negatives_per_positive, size=size, seed=seed, workers=workers, show_progress=True,
    )  # fmt: skip
    _say(f"Projected data set in {out}.", "train", out, "--subset", subset, "--out", "runs/projected")


@app.command()
def check(
    data: Data,
    subset: Subset = "10",
    mislabelled: Annotated[
        Path | None, typer.Option(help="Text file of ids known to be mislabelled, one a line.")
    ] = None,
    out: Annotated[Path, typer.Option(help="CSV of all that is wrong.")] = Path("check.csv"),
) -> None:
    """Say whether a download is complete and sound; exit status 1 if it is not."""
    from gbad.cli.check_report import print_report
    from gbad.data.check import check_dataset
    from gbad.storage.files import atomic_path

    report = check_dataset(data, subset, mislabelled, show_progress=True)
    print_report(report, _console)
    with atomic_path(out) as temporary:
        report.problems.to_csv(temporary, index=False, errors="surrogateescape")  # paths need not be UTF-8
    _say(f"{len(report.problems):,} findings are listed in {out}.")
    if not report.complete:
        raise typer.Exit(1)


@app.command()
def labels(
    source: Annotated[Path, typer.Argument(help="Folder of Pascal VOC XML, COCO JSON file, or folder per class.")],
    out: Annotated[Path, typer.Option(help="Label list to write, for example DATA/ImageSet/10/train.csv.")],
) -> None:
    """Write a label list in SIXray's form from Pascal VOC, COCO or folder-per-class annotations."""
    from gbad.data.annotations import find_annotations, labels_from_coco, labels_from_folders, labels_from_voc
    from gbad.data.labels import write_list

    if source.suffix.lower() == ".json":
        found = labels_from_coco(source)
    else:
        found = labels_from_voc(source) if find_annotations(source) else labels_from_folders(source)
    write_list(found, out)
    counts = ", ".join(f"{name} {count:,}" for name, count in found.counts().items())
    _say(f"{len(found):,} images in {out}: {counts}")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder. A run that is there already continues.")] = Path("runs/gbad"),
    subset: Subset = "10",
    backbone: Annotated[
        str, typer.Option(help="resnet18/34/50/101, densenet121, inception_v3 or efficientnet_lite0.")
    ] = "resnet34",
    architecture: Annotated[
        str, typer.Option(help="fpn (the letter), plain (backbone and one layer), or chr (hierarchical refinement).")
    ] = "fpn",
    size: Annotated[int, typer.Option(min=32, help="Side in pixels to which images are warped.")] = 224,
    epochs: Annotated[int, typer.Option(min=1, help="Of phase 1.")] = 15,
    batch_size: Annotated[int, typer.Option(min=2, help="Of phase 1.")] = 32,
    learning_rate: Annotated[float | None, typer.Option(help="Of phase 1. Default: what suits the backbone.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="sgd or adamw. Default: what suits the backbone.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Start from ImageNet weights if they can be had.")] = True,
    weights: Annotated[Path | None, typer.Option(help="Local file of backbone weights.")] = None,
    pooling: Annotated[str, typer.Option(help="average (the letter) or max.")] = "max",
    fusion: Annotated[
        str,
        typer.Option(help="hidden (the letter), logits, or context: a plain network beside the FPN."),
    ] = "context",
    fpn_width: Annotated[int, typer.Option(min=1, help="Channels of each FPN level.")] = 256,
    position_weight: Annotated[
        float, typer.Option(min=0.0, help="Above 0, the FPN also learns from DATA/Annotation where threats are.")
    ] = 0.0,
    chr_mask: Annotated[
        str, typer.Option(help="What chr leaves out of its loss: none, released (as published) or hierarchical.")
    ] = "hierarchical",
    negatives: Annotated[
        str, typer.Option(help="fixed (the letter), fresh each epoch, hard (half of it), natural share, or all.")
    ] = "fresh",
    augmentation: Annotated[
        str, typer.Option(help="standard, or strong: any rotation and other colours, for images of other scanners.")
    ] = "standard",
    precision: Annotated[str, typer.Option(help="auto, no, bf16 or fp16.")] = "auto",
    detector: Annotated[
        str, typer.Option(help="Of phase 2: bigan (the letter), gaussian, neighbours, isolation_forest, one_class_svm.")
    ] = "bigan",
    image_detector: Annotated[
        str,
        typer.Option(
            help="Adds its anomaly to the losses: none, ganomaly, skip_ganomaly, sagan, dense_skip, panda_gan, egbad, "
            "anogan or vae."
        ),
    ] = "none",
    image_detector_size: Annotated[int, typer.Option(help="Its images: 32, 64, 128 or 256 px.")] = 64,
    image_detector_epochs: Annotated[int, typer.Option(min=1, help="Its passes over the threat-free images.")] = 15,
    max_negatives: Annotated[int, typer.Option(min=2, help="Threat-free images for phase 2.")] = 50_000,
    views: Annotated[int, typer.Option(help="1, or the mean of 2 or 4 mirrored views, at as many times the cost.")] = 1,
    class_heads: Annotated[bool, typer.Option(help="Mix in linear heads on all training images' features.")] = True,
    gate_fit: Annotated[str, typer.Option(help="held-out, or paper (training rows, as in the letter).")] = "held-out",
    suppression: Annotated[str, typer.Option(help="soft, or hard as in the letter.")] = "soft",
    epsilon: Annotated[float, typer.Option(min=0.0, max=1.0, help="Factor of the hard gate.")] = 1e-3,
    alpha: Annotated[
        float | None, typer.Option(min=0.0, help="Exponent of the soft gate. Default: chosen on the validation part.")
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of images with a threat that phase 3 chooses for. Default: the training list's."),
    ] = None,
    validation_fraction: Annotated[float, typer.Option(help="Share of the training list kept for phase 3.")] = 0.2,
    seed: Seed = 0,
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
    stop_after: Annotated[int, typer.Option(min=1, max=3, help="Last phase to run.")] = 3,
) -> None:
    """Train the three phases; a killed run continues with the same command."""
    from gbad.pipeline import GBADPipeline
    from gbad.training.run_folder import finish, start_run

    pipeline = GBADPipeline(
        backbone=backbone, architecture=architecture, size=size, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, optimiser=optimiser, pretrained=pretrained,
        weights=None if weights is None else str(weights), pooling=pooling, fusion=fusion, fpn_width=fpn_width,
        position_weight=position_weight, chr_mask=chr_mask,
        negatives=negatives, augmentation=augmentation, precision=precision,
        detector=None if detector == "bigan" else detector,
        image_detector=_image_detector(image_detector, image_detector_size, image_detector_epochs, seed),
        max_negatives=max_negatives, views=views, class_heads=class_heads, gate_fit=gate_fit,
        suppression=suppression, epsilon=epsilon, alpha=alpha, prevalence=prevalence,
        validation_fraction=validation_fraction, random_state=seed,
    )  # fmt: skip
    run = start_run(out, data, subset, pipeline, max_bad=max_bad, strict=strict)
    finish(run, last=stop_after, show_progress=True)
    if stop_after == 3:
        saved = out / "pipeline.joblib"
        _say(f"Pipeline in {saved}.", "evaluate", saved, data, "--subset", subset, "--out", out / "evaluation")


@app.command()
def refit(
    run: Annotated[Path, typer.Argument(help="Run folder in which phase 2 is done.")],
    out: Annotated[Path, typer.Option(help="New run folder. One that is there already continues.")],
    prevalence: Annotated[
        float | None, typer.Option(help="Share of images with a threat that phase 3 chooses for.")
    ] = None,
    class_heads: Annotated[
        bool | None,
        typer.Option("--class-heads/--no-class-heads", help="Mix in linear heads on all training images' features."),
    ] = None,
    gate_fit: Annotated[str | None, typer.Option(help="held-out, or paper (training rows, as in the letter).")] = None,
    suppression: Annotated[str | None, typer.Option(help="soft, or hard as in the letter.")] = None,
    epsilon: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Factor of the hard gate.")] = None,
    alpha: Annotated[float | None, typer.Option(min=0.0, help="Exponent of the soft gate.")] = None,
) -> None:
    """Fit phase 3 again with other settings, in seconds; what is not named stays as it was in RUN."""
    from gbad.training.run_folder import finish, refit_run

    named = {
        "prevalence": prevalence, "class_heads": class_heads, "gate_fit": gate_fit, "suppression": suppression,
        "epsilon": epsilon, "alpha": alpha,
    }  # fmt: skip
    finish(refit_run(run, out, **{name: value for name, value in named.items() if value is not None}))
    _say(f"Pipeline in {out / 'pipeline.joblib'}.")


@app.command()
def evaluate(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline.joblib.")],
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for metrics.json, scores.csv, bad_test_images.csv, report.html, plots.")
    ] = Path("evaluation"),
    subset: Subset = "10",
    max_bad: MaxBad = 0.01,
    strict: Strict = False,
) -> None:
    """Evaluate a pipeline on a test list: per-class average precision, any-threat figures, report."""
    from gbad.pipeline import load
    from gbad.workflows.predict import evaluate_list

    metrics = evaluate_list(
        load(pipeline),
        data,
        subset,
        out,
        history=_history(pipeline.parent),
        max_bad=max_bad,
        strict=strict,
        show_progress=True,
    )
    _console.print(ap_table(metrics))
    _say(f"Report in {out / 'report.html'}.")


@app.command()
def predict(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline.joblib.")],
    paths: Annotated[list[Path], typer.Argument(help="Images and folders of images.")],
    out: Annotated[Path, typer.Option(help="CSV with one row per image, in the order of the input.")] = Path(
        "scores.csv"
    ),
    max_bad: MaxBad = 1.0,
    strict: Strict = False,
) -> None:
    """Score images and folders; images that cannot be used get a row that says why.

    A run that was interrupted goes on with the same command.
    """
    from gbad.pipeline import load
    from gbad.workflows.predict import predict_paths

    counts = predict_paths(load(pipeline), paths, out, max_bad=max_bad, strict=strict, show_progress=True)
    _say(
        f"{counts['images']:,} images, {counts['anomalous']:,} anomalous, {counts['bad']:,} that cannot be used. "
        f"Scores in {out}."
    )
    if counts["bad"] == counts["images"]:
        raise GbadError(f"none of the {counts['images']:,} images can be used; the column status of {out} says why")


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"), seed: Seed = 12) -> None:
    """Simulate a small set, train all phases, evaluate: the whole of gbad in a few minutes on two cores."""
    from gbad.workflows.demo import run_demo

    metrics = run_demo(out, seed, _console.print)
    _console.print(ap_table(metrics))
    images = out / "data" / "JPEGImage"
    _say(f"Report in {out / 'report.html'}.", "predict", out / "pipeline.joblib", images, "--out", "scores.csv")


app.command()(benchmark)
register_benchmark_detectors(app)


def _say(text: str, *command: object) -> None:
    """Print a text as it is, and the command to go on with so that it can be copied."""
    following = f" Next: {shlex.join(['gbad', *map(str, command)])}" if command else ""
    _console.print(printable(text + following), markup=False, highlight=False, soft_wrap=True)


def _image_detector(name: str, size: int, epochs: int, seed: int) -> Any:
    """Image-level detector of the options, or None; an unknown name is left to the pipeline's check."""
    from gbad.phase2_anomaly import IMAGE_DETECTORS
    from gbad.training.phase2 import make_image_detector

    if name not in IMAGE_DETECTORS:
        return None if name == "none" else name
    made = make_image_detector({"image_detector": name, "random_state": seed, "device": "auto"})
    return made and made.set_params(image_size=size, epochs=epochs)


def _history(folder: Path) -> Any:
    from gbad.phase1_classifier.checkpoints import read_history

    return read_history(folder / "phase1")


def phase_script(phase: int) -> None:
    """Run one phase of a run folder: what the scripts of phases 2 and 3 do."""

    def command(run: Annotated[Path, typer.Argument(help="Run folder in which the phase before is done.")]) -> None:
        from gbad.training.run_folder import finish, open_run

        if not (run / f"phase{phase - 1}" / "done.json").exists():
            raise RunError(f"{run}: phase {phase - 1} is not done yet; run its script first")
        finish(open_run(run), last=phase, show_progress=True)

    _run(typer.Typer(add_completion=False, pretty_exceptions_enable=False), command)


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    _run(app)


def _run(application: typer.Typer, command: Callable[..., None] | None = None) -> None:
    if command is not None:
        application.command()(command)
    raise_lost_interrupts()
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=_errors, show_path=False)]
    )
    logging.getLogger("gbad").setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_: str(message)  # not the line of code that it comes from
    try:
        application()
    except GbadError as error:
        _errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code == 130:  # what typer makes of Ctrl-C
            name = "train" if command is not None else next(iter(sys.argv[1:]), "")
            _errors.print(interrupted(name), soft_wrap=True)
        raise


if __name__ == "__main__":
    main()
