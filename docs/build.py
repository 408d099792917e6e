"""Build the site: ``python docs/build.py`` writes ``build/docs/site``. A warning is an error. Needs the extra ``docs``.

The pages lie in ``docs/``, the figures and pictures that they show in ``results/``. Both are copied to ``build/docs``,
where zensical reads them: its pages must all be in one folder. The pages of the reference are written there, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import typer

from gbad.cli.app import app
from gbad.training.settings import GROUPS, Option, choices, defaults, of_group, options

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "results"

REFERENCE = {
    "front-door": ("The front door: pipeline, explanation, errors", ["pipeline", "explanation", "errors"]),
    "workflows": ("Commands as functions", ["workflows/*"]),
    "training": ("Training", ["training/*"]),
    "phase1": ("Phase 1: classifier", ["phase1_classifier/*"]),
    "phase2": ("Phase 2: anomaly detectors", ["phase2_anomaly/*", "phase2_anomaly/features/*"]),
    "phase3": ("Phase 3: gate and class heads", ["phase3_gate/*"]),
    "data": ("Data", ["data/*", "data/simulate/dataset", "data/project/dataset", "data/one_class/class_data"]),
    "evaluation": ("Evaluation", ["evaluation/*"]),
    "pictures": ("Pictures of findings", ["report/drawing"]),
}
"""Page of the reference: its title, and the modules of gbad that it describes."""


def stage(folder: Path) -> None:
    """Write the pages, and what they show of ``results/``, to ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder / "pages", ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    shutil.copytree(RESULTS, folder / "pages" / "data", ignore=shutil.ignore_patterns("README.md"))
    for page in (folder / "pages").rglob("*.md"):
        up = "../" * (len(page.relative_to(folder / "pages").parts) - 1)
        text = page.read_text(encoding="utf-8").replace(f"](../{up}results/", f"]({up}data/")
        page.write_text(text, encoding="utf-8")
    for page, (title, modules) in REFERENCE.items():
        (folder / "pages" / "reference" / f"{page}.md").write_text(_reference(title, modules), encoding="utf-8")
    (folder / "pages" / "reference" / "commands.md").write_text(commands(), encoding="utf-8")
    (folder / "pages" / "reference" / "settings.md").write_text(settings(), encoding="utf-8")
    shutil.copy(DOCS / "zensical.toml", folder)


def settings() -> str:
    """Write the page of settings: what `gbad.training.settings.Settings` says of each."""
    text = [
        "# Settings",
        "Each is a keyword of `gbad.GBADPipeline`, and most are an option of `gbad train`.",
        "`--set NAME=VALUE` takes each of them.",
        "[Train](../how-to/train.md) says what they are worth.",
    ]
    for group, title in GROUPS.items():
        rows = ["| Python | command line | default | may be | what it is |", "|---|---|---|---|---|"]
        for name in of_group(group):
            option, default = options()[name], defaults()[name]
            flag = (name if option.flag == "same" else option.flag).replace("_", "-")
            cells = [f"`{name}`", flag and f"`--{flag}`", "" if default is None else f"`{default}`"]
            rows.append(f"| {' | '.join(cells)} | {_may_be(name, option)} | {option.help} |")
        text += [f"## {title}", "\n".join(rows)]
    return "\n\n".join(text) + "\n"


def _may_be(name: str, option: Option) -> str:
    """Say in words which values a setting takes."""
    known = ", ".join(f"`{choice}`" for choice in choices(name) if isinstance(choice, str | int))
    return known or " ".join(filter(None, [option.range, option.unit]))


def commands() -> str:
    """Write the page of commands: what ``--help`` says, with a table of options for each command."""
    group = typer.main.get_command(app)
    text = [
        "# Commands",
        "`gbad COMMAND --help` says the same in the terminal.",
        "`gbad --version` shows the version. `gbad --install-completion` lets the shell complete commands and options.",
    ]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        arguments = [option for option in command.params if option.param_type_name == "argument"]
        named = " ".join(option.name.upper() + ("..." if option.nargs == -1 else "") for option in arguments)
        rows = ["| | default | what it is |", "|---|---|---|"]
        for option in command.params:
            of_command = option.param_type_name == "option"
            flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
            default = "required" if option.required else option.default
            shown = "" if default is None or default is False else f"`{default}`"
            rows.append(f"| {flags if of_command else f'`{option.name.upper()}`'} | {shown} | {option.help or ''} |")
        text += [f"## gbad {name}", f"```text\ngbad {name} {named}\n```", command.help or "", "\n".join(rows)]
    return "\n\n".join(text) + "\n"


def _reference(title: str, patterns: list[str]) -> str:
    """Write a page of the reference: each module's docstrings, in the order of the patterns."""
    package = DOCS.parent / "gbad"
    files = [file for pattern in patterns for file in sorted(package.glob(f"{pattern}.py"))]
    names = [".".join(file.relative_to(package.parent).with_suffix("").parts) for file in files if file.name[0] != "_"]
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)]) + "\n"


def main() -> int:
    """Stage the pages and run zensical on them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS.parent / "build" / "docs", help="folder for pages/ and site/")
    out = parser.parse_args().out.resolve()
    stage(out)
    paths = os.pathsep.join(filter(None, [str(DOCS), str(DOCS.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=out, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
