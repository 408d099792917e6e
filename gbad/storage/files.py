"""Write files whole or not at all: a killed process or a full disk never leaves half a file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gbad.errors import GbadError, RunError
from gbad.runtime.signals import interrupts_held
from gbad.storage.digests import bytes_digest, json_digest
from gbad.storage.locks import own_folder
from gbad.storage.reading import read_regular
from gbad.storage.targets import output_path

_UNFINISHED = ".gbad"  # ending of the hidden folder in which a file is written
_LONGEST = 240  # bytes of that folder's name: file systems take 255, and without locks some are added
_BEGINNING = 40  # characters, at most 160 bytes


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
        with _unfinished(target) as temporary:
            yield temporary
            if temporary.is_file():
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or error
        raise GbadError(
            f"{path}: cannot be written ({reason}). Nothing that existed was changed; "
            "free some space or choose another folder, then run the same command again."
        ) from error


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Give a path beside `target`, in a folder that is deleted at the end.

    The folder has always the same name, so the next process that writes `target` finds and deletes what a killed one
    has left there.
    """
    with own_folder(target.with_name(_hidden_name(target.name))) as folder:
        temporary = folder / target.name
        _remove(temporary)
        try:
            yield temporary
        finally:
            _remove(temporary)


def _hidden_name(name: str) -> str:
    """Name of the hidden folder in which the file `name` is written: always the same, and not too long."""
    hidden = f".{name}{_UNFINISHED}"
    if len(os.fsencode(hidden)) <= _LONGEST:
        return hidden
    return f".{name[:_BEGINNING]}.{bytes_digest(os.fsencode(name)).hex()}{_UNFINISHED}"


def remove_leftovers(folder: str | Path) -> None:
    """Delete what killed processes have left in a folder of files that they were writing with `atomic_path`."""
    for left in Path(folder).glob(f".*{_UNFINISHED}"):
        if left.is_symlink() or not left.is_dir():
            continue  # not of gbad
        with own_folder(left) as own:
            for path in list(own.iterdir()):
                if _hidden_name(path.name) == left.name:
                    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        with suppress(OSError):
            path.unlink()


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


def write_sealed(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` as `write_json` does, with the digest of what stands in the file."""
    plain = _plain(dict(content))
    write_json(path, plain | {"digest": json_digest(plain)})


def read_sealed(path: str | Path) -> dict[str, Any]:
    """Read a file of `write_sealed`; older files have no digest. RunError if it is damaged."""
    content = read_json(path)
    digest = content.pop("digest", None) if isinstance(content, dict) else ""
    if digest is not None and digest != json_digest(content):
        raise RunError(
            f"{path}: damaged, it is not what was written. Delete it and run the same command again, which writes it "
            "again."
        )
    found: dict[str, Any] = content
    return found


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
