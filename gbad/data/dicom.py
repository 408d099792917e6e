"""DICOM files as 8-bit images, by the rules of the files themselves. Needs the extra ``dicom`` (pydicom)."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gbad.errors import ImageError
from gbad.runtime.decoders import without_warnings

DICOM_SUFFIXES = (".dcm", ".dicom")
"""Suffixes of DICOM files (compared in lower case). A file without one is read as well if it is named."""

_PREAMBLE, _MAGIC = 128, b"DICM"
_FRAME = re.compile(r"(.+\.(?:dcm|dicom))#([1-9]\d{0,5})", re.IGNORECASE | re.DOTALL)
_MOST_FRAMES = 100_000
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # a transfer syntax that a small file could fill the memory by
_HEAD = 2**20  # bytes, far more than what stands before the data set
_MAY_BE_EMPTY = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
_FAR = 1e12  # beyond any pixel value: a window maps it to its end


def is_dicom(data: bytes) -> bool:
    """Whether the content of a file is DICOM."""
    return data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def file_of(path: str | Path) -> Path:
    """File of a path: ``scan.dcm`` for the frame ``scan.dcm#2``, else the path itself.

    Examples
    --------
    >>> file_of("scan.dcm#2").name, file_of("scan.png#2").name
    ('scan.dcm', 'scan.png#2')
    """
    match = _FRAME.fullmatch(str(path))
    return Path(match[1]) if match and not os.path.lexists(path) else Path(path)


def frames_of(path: Path) -> list[Path]:
    """Paths of the frames of a DICOM file of several: ``scan.dcm#1``, ``scan.dcm#2``, …; else the path itself."""
    if path.suffix.lower() not in DICOM_SUFFIXES or find_spec("pydicom") is None or not os.path.isfile(path):
        return [path]
    from pydicom import dcmread

    try:
        with path.open("rb") as file, without_warnings():
            if _DEFLATED in file.read(_HEAD):
                return [path]
            file.seek(0)
            head = dcmread(file, specific_tags=["NumberOfFrames"], stop_before_pixels=True)
        count = int(head.get("NumberOfFrames") or 1)
    except Exception:  # what is wrong with the file is said when it is read
        return [path]
    return [Path(f"{path}#{frame}") for frame in range(1, count + 1)] if 1 < count <= _MOST_FRAMES else [path]


class DicomFile:
    """A DICOM file: its size at once, its pixels when they are asked for.

    Parameters
    ----------
    path : Path
        For messages, and the frame if the file has several.
    data : bytes
        The whole file.

    Raises
    ------
    ImageError
        If pydicom is missing, the file has no pixels, or it has several frames and `path` names none.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        if find_spec("pydicom") is None:
            raise ImageError(path, "unsupported", "DICOM needs pydicom. Run pip install 'gbad[dicom]'.")
        if _DEFLATED in data:
            raise ImageError(path, "unsupported", "a deflated DICOM file. Save it without that, or as PNG.")
        from pydicom import dcmread

        self._dataset = dcmread(BytesIO(data))
        if "PixelData" not in self._dataset:
            raise ImageError(path, "unsupported", "a DICOM file without pixels. Give one that holds an image.")
        frames, frame = int(self._dataset.get("NumberOfFrames") or 1), _frame(path)
        if frames > 1 and frame is None:
            reason = f"{frames:,} frames in one file. Name one as {path.name}#1, or give the file to `gbad predict`."
            raise ImageError(path, "unsupported", reason)
        if frame is not None and frame > frames:
            raise ImageError(path, "missing", f"the file has {frames:,} frames. Name one of them.")
        self._path, self._index = path, (frame or 1) - 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self._dataset.Columns), int(self._dataset.Rows)

    def image(self) -> Image.Image:
        """Decode the frame, mode L or RGB.

        Colours are taken as they are. Grey values are shown as the file asks for: rescaled, through its lookup table or
        window if it has one, else from the least to the largest value that its bits can hold; inverted for
        ``MONOCHROME1``.

        Raises
        ------
        ImageError
            If what the file asks for leaves one grey value.
        """
        from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

        dataset = self._dataset
        for name in _MAY_BE_EMPTY:
            if name in dataset and dataset[name].is_empty:
                del dataset[name]  # as if it were not there
        values: npt.NDArray[Any] = pixel_array(dataset, index=self._index)
        photometric, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
        if photometric == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
            bits = 8 * values.dtype.itemsize
        if values.ndim == 3:
            return Image.fromarray((values[..., :3] >> max(0, bits - 8)).astype(np.uint8))
        signed = bool(dataset.PixelRepresentation)
        ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
        values, ends = apply_modality_lut(values, dataset), np.sort(apply_modality_lut(ends, dataset))
        if dataset.get("VOILUTSequence"):
            values, ends = apply_voi_lut(values, dataset), np.sort(apply_voi_lut(ends, dataset))
        elif "WindowCenter" in dataset and "WindowWidth" in dataset:
            values, ends = apply_voi_lut(values, dataset), apply_voi_lut(np.array([-_FAR, _FAR]), dataset)
        low, high = ends.astype(float).tolist()
        if high == low:  # with a window and a negative slope, `high` is the lesser
            reason = (
                f"its rescaling or its lookup table turns all pixels into the one value {low:g}. Correct these in the "
                "file, or save the image as PNG."
            )
            raise ImageError(self._path, "unsupported", reason)
        grey = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
        if photometric == "MONOCHROME1":
            grey = 1 - grey
        return Image.fromarray((grey * 255 + 0.5).astype(np.uint8))

    def close(self) -> None:
        """Let go of the file's content."""
        del self._dataset


def _frame(path: Path) -> int | None:
    match = _FRAME.fullmatch(str(path))
    return int(match[2]) if match else None
