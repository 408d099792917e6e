"""``ImageSet/<subset>/groups.csv``: images that belong together, such as those of one bag, passenger or session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gbad.data.labels import csv_rows, needs_quotes, strip_suffix
from gbad.errors import DataError
from gbad.storage.tables import text_table, write_table

_COLUMNS = ("name", "group")


def groups_path(data: str | Path, subset: int | str) -> Path:
    """Path of the groups of a subset: ``data/ImageSet/<subset>/groups.csv``."""
    return Path(data) / "ImageSet" / str(subset) / "groups.csv"


def read_groups(data: str | Path, subset: int | str, names: Sequence[str]) -> list[str | None] | None:
    """Read the groups of some images.

    The file has the columns ``name`` and ``group``; other columns are ignored. A known image suffix is removed from the
    name. The group may be any text.

    Parameters
    ----------
    data : path-like
        The data set's folder, which holds ``ImageSet``.
    subset : int or str
        Name of the subset.
    names : sequence of n str
        Image names without suffix.

    Returns
    -------
    list of n str or None, or None
        Group of each image, None where the file does not name it. None if there is no such file.

    Raises
    ------
    DataError
        If the file has another form. The message names file, line and value.
    """
    path = groups_path(data, subset)
    if not path.exists():
        return None
    groups: dict[str, str] = {}
    rows = csv_rows(path)
    columns = [column.strip() for column in next(rows, (1, [], False))[1]]
    if wrong := [column for column in _COLUMNS if columns.count(column) != 1]:
        raise DataError(
            f"{path}, line 1: not one column {wrong[0]!r} in the header {columns}. Write it as 'name,group'."
        )
    at_name, at_group = (columns.index(column) for column in _COLUMNS)
    for line, row, quoted in rows:
        if not "".join(row).strip():
            continue  # a blank line
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} columns where the header has {len(columns)}. Correct the row."
            )
        name = strip_suffix(row[at_name] if quoted and at_name == 0 else row[at_name].strip())
        group = row[at_group].strip()
        if not name or not group:
            raise DataError(f"{path}, line {line}: an empty name or group in {row}. Write both, or delete the row.")
        if (first := groups.setdefault(name, group)) != group:
            raise DataError(
                f"{path}, line {line}: {name!r} is in the group {group!r} here, and in {first!r} on a line before. "
                "Delete one of the two rows."
            )
    return [groups.get(name) for name in names]


def write_groups(data: str | Path, subset: int | str, groups: Mapping[str, str]) -> None:
    """Write the groups of a subset: `groups` maps image names to groups."""
    table = text_table(groups.items(), _COLUMNS)
    write_table(table, groups_path(data, subset), quoted=any(map(needs_quotes, groups)))
