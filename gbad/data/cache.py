"""Decoded images on disk: each image is decoded once, and memory stays bounded."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from gbad.data.arrays import Pixels, Rows
from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource, rows_of, stream, warped
from gbad.errors import GbadError, RunError
from gbad.runtime.progress import progress_bar
from gbad.storage.files import read_json, write_json

_EMPTY, _READY, _BAD = 0, 1, 2
_SUM = np.dtype("<u4")
_log = logging.getLogger(__name__)


class DecodedCache:
    """Images of a source in one sparse file of uint8 pixels. A row is decoded when it is first asked for.

    Each row has a checksum, which is compared when a process first asks for the row: what is not the image that was
    written is decoded anew.

    Parameters
    ----------
    source : ImageSource
        Where images come from.
    folder : path-like
        Folder of the cache. The cache of a killed run is continued, that of a version without checksums is decoded
        anew; the cache of other images is refused.
    bad : BadImages
        Counts each image that cannot be decoded.

    Attributes
    ----------
    images : uint8 memory map (n, size, size, 3)
        All rows of the source. Only rows that `fill` has returned hold an image.

    Raises
    ------
    RunError
        If `folder` caches other images or another size, or its files have the wrong length.
    """

    def __init__(self, source: ImageSource, folder: str | Path, bad: BadImages) -> None:
        self.source = source
        self.bad = bad
        self._folder = Path(folder)
        self._shape = (source.size, source.size, 3)
        self._bytes = int(np.prod(self._shape))
        self._open()

    def _open(self) -> None:
        digest = hashlib.blake2b("\n".join(self.source.names).encode("utf-8", "surrogateescape"), digest_size=16)
        content = {"images": len(self.source), "size": self.source.size, "names": digest.hexdigest()}
        head = self._folder / "cache.json"
        count = len(self.source)
        sizes = {"images.u8": count * self._bytes, "sums.u32": count * _SUM.itemsize, "status.u8": count}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not head.exists():
                for name, size in sizes.items():
                    _write_zeros(self._folder / name, size)
                write_json(head, content)
            elif read_json(head) != content:
                raise RunError(
                    f"{self._folder} caches other images or another size. Choose another run folder, or delete it."
                )
            elif not (self._folder / "sums.u32").exists():
                _log.info("%s: of a version without checksums; its images are decoded again", self._folder)
                for name in ("status.u8", "sums.u32"):  # in this order, which a killed process may break off
                    _write_zeros(self._folder / name, sizes[name])
            for name, size in sizes.items():
                path = self._folder / name
                if (found := path.stat().st_size if path.exists() else 0) != size:
                    raise RunError(
                        f"{path} has {found:,} bytes, not the {size:,} of {len(self.source):,} images: it was cut, or "
                        f"copied in part. Delete the folder {self._folder}: its images will be decoded again."
                    )
            self._images_file = (self._folder / "images.u8").open("r+b", buffering=0)
            self._sums_file = (self._folder / "sums.u32").open("r+b", buffering=0)
            self._status_file = (self._folder / "status.u8").open("r+b", buffering=0)
        except OSError as error:
            raise GbadError(
                f"{self._folder}: the image cache cannot be made ({error.strerror or error}). Free some space, or "
                "choose another run folder."
            ) from error
        # Bad images are tried again: the user may have repaired them.
        status = np.fromfile(self._folder / "status.u8", np.uint8)
        self._status = np.where(status == _READY, _READY, _EMPTY).astype(np.uint8)
        self._checked = np.zeros(len(self.source), bool)
        self.images = np.memmap(self._folder / "images.u8", np.uint8, "r", shape=(len(self.source), *self._shape))

    def fill(self, rows: Sequence[int] | Rows, *, description: str = "decoding", show_progress: bool = False) -> Rows:
        """Decode the rows that are not in the cache yet.

        Returns
        -------
        int array
            Those of `rows` that can be used, in order.

        Raises
        ------
        TooManyBadImagesError, ImageError
            As in `BadImages.add`.
        GbadError
            If the disk is full. Images decoded before stay valid.
        """
        rows = np.asarray(rows, dtype=np.int64)
        self._check(rows)
        missing = np.unique(rows[self._status[rows] == _EMPTY])
        if len(missing):
            ready = (
                np.fromfile(self._folder / "status.u8", np.uint8) == _READY
            )  # decoded by another process of this run
            self._status[ready] = _READY
            self._check(missing)
            missing = missing[self._status[missing] == _EMPTY]
            with progress_bar(description, len(missing), show=show_progress) as advance:
                for done, images, errors in stream(self.source, missing):
                    for error in errors.values():
                        self.bad.add(error)
                    self._write(done, images)
                    advance(len(done) + len(errors))
            self._status[missing[self._status[missing] == _EMPTY]] = _BAD
        return np.asarray(rows[self._status[rows] == _READY])

    def _write(self, rows: Rows, images: Pixels) -> None:
        # Writing through a memory map would end the process with a bus error on a full disk; write() reports it.
        # The pixels go before the status, so a killed process never leaves a row that claims to be ready.
        try:
            for row, image in zip(rows, images, strict=True):
                self._images_file.seek(int(row) * self._bytes)
                if self._images_file.write(image.tobytes()) != self._bytes:
                    raise OSError("the disk took only part of an image")
                self._sums_file.seek(int(row) * _SUM.itemsize)
                self._sums_file.write(_SUM.type(zlib.crc32(image.data)).tobytes())
            self._set_status(rows.tolist(), _READY)
        except OSError as error:
            raise GbadError(
                f"{self._folder}: decoded images cannot be written ({error.strerror or error}). Free some space and "
                "run the same command again; it continues where it stopped."
            ) from error
        self._checked[rows] = True

    def _set_status(self, rows: Sequence[int], status: int) -> None:
        for row in rows:
            self._status_file.seek(row)
            self._status_file.write(bytes([status]))
        self._status[list(rows)] = status

    def _check(self, rows: Rows) -> None:
        """Compare rows that are ready, and that this process has not looked at, with their checksums."""
        new = np.unique(rows[(self._status[rows] == _READY) & ~self._checked[rows]])
        if not len(new):
            return
        sums = np.fromfile(self._folder / "sums.u32", _SUM)
        damaged = [row for row in new.tolist() if zlib.crc32(self.images[row].data) != sums[row]]
        self._checked[new] = True
        if damaged:
            _log.warning(
                "%s: %d decoded images are not what was written, the first is that of %s; they are decoded anew. If no "
                "power was lost, check the disk.", self._folder, len(damaged), self.source.names[damaged[0]],
            )  # fmt: skip
            self._set_status(damaged, _EMPTY)

    def __getitem__(self, rows: Sequence[int] | Rows) -> Pixels:
        """Images of rows that `fill` has returned: uint8 (n, size, size, 3)."""
        return self.images[np.asarray(rows, dtype=np.int64)]

    def close(self) -> None:
        """Close the files."""
        self._images_file.close()
        self._sums_file.close()
        self._status_file.close()
        del self.images


def _write_zeros(path: Path, size: int) -> None:
    """Write a sparse file: it takes disk space only where something else is written."""
    with path.open("wb") as file:
        file.truncate(size)


def decode_images(
    source: ImageSource, rows: Rows, size: int, folder: str | Path, *, show_progress: bool = False
) -> Pixels:
    """Decode some images of a source, warped to another size; a call that was killed continues.

    Parameters
    ----------
    source : ImageSource
        Where images come from.
    rows : int array (n,)
        Which images, in the order of the result.
    size : int
        Width and height in pixels.
    folder : path-like
        Where the decoded images lie, as in `DecodedCache`.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    uint8 memory map (n, size, size, 3)

    Raises
    ------
    ImageError
        If an image cannot be used.
    RunError, GbadError
        As in `DecodedCache`.
    """
    chosen = warped(rows_of(source, rows), size)
    with closing(DecodedCache(chosen, folder, BadImages(len(rows), strict=True))) as cache:
        cache.fill(np.arange(len(rows)), show_progress=show_progress)
        return cache.images
