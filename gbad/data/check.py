"""Check that a data set in SIXray's layout is complete, readable and labelled without contradiction."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gbad.data.consistency import Problem, Row, find_contradictions, make_rows
from gbad.data.groups import groups_path, read_groups
from gbad.data.images import (
    TRUNCATED,
    Unlistable,
    find_images,
    find_name_collisions,
    read_file,
    walk_images,
)
from gbad.data.labels import PARTS, LabelList, find_subsets, list_path, read_list, read_sixray, strip_suffix
from gbad.data.pictures import files_of_picture, read_picture
from gbad.errors import DataError, ImageError
from gbad.runtime.progress import progress_bar
from gbad.storage.digests import bytes_digest
from gbad.storage.reading import read_regular
from gbad.storage.tables import text_table
from gbad.storage.targets import Kind

PROBLEMS = {
    "missing_list": "train or test list that is not there",
    "missing_image": "row without image",
    "unreadable": "empty, damaged or not an image",
    "truncated": "file that ends too early",
    "too_large": "more pixels than gbad decodes",
    "unsupported": "CMYK, one energy of a raw scan, floating point or several frames",
    "no_row": "image without row in any list of any subset",
    "duplicate": "same bytes as another image of the same list",
    "duplicate_across_parts": "same bytes in train and test",
    "same_name_across_parts": "same name in train and test",
    "label_conflict": "labels that contradict each other or the boxes",
    "bad_annotation": "annotation that cannot be read",
    "bad_box": "box that is empty or not inside its image",
    "bad_list": "list of another subset that cannot be read",
    "bad_groups": "groups.csv that cannot be read",
    "bad_folder": "folder that cannot be listed",
    "mislabelled": "name on the list of mislabelled images",
    "same_stem": "several image files with one name; the first is used",
}
"""Problems in the order of the summary, and their meaning."""

INCOMPLETE = frozenset({"missing_list", "missing_image", "unreadable", "truncated", "too_large", "unsupported"})
"""Problems that make a data set incomplete: a list is missing, or an image of a row. Other problems inform only."""

FINDINGS = Kind("list of findings", (",".join(Problem._fields).encode(),))

_CHUNK = 64
_DECODED_SIZE = 32  # a JPEG is parsed to its end at any scale, and fastest at the smallest


@dataclass(frozen=True)
class ListCounts:
    """Counts of one list.

    Parameters
    ----------
    subset, part : str
        Subset and part (``"train"`` or ``"test"``) of the list.
    rows : int
        Rows of the list.
    found : int
        Rows whose image file exists.
    usable : int or None
        Rows whose image could be decoded. None in subsets that were not checked.
    threat_free : int
        Rows without threats.
    classes : dict of str to int
        Rows of each class.
    """

    subset: str
    part: str
    rows: int
    found: int
    usable: int | None
    threat_free: int
    classes: dict[str, int]


@dataclass(frozen=True, eq=False)
class CheckReport:
    """Findings of `check_dataset`.

    Parameters
    ----------
    data : Path
        The data set.
    subset : str
        The subset whose images were decoded.
    problems : DataFrame
        One row per finding, text columns ``part`` (``"train"``, ``"test"`` or empty), ``name``, ``path``, ``problem``
        (a key of `PROBLEMS`) and ``detail``.
    counts : tuple of ListCounts
        One entry per list of each subset.
    images : int
        Image files below the data set's folder, each name counted once.
    mislabelled_ids : int or None
        Names on the list of mislabelled images; None if there was no such list.
    """

    data: Path
    subset: str
    problems: pd.DataFrame
    counts: tuple[ListCounts, ...]
    images: int
    mislabelled_ids: int | None = None

    @property
    def totals(self) -> dict[str, int]:
        """Number of findings of each problem that occurs, in the order of `PROBLEMS`."""
        found = Counter(self.problems["problem"])
        return {problem: found[problem] for problem in PROBLEMS if found[problem]}

    @property
    def complete(self) -> bool:
        """Whether both lists of the subset are there, and each of their rows has an image that can be used."""
        return not INCOMPLETE & self.totals.keys()


def check_dataset(
    data: str | Path,
    subset: int | str,
    mislabelled: str | Path | None = None,
    show_progress: bool = False,
    workers: int | None = None,
) -> CheckReport:
    """Check the images of one subset, and compare its lists with the images, the annotations and each other.

    Parameters
    ----------
    data : path-like
        The data set's folder, in SIXray's layout.
    subset : int or str
        Subset to check. Each of its images is decoded completely.
    mislabelled : path-like or None
        Text file with the names of images that are known to be mislabelled, as in `read_ids`.
    show_progress : bool
        Show a progress bar.
    workers : int or None
        Threads that decode images. None: one per core.

    Returns
    -------
    CheckReport
        All findings. Memory grows by some hundred bytes per image, not with the images' sizes.

    Raises
    ------
    DataError
        If there is no list of this subset, or one of its lists or `mislabelled` cannot be read.
    """
    data, subset = Path(data), str(subset)
    parts = {part: read_sixray(data, subset, part) for part in PARTS if list_path(data, subset, part).is_file()}
    if not parts:
        read_sixray(data, subset, PARTS[0])  # raises an error that names the subsets that exist
    listed_wrong = None if mislabelled is None else read_ids(Path(mislabelled))
    unlistable: Unlistable = []
    images = find_images(data, unlistable)
    counts, names, problems = _count_lists(data, subset, parts, images)
    problems += [Problem("", name, str(images[name]), "no_row", "in no list") for name in images.keys() - names]
    rows = make_rows(parts, images)
    digests, unusable = _decode_all(rows, show_progress, workers or os.cpu_count() or 1)
    problems += unusable
    problems += find_contradictions(data, parts, rows, digests)
    problems += [row.problem("mislabelled", "on the given list") for row in rows if row.name in (listed_wrong or ())]
    try:
        read_groups(data, subset, ())
    except DataError as error:
        problems.append(Problem("", "", str(groups_path(data, subset)), "bad_groups", str(error)))
    problems += [
        Problem("", "", folder, "bad_folder", f"cannot be listed ({reason}). Check the folder's permissions.")
        for folder, reason in unlistable
    ]
    for name, paths in find_name_collisions(data, []).items():
        problems += [Problem("", name, str(path), "same_stem", f"{paths[0]} is used instead") for path in paths[1:]]
    lost = Counter(problem.part for problem in unusable)
    counts = [
        replace(entry, usable=entry.rows - lost[entry.part]) if entry.subset == subset else entry for entry in counts
    ]
    ranks = {name: rank for rank, name in enumerate([*PROBLEMS, *PARTS])}
    problems.sort(key=lambda found: (ranks[found.problem], ranks.get(found.part, len(ranks)), *found[1:]))
    table = text_table(problems, Problem._fields)
    n_ids = None if listed_wrong is None else len(listed_wrong)
    return CheckReport(data, subset, table, tuple(counts), len(images), n_ids)


def files_of(data: str | Path, subset: int | str) -> Iterator[Path]:
    """Files that `check_dataset` reads and that must not be overwritten: lists, groups and images."""
    for other in {str(subset), *find_subsets(data)}:
        yield from (list_path(data, other, part) for part in PARTS)
    yield groups_path(data, subset)
    yield from (Path(path) for _, path in walk_images(data, unlistable=[]))


def read_ids(path: Path) -> set[str]:
    """Read image names from a text file: one per line, with or without suffix. Text after ``#`` is a comment.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        lines = read_regular(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason} at byte {error.start}). Save the file as UTF-8."
        raise DataError(f"{path}: {reason}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}). Give a text file with one image name per line.") from error
    return {strip_suffix(text) for line in lines if (text := line.partition("#")[0].strip())}


