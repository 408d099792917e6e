"""What the documents show can be typed: options, files and names exist, and Python runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer

from gbad.cli.app import app
from gbad.data.images import image_paths
from gbad.data.labels import LabelList
from gbad.pipeline import GBADPipeline

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "results").rglob("README.md"),
    ]
)
COMMANDS: dict[str, click.Command] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FLAGS = {flag for command in COMMANDS.values() for option in command.params for flag in option.opts}
FLAGS |= {flag for command in COMMANDS.values() for option in command.params for flag in option.secondary_opts}
OTHER_FLAGS = {"--help", "--version", "--install-completion", "--real"}
"""Of scripts and of other programs."""

of_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(document: Path, languages: tuple[str, ...]) -> list[str]:
    """Find the code blocks of some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [code for language, code in found if language in languages]


def commands(document: Path) -> Iterator[list[str]]:
    """Find the commands of all shell blocks, without comments."""
    for block in blocks(document, ("", "sh", "bash", "shell")):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


@of_document
def test_each_command_of_a_shell_block_can_be_typed(document: Path) -> None:
    for words in commands(document):
        check_command(words)


def check_command(words: list[str]) -> None:
    program, *arguments = words
    if program == "gbad":
        if arguments[0] in ("--help", "--version", "--install-completion"):
            return
        command = COMMANDS[arguments[0]]
        if "--help" not in arguments:
            command.make_context(arguments[0], arguments[1:])
    elif program in ("python", "accelerate"):
        script = next(ROOT / word for word in arguments if word.endswith(".py"))
        text = script.read_text(encoding="utf-8")
        assert script.parent.name in ("pipelines", "studies", "benchmarks", "docs")
        known = FLAGS if script.parent.name == "pipelines" else set(re.findall(r'"(--[\w-]+)"', text))
        assert {word for word in arguments if word.startswith("--")} <= known, words
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets, words
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert all(name in extras for name in re.findall(r"\w+", " ".join(re.findall(r"\[(.*?)\]", arguments[-1]))))
    else:
        assert words in ([".", ".venv/bin/activate"], ["pre-commit", "install"]), f"unknown program: {words}"


def test_a_wrong_option_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --poolling"):
        check_command(["gbad", "train", "DATA", "--poolling", "max"])
    with pytest.raises(KeyError):
        check_command(["gbad", "trian", "DATA"])


@of_document
def test_each_option_file_and_name_in_the_text_exists(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`((?:gbad|python) [^`\n]+)`", text):
        words = shlex.split(code)
        if len(words) > 2:
            check_command(words)
        else:
            assert (
                words[1] in {*COMMANDS, "COMMAND", "--version", "--install-completion"} or (ROOT / words[1]).exists()
            ), code
    for code in re.findall(r"`([^`\n]+)`", text):
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            assert flag in FLAGS | OTHER_FLAGS or code.startswith("python "), code
        if re.match(r"(gbad|pipelines|studies|benchmarks|tests|docs|results|notebooks)/[\w./-]*$", code):
            assert (ROOT / code).exists(), code
        if re.fullmatch(r"gbad(\.\w+)+", code):
            assert exists(code), code
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        is_made = document.is_relative_to(ROOT / "docs") and "reference/" in str((document.parent / target).resolve())
        if not target.startswith("http") and not is_made:
            assert (document.parent / target).exists(), target


def exists(name: str) -> bool:
    """Whether ``gbad.room.module.name`` can be imported."""
    module, parts = import_module("gbad"), name.split(".")[1:]
    value: Any = module
    for k, part in enumerate(parts):
        if not hasattr(value, part):
            value = import_module(".".join(["gbad", *parts[: k + 1]]))
        else:
            value = getattr(value, part)
    return value is not None


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    pipeline_file: Path,
    dataset: Path,
    train_list: LabelList,
    make_pipeline: Callable[..., GBADPipeline],
    pixels: np.ndarray,
) -> Path:
    """A folder with the files that the documents speak of."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "bags").symlink_to(dataset)
    for run in ("demo", "boxes"):
        (folder / "runs" / run).mkdir(parents=True)
    shutil.copy(pipeline_file, folder / "runs" / "demo")
    for name, path in zip(("bag1.jpg", "bag2.png"), image_paths(dataset, train_list.names[:2]), strict=True):
        shutil.copy(path, folder / name)
    boxes = [[("Square", 8, 8, 24, 24)] if 10 <= row < 20 else [] for row in range(40)]
    labels = np.array([[len(given)] for given in boxes])
    learner = make_pipeline(position_weight=0.5, epochs=1, size=32)
    learner.fit(pixels, labels, classes=["Square"], boxes=boxes).save(folder / "runs" / "boxes" / "pipeline.joblib")
    return folder


PAGES_WITH_PYTHON = [document for document in DOCUMENTS if blocks(document, ("python",))]


@pytest.mark.parametrize("document", PAGES_WITH_PYTHON, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python_of_the_documents_runs(document: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for code in blocks(document, ("python",)):
        names: dict[str, Any] = {}
        exec(compile(code, str(document.relative_to(ROOT)), "exec"), names)
        for comment, shape in re.findall(r"^(\w+) = .*#.*?\((\d[\w, ]*)\)", code, re.MULTILINE):
            promised = tuple(int(size) if size.isdigit() else None for size in re.findall(r"\w+", shape))
            found = np.shape(names[comment])
            assert len(found) == len(promised)
            assert all(size in (None, real) for size, real in zip(promised, found, strict=True)), comment
    assert os.listdir(workplace)
