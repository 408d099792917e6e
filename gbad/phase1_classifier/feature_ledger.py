"""What a killed run has left of features: only batches that have the digest that was noted behind them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from gbad.storage.digests import bytes_digest

_log = logging.getLogger(__name__)

LEDGER = "batches.txt"
"""A line a batch: rows that have been seen, rows that have been written, digest of the batch in all files."""


class Batch(NamedTuple):
    """A line of the ledger; `seen` and `written` count from the first row."""

    seen: int
    written: int
    digest: str


def whole_batches(folder: Path, widths: Mapping[str, int]) -> list[Batch]:
    """Batches at the beginning of the files that are what was written.

    Parameters
    ----------
    folder : Path
        Folder of the files and the ledger. Files of an older version, without a ledger, count as nothing.
    widths : mapping of str to int
        Bytes of a row in each file.
    """
    batches: list[Batch] = []
    if not all((folder / name).exists() for name in (LEDGER, *widths)):
        return batches
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("rb")) for name in widths}
        rows = min((folder / name).stat().st_size // width for name, width in widths.items())
        before = Batch(0, 0, "")
        for line in (folder / LEDGER).read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.fullmatch(r"(\d{1,18}) (\d{1,18}) ([0-9a-f]{32})", line)
            if match is None:
                break
            batch = Batch(int(match[1]), int(match[2]), match[3])
            count = max(0, batch.written - before.written)
            # What a damaged line tells of may be more than the memory holds.
            blocks = [file.read(count * widths[name]) for name, file in files.items()] if batch.written <= rows else []
            if not blocks or _digest(blocks) != batch.digest:
                _log.warning(
                    "%s: damaged behind row %d, it is not what was written; computed anew from there on. If no power "
                    "was lost, check the disk.", folder, before.seen,
                )  # fmt: skip
                break
            batches.append(batch)
            before = batch
    return batches


@contextmanager
def continued(
    folder: Path, widths: Mapping[str, int], kept: list[Batch], written: int
) -> Iterator[Callable[[int, Mapping[str, npt.NDArray[Any]]], None]]:
    """Cut the files behind the batches that are kept; ``write(seen, arrays)`` appends a batch of arrays by file."""
    with ExitStack() as stack:
        mode = "r+b" if written else "wb"
        files = {name: stack.enter_context((folder / name).open(mode)) for name in widths}
        for name, file in files.items():
            file.truncate(written * widths[name])
            file.seek(0, 2)
        ledger = stack.enter_context((folder / LEDGER).open("w", encoding="utf-8"))
        ledger.writelines(f"{batch.seen} {batch.written} {batch.digest}\n" for batch in kept)

        def write(seen: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
            nonlocal written
            blocks = [arrays[name].tobytes() for name in widths]
            for file, block in zip(files.values(), blocks, strict=True):
                file.write(block)
                file.flush()
            written += len(blocks[0]) // next(iter(widths.values()))
            ledger.write(f"{seen} {written} {_digest(blocks)}\n")
            ledger.flush()

        yield write


def _digest(blocks: list[bytes]) -> str:
    return bytes_digest(b"".join(blocks)).hex()