def _count_lists(
    data: Path, subset: str, parts: dict[str, LabelList], images: dict[str, Path]
) -> tuple[list[ListCounts], set[str], list[Problem]]:
    """Count the rows of all lists. Also return all names in them, and lists that are missing or cannot be read."""
    counts: list[ListCounts] = []
    names: set[str] = set()
    problems: list[Problem] = []
    for other in find_subsets(data):
        for part in PARTS:
            path = list_path(data, other, part)
            if not path.is_file():
                if other == subset:
                    detail = "no such file. Copy the list from the data set."
                    problems.append(Problem(part, "", str(path), "missing_list", detail))
                continue
            try:
                labels = parts[part] if other == subset else read_list(path)
            except DataError as error:
                problems.append(Problem(part, "", str(path), "bad_list", str(error)))
                continue
            names.update(labels.names)
            found = sum(name in images for name in labels.names)
            threat_free = int((~labels.positive).sum())
            counts.append(ListCounts(other, part, len(labels), found, None, threat_free, labels.counts()))
    return counts, names, problems


def _decode_all(rows: Sequence[Row], show_progress: bool, workers: int) -> tuple[list[bytes | None], list[Problem]]:
    """Decode the image of each row. Return its digest, or None if it cannot be used, and all findings."""
    digests: list[bytes | None] = []
    problems: list[Problem] = []
    pool = ThreadPoolExecutor(workers)
    try:
        with progress_bar("checking images", len(rows), show=show_progress) as advance:
            chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
            for results in pool.map(_decode_chunk, chunks):
                digests += [result if isinstance(result, bytes) else None for result in results]
                problems += [result for result in results if isinstance(result, Problem)]
                advance(len(results))
    finally:
        pool.shutdown(cancel_futures=True)  # otherwise Ctrl-C would wait for all queued images
    return digests, problems


def _decode_chunk(rows: Sequence[Row]) -> list[bytes | Problem]:
    results: list[bytes | Problem] = []
    for row in rows:
        if not row.path:
            results.append(row.problem("missing_image", "no image file has this name. Download the image again."))
            continue
        try:
            content = b"".join(read_file(file) for file in files_of_picture(row.path))
            read_picture(row.path, _DECODED_SIZE)
            results.append(bytes_digest(content))
        except ImageError as error:
            status = "truncated" if error.reason.startswith(TRUNCATED) else error.status
            results.append(row.problem("missing_image" if status == "missing" else status, error.reason))
    return results
