"""The folder of pictures: never where the input is searched, or the next call would score its own pictures."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from gbad.data.dicom import file_of
from gbad.errors import GbadError
from gbad.runtime.text import printable


def made_folder(folder: str | Path, inputs: Sequence[str | Path], files: Sequence[Path]) -> None:
    """Make the folder of pictures, unless the input reaches it.

    It is refused if a folder of the input, or one that a pattern matches, holds it; if a pattern would match a picture
    in it; and if an image of the input lies in it, as where a shell has replaced the pattern by what it matched. A
    pattern that a shell has replaced, and that matches no image in the folder yet, cannot be seen.

    Parameters
    ----------
    folder : path-like
    inputs : sequence of path-like
        Images, folders and patterns, as they were given.
    files : sequence of Path
        The images that they stand for.

    Raises
    ------
    GbadError
        If the input reaches the folder, it cannot be made, or a picture would be written over an image of the input.
    """
    folder = Path(folder)
    missing = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check(folder, inputs, files)
    except OSError as error:
        raise GbadError(f"{folder}: no folder for pictures can be made ({error.strerror}). Give another.") from error
    except GbadError:
        for one in missing:  # what was not there before is not there after
            with suppress(OSError):
                one.rmdir()
        raise


def picture_name(row: int, path: Path) -> str:
    """Name of the picture of an image, which has this row."""
    stem = printable(path.stem).replace(os.sep, "_").encode()[:100].decode(errors="ignore")  # bytes are what is limited
    return f"{row:06d}-{stem}.jpg"


def _check(folder: Path, inputs: Sequence[str | Path], files: Sequence[Path]) -> None:
    target = Path(os.path.realpath(folder))
    names = [picture_name(row, path) for row, path in enumerate(files)]
    for reached in map(str, inputs):
        if any(target.is_relative_to(os.path.realpath(one)) for one in _folders(reached)):
            raise _refusal(folder, reached)
        if not os.path.lexists(reached) and glob.has_magic(reached):
            within, name = os.path.split(reached)
            among = glob.glob(os.path.join(within, ""), recursive=True) if within else [os.curdir]
            if any(os.path.realpath(one) == str(target) for one in among):
                if any(fnmatch(picture, name) for picture in names):
                    raise _refusal(folder, reached)
    of_folder: dict[Path, Path] = {}
    for path in map(file_of, files):
        of_folder.setdefault(path.parent, path)
    for parent, path in of_folder.items():
        if os.path.realpath(parent) == str(target):
            raise _refusal(folder, str(path))
    if there := set(os.listdir(folder)) & set(names):
        real = {os.path.realpath(path) for path in files}
        for name in sorted(there):  # through a link
            if os.path.realpath(folder / name) in real:
                raise GbadError(f"{folder / name}: will not be replaced, since it is an input. Give another folder.")


def _folders(given: str) -> Iterator[str]:
    """Folders that are searched for images: the one that is given, or those that a pattern matches."""
    if os.path.isdir(given):
        yield given
    elif not os.path.lexists(given) and glob.has_magic(given):
        yield from (one for one in glob.glob(given, recursive=True) if os.path.isdir(one))


def _refusal(folder: Path, reached: str) -> GbadError:
    return GbadError(
        f"{folder}: no folder for pictures, since {reached} reaches it: the next call would score its own pictures. "
        "Give a folder apart from the images."
    )
