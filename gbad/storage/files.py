"""Write files whole or not at all: a killed process or a full disk never leaves half a file."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from gbad.errors import GbadError, RunError
from gbad.runtime.signals import interrupts_held
from gbad.storage.reading import open_regular, read_regular
from gbad.storage.targets import is_stream, output_file, output_path, standard_output


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it to `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The finished file or folder. Missing parent folders are made, and links are followed.

    Yields
    ------
    Path
        A path on the same disk with the same name, which does not exist yet.

    Raises
    ------
    GbadError
        If the disk is full or the folder cannot be written, or `path` is a device or a pipe. An older file at `path`
        stays unchanged.
    """
    target = output_path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True)
        try:
            temporary = Path(folder.name) / target.name
            yield temporary
            if temporary.is_file():
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            with interrupts_held():
                folder.cleanup()
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or error
        raise GbadError(
            f"{path}: cannot be written ({reason}). Nothing that existed was changed; "
            "free some space or choose another folder, then run the same command again."
        ) from error


@contextmanager
def csv_output(path: str | Path) -> Iterator[Path | TextIO]:
    """Give what `pandas.DataFrame.to_csv` can write to: standard output, or a file as `atomic_path` makes it."""
    if is_stream(path):
        with standard_output() as stream:
            yield stream
    else:
        with atomic_path(output_file(path)) as temporary:
            yield temporary


def remove_folder(path: str | Path) -> None:
    """Delete a folder, as far as possible, if it exists. Ctrl-C waits until the folder is gone."""
    with interrupts_held():
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all. NaN becomes null, since JSON has no NaN."""
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(content) + "\n", encoding="utf-8")


def json_text(content: Any) -> str:
    """Plain data, arrays and paths as indented JSON; NaN becomes null."""
    return json.dumps(_plain(content), indent=2, allow_nan=False)


def read_json(path: str | Path) -> Any:
    """Read a JSON file; GbadError if it is damaged."""
    try:
        return json.loads(read_regular(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GbadError(
            f"{path}: not valid JSON ({error}). Delete the file and run the step that writes it again."
        ) from error


def read_table(path: str | Path, columns: Sequence[str], remedy: str) -> pd.DataFrame:
    """Read a CSV file of a run folder as texts. Paths need not be UTF-8.

    Raises
    ------
    RunError
        If the file is damaged or lacks one of `columns`. The message ends with `remedy`.
    """
    try:
        with open_regular(path) as file:
            table = pd.read_csv(file, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise RunError(f"{path}: damaged ({error}). {remedy}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise RunError(f"{path}: damaged, it has no column {', '.join(missing)}. {remedy}")
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, Path):
        return str(value)
    return value
