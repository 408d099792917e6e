"""Decode some images once into one file, at a size of their own, for a training that reads them again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gbad.data.arrays import Pixels, Rows
from gbad.data.source import ImageSource, source_from_array, stream
from gbad.errors import GbadError
from gbad.runtime.progress import progress_bar

_BATCH = 64


def decode_images(
    source: ImageSource, rows: Rows, size: int, path: str | Path, *, show_progress: bool = False
) -> Pixels:
    """Decode images of a source, warped to another size; a call that was killed goes on where it stopped.

    The caller must remove the file if the images or the rows have changed.

    Parameters
    ----------
    source : ImageSource
    rows : int array (n,)
        Which images, in the order that the file gets.
    size : int
        Width and height in pixels.
    path : path-like
        The file: raw pixels.
    show_progress : bool
        Show a progress bar.

    Returns
    -------
    uint8 memory map (n, size, size, 3)

    Raises
    ------
    ImageError
        If an image cannot be read.
    GbadError
        If the disk is full; what was decoded before stays valid.
    """
    path, shape = Path(path), (size, size, 3)
    length = int(np.prod(shape))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = min(path.stat().st_size // length if path.exists() else 0, len(rows))
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(done * length)
            file.seek(0, 2)
            with progress_bar("decoding", len(rows), show=show_progress) as advance:
                advance(done)
                for _, images, errors in stream(source, rows[done:], _BATCH):
                    for error in errors.values():
                        raise error
                    small = source_from_array(images, size)
                    for image in range(len(images)):
                        file.write(small.load(image).tobytes())
                    advance(len(images))
    except OSError as error:
        raise GbadError(
            f"{path}: decoded images cannot be written ({error.strerror or error}). Free some space and run the same "
            "command again; it continues where it stopped."
        ) from error
    return np.memmap(path, np.uint8, "r", shape=(len(rows), *shape))
