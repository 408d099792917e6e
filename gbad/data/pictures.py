"""One picture of any kind: an image file, a frame of a DICOM file, or the two raw channels of a scan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gbad.data.arrays import Pixels
from gbad.data.dicom import file_of
from gbad.data.images import MAX_PIXELS, image_size, read_channel, read_image
from gbad.data.original import KEPT_PIXELS, FileImage, Original, warp
from gbad.data.raw_channels import raw_pair
from gbad.data.room import MOST_BYTES, room_for
from gbad.errors import ImageError

_BYTES_PER_PIXEL = 60  # of two channels while their colours are computed


def read_picture(path: str | Path, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a picture as 8-bit RGB, as a pipeline sees it.

    As `gbad.data.images.read_image`, with two rules for 16-bit grey, one energy of a scan: two raw channels
    (``a_low.png`` and ``a_high.png``, of which either names both) are shown in the colours of the simulator's first
    console; one alone is refused.

    Parameters
    ----------
    path, size, max_pixels
        As in `read_image`.

    Returns
    -------
    uint8 array (height, width, 3)
        (size, size, 3) if `size` is given.

    Raises
    ------
    ImageError
        As in `read_image`. 16-bit grey has the status ``"unsupported"``.
    """
    if (pair := raw_pair(path)) is None:
        return read_image(path, size, max_pixels, raw=False)
    colours = RawPair(Path(path), *pair, max_pixels).pixels()
    return colours if size is None else warp(colours, size)


def open_picture(path: str | Path, max_pixels: int = MAX_PIXELS) -> Original:
    """Open a picture, of which regions can be cut; arguments and errors as in `read_picture`."""
    pair = raw_pair(path)
    return FileImage(Path(path), max_pixels) if pair is None else RawPair(Path(path), *pair, max_pixels)


def files_of_picture(path: str | Path) -> tuple[Path, ...]:
    """Files that a picture is read from: one, or two raw channels."""
    return raw_pair(path) or (file_of(path),)


class RawPair(Original):
    """Two raw channels, uint16 of equal size, in the colours of the simulator's first console.

    The rule: `gbad.data.simulate.physics.as_shown` of both channels with the look `WHITE`, without any variation of
    colours or sharpness. A ray through air has the value 60,000, as in what ``gbad simulate --raw`` writes.

    Parameters
    ----------
    path : Path
        What errors name: either of the two.
    low, high : Path
        Files of the low and the high energy.
    max_pixels : int
    """

    def __init__(self, path: Path, low: Path, high: Path, max_pixels: int = MAX_PIXELS) -> None:
        self._path, self._low, self._high, self._max_pixels = path, low, high, max_pixels
        self._kept: Pixels | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header."""
        with self._named():
            return image_size(self._low, self._max_pixels)

    def warped(self, size: int) -> Pixels:
        """The picture warped to uint8 (size, size, 3)."""
        return warp(self.pixels(), size)

    def pixels(self) -> Pixels:
        """The picture at its own resolution, uint8 (height, width, 3)."""
        if self._kept is not None:
            return self._kept
        from gbad.data.simulate.looks import WHITE  # slow to import, and other pictures do without
        from gbad.data.simulate.physics import as_shown

        width, height = self.size
        if (needed := _BYTES_PER_PIXEL * width * height) > MOST_BYTES:
            reason = f"its channels need {needed:,} bytes of memory, more than {MOST_BYTES:,}. Scale them down."
            raise ImageError(self._path, "too_large", reason)
        with room_for(pixels=width * height), self._named():
            low, high = read_channel(self._low, self._max_pixels), read_channel(self._high, self._max_pixels)
            if low.shape != high.shape:
                reason = f"{low.shape[1]} × {low.shape[0]} pixels, but {self._high.name} has {high.shape[1]} × "
                raise ImageError(self._low, "unreadable", f"{reason}{high.shape[0]}. Copy both files again.")
            shown = as_shown(np.stack([low, high]), WHITE)
        if width * height <= KEPT_PIXELS:
            self._kept = shown
        return shown

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let errors of either file be errors of the path that was asked for."""
        try:
            yield
        except ImageError as error:
            raise ImageError(self._path, error.status, f"{error.path.name}: {error.reason}") from error
