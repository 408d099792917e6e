"""What the images of a command are: files, folders, patterns, lists of names, and frames of DICOM files."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gbad.data.dicom import frames_of
from gbad.data.images import IMAGE_SUFFIXES, walk_images
from gbad.data.raw_channels import is_pair, raw_pair
from gbad.errors import DataError
from gbad.runtime.text import counted
from gbad.storage.reading import read_regular

STANDARD_INPUT = "-"
"""Stands for standard input in the place of a list of names."""

_log = logging.getLogger(__name__)


def one_or_more(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Give a list of paths, of one as of several: a text is a sequence of letters, but no list of paths."""
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]


def expand(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Replace folders by the images below them, patterns by what they match; keep files as given.

    The rules and the order of folders are those of `gbad.data.images.find_images`: links are followed, hidden files and
    folders and those of annotations, lists and masks are skipped. A link that leads nowhere and a folder that cannot be
    listed count, since their rows say so. Files that are no images are counted in one line.

    A pattern with ``*``, ``?``, ``[…]`` or ``**`` that is no file itself gives the files and folders that it matches,
    sorted; one that matches nothing stays, and its row says that there is no such file.

    Two raw channels are one image: of ``a_low.png`` and ``a_high.png`` the first stays. In a folder they are left out
    where another image has their name. A DICOM file of several frames gives each, ``scan.dcm#1``, ``scan.dcm#2``, ….

    Raises
    ------
    DataError
        If nothing is left.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    given = one_or_more(paths)
    for path in given:
        for one in [path] if os.path.lexists(path) else _matches(path):
            is_folder = os.path.isdir(one)  # false for names that are too long, whose rows say so
            found += _images_below(one, others) if is_folder else [one]
    if others:
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in others.most_common())
        _log.info("%s of other kinds left out: %s", counted(others.total(), "file"), kinds)
    found = [frame for path in _without_partners(found) for frame in frames_of(path)]
    if not found:
        raise DataError(f"no image in {', '.join(map(str, given))}; gbad reads {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def read_names(path: str | Path) -> list[str]:
    """Read paths from a text file, one a line, or with a zero byte between them, as ``find -print0`` writes them.

    Parameters
    ----------
    path : path-like
        The file; ``-`` for standard input. Paths may be of any bytes. Empty lines are skipped.

    Raises
    ------
    DataError
        If the file cannot be read, or names nothing.
    """
    is_input = str(path) == STANDARD_INPUT
    if is_input and sys.stdin is None:  # of a service, perhaps
        raise DataError("standard input is closed, so no names can be read from it. Name images, or give --from FILE.")
    try:
        content = sys.stdin.buffer.read() if is_input else read_regular(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give a text file with one path a line.") from error
    lines = content.split(b"\0") if b"\0" in content else content.removeprefix(b"\xef\xbb\xbf").splitlines()
    if not (names := [os.fsdecode(line) for line in lines if line.strip()]):
        raise DataError(f"{'standard input' if is_input else path}: names no image. Give one path a line.")
    return names


def _matches(path: Path) -> list[Path]:
    if not glob.has_magic(str(path)):
        return [path]
    return [Path(one) for one in sorted(glob.glob(str(path), recursive=True))] or [path]


def _images_below(folder: Path, others: Counter[str]) -> list[Path]:
    images = [(name, Path(path)) for name, path in walk_images(folder, broken=True, others=others)]
    pictures = {name for name, path in images if not is_pair(name, path)}
    kept = [path for name, path in images if not (is_pair(name, path) and name in pictures)]
    if len(kept) < len(images):
        less = counted(len(images) - len(kept), "pair")
        _log.info("%s of raw channels in %s left out: images of the same names are there", less, folder)
    return kept


def _without_partners(paths: Sequence[Path]) -> list[Path]:
    """Leave out raw channels of the high energy whose partner is there, too."""
    given = set(paths)

    def is_partner(path: Path) -> bool:
        pair = raw_pair(path)
        return pair is not None and path == pair[1] and pair[0] in given

    return [path for path in paths if not is_partner(path)]
