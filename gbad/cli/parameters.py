"""Parameters that several commands share, and the options that come from the settings of a pipeline."""

from __future__ import annotations

import glob
import inspect
import os
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from gbad.cli.help import FIRST
from gbad.errors import GbadError
from gbad.training.settings import GROUPS, choices, defaults, kinds, options

AP_RULES = ("all_points", "voc07", "voc10")  # of gbad.evaluation.metrics, whose import would slow `gbad --help` down
Data = Annotated[Path, typer.Argument(help="Folder in SIXray's layout: ImageSet/<subset>/{train,test}.csv and images.")]
SUBSET = "Subset: 10, 100 or 1000 threat-free images for each with threats in SIXray."
Subset = Annotated[str, typer.Option(help=SUBSET)]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds give equal results on the same machine.")]
APRule = Annotated[
    str,
    typer.Option(
        help="Rule of average precision: all_points, or one of PASCAL VOC, voc07 (11 points of recall) and voc10 (best "
        "precision at no less recall).",
        autocompletion=lambda incomplete: [rule for rule in AP_RULES if rule.startswith(incomplete)],
    ),
]
Pipeline = Annotated[Path, typer.Argument(help="A pipeline.joblib, or simulated-bags, which comes with gbad.")]


def paths_argument(text: str) -> Any:
    """Argument of images with a help of its own; one that cannot be read is no error, its row says so."""
    return typer.Argument(metavar="PATHS", show_default=False, readable=False, help=text)


Paths = Annotated[
    list[Path] | None,
    paths_argument("Images, folders of images, and patterns in quotes; - reads names from standard input."),
]
From = Annotated[
    Path | None, typer.Option("--from", help="Text file of images and folders, one a line; - for standard input.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting by its name in Python, also those without an option: weight_decay=1e-5, "
        "detector.min_steps=300, gate.C=10. Again for each.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no words, errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print a summary as JSON in the place of words, for scripts.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first image that cannot be used.")]
MaxBad = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Stop if more than this share of the images, or of a class's, cannot be used."),
]


def check_pipeline(pipeline: Path) -> Path:
    """Find a pipeline by its path or name; refuse what is none before anything is imported that takes seconds."""
    from gbad.models import pipeline_path
    from gbad.storage.plain_data import check_pickle

    path = pipeline_path(pipeline)
    check_pickle(path)
    return path


def pipeline_or_images(first: Path | None, paths: Sequence[Path] | None) -> tuple[Path | None, list[Path]]:
    """Tell whether the first argument is a pipeline or already an image.

    Returns
    -------
    pipeline : Path or None
        None if the first argument is a folder, a pattern, ``-``, or has the suffix of an image.
    paths : list of Path
        Images and folders.

    Raises
    ------
    GbadError
        If it is a run folder, whose images nobody wants to have scored.
    """
    from gbad.data.images import IMAGE_SUFFIXES

    others = list(paths or ())
    if first is None:
        return None, others
    if os.path.isfile(first / "pipeline.joblib"):
        raise GbadError(f"{first}: a run folder. Name the pipeline in it, {first / 'pipeline.joblib'}.")
    suffix = first.suffix.lower().partition("#")[0]  # a frame of a DICOM file has its number behind it
    is_pattern = "*" in str(first) or (glob.has_magic(str(first)) and not os.path.lexists(first))
    is_input = str(first) == "-" or os.path.isdir(first) or suffix in IMAGE_SUFFIXES or is_pattern
    return (None, [first, *others]) if is_input else (first, others)


def refuse_two_outputs(as_json: bool, out: Path) -> None:
    """Refuse a summary and a table on one standard output."""
    from gbad.storage.targets import is_stream

    if as_json and is_stream(out):
        raise GbadError("--json and --out - would both write to standard output. Give --out a file.")


def given_paths(paths: Sequence[Path] | None, listed_in: Path | None) -> list[str | Path]:
    """Paths of the command line, with the names that standard input and a file give in their places."""
    from gbad.workflows.inputs import STANDARD_INPUT, read_names

    given: list[str | Path] = []
    for path in paths or ():
        given += read_names(path) if str(path) == STANDARD_INPUT else [path]
    if listed_in is not None:
        given += read_names(listed_in)
    elif not paths:
        raise typer.BadParameter("name images or folders, or give --from FILE.", param_hint="'PATHS...'")
    return given


def with_settings(
    names: Sequence[str], *, unchanged: bool = False, first: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command ``(…, **settings)`` so that it has an option for each setting.

    Parameters
    ----------
    names : sequence of str
        Settings of `gbad.training.settings.Settings`.
    unchanged : bool
        An option that is not given is None, which stands for "as before"; else it has the setting's default.
    first : sequence of str
        Those of `names` that stand before all others in the help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_values(**values: Any) -> None:
            command(**{name: _python_value(name, value) for name, value in values.items()})

        own = inspect.signature(command, eval_str=True)
        fixed = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        ordered = [*first, *(name for name in names if name not in first)]
        added = [_parameter(name, unchanged, FIRST if name in first else None) for name in ordered]
        with_values.__signature__ = own.replace(parameters=[*fixed, *added])  # type: ignore[attr-defined]
        return with_values

    return decorate


def flag_of(name: str) -> str:
    """Option of the command line for a parameter of Python.

    Examples
    --------
    >>> flag_of("random_state"), flag_of("gate_fit")
    ('--seed', '--gate-fit')
    """
    option = options().get(name)
    return "--" + (name if option is None or option.flag == "same" else option.flag).replace("_", "-")


def in_flags(message: str, names: Sequence[str]) -> str:
    """Write the parameters that a message names as options.

    Examples
    --------
    >>> in_flags("epochs must be a whole number from 1, not 0", ["epochs"])
    '--epochs must be a whole number from 1, not 0'
    """
    for name in names:
        if name in options() and not options()[name].flag:
            continue  # ``--set`` names it as Python does
        message = re.sub(rf"\b{name}\b", flag_of(name), message)
    return message


def _parameter(name: str, unchanged: bool, panel: str | None) -> inspect.Parameter:
    option, kind, default = options()[name], _option_type(name), None if unchanged else defaults()[name]
    known = [str(choice) for choice in choices(name)]
    text = " ".join(
        [option.help, *([f"In {option.unit}."] if option.unit else []), *([f"({', '.join(known)})"] if known else [])]
    )
    limits: dict[str, Any] = {}
    if kind in (int, float) and not known:
        limits |= {} if option.open in ("low", "both") or option.low == -float("inf") else {"min": kind(option.low)}
        limits |= {} if option.open in ("high", "both") or option.high == float("inf") else {"max": kind(option.high)}
    declared = [flag_of(name) + (f"/--no-{flag_of(name)[2:]}" if kind is bool else "")]
    given = typer.Option(
        *declared, help=text, rich_help_panel=panel or GROUPS[option.group],
        autocompletion=(lambda incomplete: [choice for choice in known if choice.startswith(incomplete)])
        if known else None, **limits,
    )  # fmt: skip
    annotation: Any = Annotated[kind | None if default is None else kind, given]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option_type(name: str) -> Any:
    """Type of the option: a path for a file, a text or a number for a choice, else the type of the setting."""
    may_be = kinds(name)
    if may_be[0] is str:
        return Path
    return may_be[0] if isinstance(may_be[0], type) else type(may_be[0])


def _python_value(name: str, value: Any) -> Any:
    if name in options() and value == "none" and type(None) in kinds(name):
        return None
    return str(value) if name in options() and isinstance(value, Path) else value
