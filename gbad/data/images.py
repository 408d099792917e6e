"""Find and read the images of a data set, in any folder, file format, bit depth and colour mode."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gbad.data.arrays import Pixels
from gbad.data.damage import check_tiff, checked_png, decode_jpeg
from gbad.data.dicom import DICOM_SUFFIXES, DicomFile, file_of, is_dicom
from gbad.data.raw_channels import SIXTEEN_BIT_MODES, image_name, is_pair, partner_of, raw_pair
from gbad.data.room import MOST_BYTES, needed_bytes, room_for
from gbad.errors import DataError, ImageError
from gbad.runtime.decoders import without_warnings

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", *DICOM_SUFFIXES})
"""Suffixes of files that count as images (compared in lower case)."""

MAX_PIXELS = 100_000_000
"""Default limit on width × height. Scanners stay below 10 million."""

TRUNCATED = "truncated"
"""First word of the reason of an `ImageError` when the file ends too early."""

Unlistable = list[tuple[str, str]]
"""Folders that cannot be listed, and why."""

NO_IMAGE_FOLDERS = frozenset({"annotation", "annotations", "imageset", "imagesets", "mask", "masks", "__macosx"})
"""Folders (names in lower case) that hold no images of the data set."""

_PNG = b"\x89PNG\r\n\x1a\n"
_FILE_TYPES: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    _PNG: PngImageFile,
    b"BM": BmpImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"II+\0": TiffImageFile,
    b"MM\0+": TiffImageFile,
    b"GIF8": GifImageFile,
    b"RIFF": WebPImageFile,
}
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"})
_BYTES_PER_PIXEL = 8  # RGBA at 16 bit, uncompressed: no larger file can be within the pixel limit
_DRAFT_SCALE = 1.5  # at 192 px and SIXray's sizes: twice the rate of a full decode at 43 dB to it; 1.0 gives 38 dB
_STRIP_PIXELS = 2**20
_MOST_OF_16_BIT = 65535
_DICOM_COPIES = 4  # of the pixels, as numbers with fractions


def find_images(root: str | Path, unlistable: Unlistable | None = None) -> dict[str, Path]:
    """Find all images below a folder.

    Images may lie in one folder, in numbered folders, or in any others. Links are followed, but no folder is visited
    twice, so links may form a circle. Hidden files and folders and the folders Annotation, ImageSet and Mask
    are skipped, and so is ``threats`` (cut-outs) beside an ``ImageSet``. Two raw channels, ``a_low.png`` and
    ``a_high.png``, are one image of the name ``a``, unless another file has that name.

    Parameters
    ----------
    root : path-like
        The data set's folder.
    unlistable : list, optional
        Told of folders below `root` that cannot be listed, and why; without it they are an error.

    Returns
    -------
    dict of str to Path
        Path of each image by its name without suffix. If several files have the same name, the first one counts:
        files before subfolders, both sorted by name (see `find_name_collisions`).

    Raises
    ------
    DataError
        If `root` is not a folder or a folder below it cannot be listed.
    """
    return {name: Path(path) for name, path in _index(root, unlistable).items()}


def find_name_collisions(root: str | Path, unlistable: Unlistable | None = None) -> dict[str, list[Path]]:
    """List the names that several image files share. The first path of each name is the one from `find_images`.

    Raw channels do not count: they are what an image of their name was made of.

    Parameters
    ----------
    root, unlistable
        As in `find_images`.

    Returns
    -------
    dict of str to list of Path
        Two or more paths for each name.

    Raises
    ------
    DataError
        As in `find_images`.
    """
    first: dict[str, str] = {}
    collisions: dict[str, list[Path]] = {}
    for name, path in walk_images(root, unlistable=unlistable):
        if is_pair(name, path):
            continue
        kept = first.setdefault(name, path)
        if kept is not path:
            collisions.setdefault(name, [Path(kept)]).append(Path(path))
    return collisions


def image_paths(data: str | Path, names: Iterable[str]) -> list[Path]:
    """Give the path of each image by its name.

    Parameters
    ----------
    data : path-like
        The data set's folder.
    names : iterable of str
        Image names without suffix.

    Returns
    -------
    list of Path
        In the order of `names`. A name without image gets ``data/JPEGImage/<name>.jpg``, which does not exist.
        Reading it raises an `ImageError` with status ``"missing"``.

    Raises
    ------
    DataError
        If `data` is not a folder or a folder below it cannot be listed.
    """
    return [Path(file) for file in image_files(data, names)]


def image_files(data: str | Path, names: Iterable[str]) -> list[str]:
    """Give the path of each image as `image_paths` does, as texts: of a million, they are there in half of the time."""
    root = str(Path(data))
    index = _index(root)
    absent = os.path.join(root, "JPEGImage")
    return [index.get(name) or os.path.join(absent, f"{name}.jpg") for name in names]


def read_image(path: str | Path, size: int | None = None, max_pixels: int = MAX_PIXELS, *, raw: bool = True) -> Pixels:
    """Read an image as 8-bit RGB.

    Grey becomes three equal channels, transparency is laid over white (the background of an X-ray image), and 16-bit
    values 0…65535 are scaled to 0…255. A rotation in EXIF data is not applied, so that boxes fit. The same file always
    gives the same array. Several threads may call it at once: decoding and resizing release Python's global lock.

    Parameters
    ----------
    path : path-like
        A JPEG, PNG, BMP, TIFF, GIF or WebP file, or a DICOM file if pydicom is there (``scan.dcm#2`` names a frame of
        one that has several). The content decides, not the suffix.
    size : int or None
        Width and height of the result in pixels. The aspect ratio is not kept. Scaling is antialiased and bilinear;
        large JPEGs are decoded at a reduced scale first. None keeps the size of the file.
    max_pixels : int
        Images with more pixels are refused. The header is enough for this: nothing is decoded.
    raw : bool
        Whether 16-bit grey is taken. It is one energy of a scan; see `gbad.data.pictures.read_picture`.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Values 0…255; (size, size, 3) if `size` is given.

    Raises
    ------
    ImageError
        Status ``"missing"`` (no such file), ``"unreadable"`` (empty, truncated, damaged or not an image),
        ``"too_large"`` (more than `max_pixels`) or ``"unsupported"`` (CMYK, floating point, several frames).
    """
    path = Path(path)
    with room_for(size=check_file(path, max_pixels)):
        with decoded(path, read_file(path, max_pixels), size, max_pixels, raw=raw) as image:
            return image.warped(size)


def pixels_of(image: Image.Image, name: str) -> Pixels:
    """Pixels of a PIL image as 8-bit RGB, by the rules of `read_image` without `raw`.

    Parameters
    ----------
    image : PIL Image
    name : str
        For messages, in the place of a path.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8

    Raises
    ------
    ImageError
        Status ``"unsupported"``: 16-bit grey, CMYK, floating point. Status ``"unreadable"``: without any pixel, closed,
        or opened from a file that is damaged, since PIL decodes it only now.
    """
    path = Path(name)
    _check_mode(path, image.mode, raw=False)
    with _translated(path):
        if not image.width * image.height:
            raise ImageError(path, "unreadable", "without any pixel. Give an image that has some.")
        return np.array(_to_rgb(path, image).convert("RGB"))


def read_channel(path: Path, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint16]:
    """Read a raw channel, 16-bit grey, as it is: uint16 (height, width); errors as in `read_image`."""
    data = read_file(path, max_pixels)
    _check_not_empty(path, data)
    with _translated(path):
        opened = _open(path, checked_png(data) if data.startswith(_PNG) else data, max_pixels)
        if isinstance(opened, DicomFile) or opened.mode not in SIXTEEN_BIT_MODES:
            raise ImageError(path, "unsupported", "not 16-bit grey, unlike the other channel. Give two raw channels.")
        with without_warnings():
            values = np.asarray(opened)
        if values.min() < 0 or values.max() > _MOST_OF_16_BIT:
            raise ImageError(path, "unsupported", _not_16_bit(int(values.min()), int(values.max())))
        return values.astype(np.uint16)


def image_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of an image in pixels, from its header; arguments and errors as in `read_image`."""
    path = Path(path)
    return header_size(path, read_file(path, max_pixels), max_pixels)


def header_size(path: Path, data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of an image in pixels, from the content of its file; errors as in `decode_image`."""
    try:
        return _open(path, data, max_pixels).size
    except ImageError:
        raise
    except Exception as error:  # as in decode
        raise ImageError(path, "unreadable", f"damaged ({error}). Copy the file again.") from error


class DecodedImage(NamedTuple):
    """A decoded file.

    Attributes
    ----------
    image : PIL Image
        Mode L or RGB.
    is_whole : bool
        Whether it has the resolution of the file.
    """

    image: Image.Image
    is_whole: bool

    def warped(self, size: int | None) -> Pixels:
        """The image as uint8 (size, size, 3); at its own size for None."""
        image = self.image
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def decode_image(path: Path, data: bytes, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode the content of an image file, as `read_image` does after reading it.

    Parameters
    ----------
    path : Path
        Path of the file, for error messages.
    data : bytes
        The whole file.
    size, max_pixels
        As in `read_image`.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        As in `read_image`.

    Raises
    ------
    ImageError
        Status ``"unreadable"``, ``"too_large"`` or ``"unsupported"``.
    """
    with decoded(path, data, size, max_pixels) as image:
        return image.warped(size)


@contextmanager
def decoded(
    path: Path, data: bytes, size: int | None, max_pixels: int = MAX_PIXELS, *, raw: bool = True
) -> Iterator[DecodedImage]:
    """Decode the content of an image file without warping it; arguments and errors as in `decode_image`, `read_image`.

    For a `size`, a JPEG may be decoded at a reduced scale that is still larger. Until the block ends, no other large
    image is decoded; the image ends with the block.
    """
    _check_not_empty(path, data)
    copies = 2 if data.startswith(_PNG) else 1
    with _translated(path):
        if data.startswith(_PNG):
            data = checked_png(data)
        opened = _open(path, data, max_pixels, raw=raw)
    width, height = opened.size
    pixels = width * height * (_DICOM_COPIES if isinstance(opened, DicomFile) else 1)
    if (needed := needed_bytes(pixels, len(data), copies)) > MOST_BYTES:
        reason = f"needs {needed:,} bytes of memory to decode, more than {MOST_BYTES:,}. Scale the image down."
        raise ImageError(path, "too_large", reason)
    with room_for(pixels=pixels, size=len(data)):
        try:
            with _translated(path):
                image = _decode(path, opened, data, size)
            yield image
            image.image.close()
        finally:
            opened.close()  # before another large image is decoded, whoever still holds these


def _decode(path: Path, opened: ImageFile | DicomFile, data: bytes, size: int | None) -> DecodedImage:
    whole = opened.size
    if isinstance(opened, DicomFile):
        with without_warnings():
            return DecodedImage(opened.image(), True)
    if isinstance(opened, JpegImageFile):
        image = decode_jpeg(opened, data, None if size is None else int(_DRAFT_SCALE * size))
        return DecodedImage(image, image.size == whole)
    if isinstance(opened, TiffImageFile):
        with without_warnings():
            check_tiff(opened, data)
            opened.load()  # its decoder parses the tags again, and may warn
    opened.decodermaxblock = len(data)  # see `checked_png`
    image = _to_rgb(path, opened)
    image.load()
    return DecodedImage(image, image.size == whole)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what a decoder raises into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError(path, "too_large", f"too large to decode ({error}). Scale the image down.") from error
    except (
        Exception
    ) as error:  # Pillow lets damaged files raise almost anything: struct, zlib, index, value, type errors
        if "truncated" in str(error).lower():
            raise ImageError(path, "unreadable", f"{TRUNCATED}: the file ends too early. Copy it again.") from error
        reason = f"damaged, or without any pixel ({error}). Copy the file again."
        raise ImageError(path, "unreadable", reason) from error


def check_file(path: Path, max_pixels: int = MAX_PIXELS) -> int:
    """Size of an image file in bytes; errors as in `read_file`, which reads it."""
    with _readable(path):
        status = file_of(path).stat()
        if stat.S_ISDIR(status.st_mode):
            os.listdir(path)  # says why, if it is a folder that could not be searched
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise ImageError(path, "unreadable", "not a regular file. Give the path of an image file.")
        if status.st_size > _BYTES_PER_PIXEL * max_pixels + 2**20:
            reason = f"{status.st_size:,} bytes, more than an image of {max_pixels:,} pixels can need. Scale it down."
            raise ImageError(path, "too_large", reason)
        return status.st_size


def read_file(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a whole file, unless it is larger than any image within the pixel limit.

    The file is read before its header is parsed, so that decoding never waits for the disk.

    Parameters
    ----------
    path : Path
        An image file.
    max_pixels : int
        As in `read_image`.

    Returns
    -------
    bytes
        The content; may be empty.

    Raises
    ------
    ImageError
        Status ``"missing"``, ``"unreadable"`` (a folder or device, no permission) or ``"too_large"``.
    """
    check_file(path, max_pixels)
    with _readable(path):
        return file_of(path).read_bytes()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what the file system raises into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(
            path, "missing", "no such file. Check the path, or run `gbad check` on the data set."
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            path,
            "unreadable",
            f"cannot be read ({getattr(error, 'strerror', None) or error}). Check the path and its permissions.",
        ) from error


def _index(root: str | Path, unlistable: Unlistable | None = None) -> dict[str, str]:
    index: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for name, path in walk_images(root, unlistable=unlistable):
        (pairs if is_pair(name, path) else index).setdefault(name, path)
    return pairs | index if pairs else index


def walk_images(
    root: str | Path,
    *,
    broken: bool = False,
    unlistable: Unlistable | None = None,
    others: Counter[str] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (name without suffix, path) of each image below `root`, with the rules and the order of `find_images`.

    A pair of raw channels is yielded once, with the path of the low one. `others` counts the suffixes of other files.
    With `broken`, also yield links that lead nowhere, pipes and devices, and folders that cannot be listed. Reading one
    raises an `ImageError`. With `unlistable`, append such folders and why to it. Else they are a DataError.
    """
    if not os.path.isdir(root):
        raise DataError(f"{root}: no such folder. Give the folder that holds JPEGImage and ImageSet.")
    skipped = NO_IMAGE_FOLDERS
    if os.path.isdir(os.path.join(root, "ImageSet")):
        skipped = skipped | {"threats"}
    visited: set[tuple[int, int]] = set()  # links may form a circle
    pending = [os.fspath(root)]
    while pending:
        folder = pending.pop()
        files, folders = [], []
        try:
            status = os.stat(folder)
            if (identity := (status.st_dev, status.st_ino)) in visited:
                continue
            visited.add(identity)
            with os.scandir(folder) as entries:
                for entry in entries:
                    name, dot, suffix = entry.name.rpartition(".")
                    if entry.name[0] == ".":
                        continue
                    image = name and dot and f".{suffix.lower()}" in IMAGE_SUFFIXES
                    if image and (_leads_to(entry.is_file) or (broken and not _leads_to(entry.is_dir))):
                        files.append((entry.name, name, entry.path))
                    elif _leads_to(entry.is_dir):
                        if entry.name.lower() not in skipped:
                            folders.append(entry.path)
                    elif others is not None and not image:
                        others[f".{suffix.lower()}" if name and dot else "no suffix"] += 1
        except OSError as error:
            if broken:
                yield os.path.basename(folder), folder
                continue
            if unlistable is not None:
                unlistable.append((folder, error.strerror or str(error)))
                continue
            raise DataError(
                f"{folder}: cannot be listed ({error.strerror}). Check the folder's permissions."
            ) from error
        for _, name, path in sorted(files):
            pair = raw_pair(path)
            if pair is None:
                yield name, path
            elif path == str(pair[0]):
                yield image_name(name), path
        pending.extend(sorted(folders, reverse=True))


def _leads_to(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself, or into a folder that cannot be searched
        return False


def _open(path: Path, data: bytes, max_pixels: int, *, raw: bool = True) -> ImageFile | DicomFile:
    """Parse the header, and refuse images that gbad cannot use; 16-bit grey, too, without `raw`. Nothing is decoded."""
    if is_dicom(data):
        with without_warnings():
            dicom = DicomFile(path, data)
        _check_pixels(path, dicom.size, max_pixels)
        return dicom
    file_type = next((file_type for magic, file_type in _FILE_TYPES.items() if data.startswith(magic)), None)
    if file_type is None:
        reason = "not an image that gbad reads (JPEG, PNG, BMP, TIFF, GIF, WebP, DICOM). Convert it to PNG."
        raise ImageError(path, "unreadable", reason)
    with without_warnings():
        # The class itself, not Image.open: Image.open has one size limit for the whole process.
        image = file_type(BytesIO(data))
        _check_pixels(path, image.size, max_pixels)
        _check_mode(path, image.mode, raw=raw)
        if getattr(image, "is_animated", False):
            raise ImageError(path, "unsupported", "several frames in one file. Extract one frame.")
    return image


def _check_not_empty(path: Path, data: bytes) -> None:
    if not data:
        raise ImageError(path, "unreadable", "the file is empty. Copy it again.")


def _check_mode(path: Path, mode: str, *, raw: bool) -> None:
    if mode in SIXTEEN_BIT_MODES and not raw:
        raise ImageError(path, "unsupported", _one_energy(path))
    if mode not in _EIGHT_BIT_MODES | SIXTEEN_BIT_MODES:
        raise ImageError(path, "unsupported", _unknown_mode(mode))


def _check_pixels(path: Path, size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        reason = f"{width} × {height} pixels, more than the limit of {most:,}. Scale the image down."
        raise ImageError(path, "too_large", reason)


def _one_energy(path: Path) -> str:
    """Say what 16-bit grey is, and what to do about it."""
    partner = partner_of(path)
    pair = "the two channels NAME_low.png and NAME_high.png" if partner is None else f"{partner.name} beside it, too"
    return (
        f"16-bit grey: one energy of a raw scan, which has not the colours that a pipeline learns from. Give {pair}, "
        "or as 8 bit what the console shows."
    )


def _unknown_mode(mode: str) -> str:
    """Say what a colour mode is, and what to do about it."""
    if mode == "F":
        return "floating-point values (colour mode F). Scale them to 0 to 65535 and save as 16 bit."
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        return f"colour mode {mode}, which X-ray images do not have. Convert it to RGB."
    return f"colour mode {mode}, which gbad does not read. Convert it to 8- or 16-bit grey or to RGB."


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    """Decode into mode L or RGB."""
    if image.mode in SIXTEEN_BIT_MODES:
        return _eight_bit(path, image)
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _eight_bit(path: Path, image: Image.Image) -> Image.Image:
    """Scale 16-bit values to mode L, strip by strip: as 64-bit numbers, a large image would fill the memory."""
    grey = np.empty((image.height, image.width), np.uint8)
    lowest, highest = 0, 0
    for top, strip in _strips(image):
        values = np.asarray(strip).astype(np.int64)
        lowest, highest = min(lowest, int(values.min())), max(highest, int(values.max()))
        grey[top : top + len(values)] = ((values + 128) // 257).astype(np.uint8)
    if lowest < 0 or highest > _MOST_OF_16_BIT:
        raise ImageError(path, "unsupported", _not_16_bit(lowest, highest))
    return Image.fromarray(grey)


def _not_16_bit(lowest: int, highest: int) -> str:
    return f"32-bit values {lowest} to {highest}. Scale them to 0 to {_MOST_OF_16_BIT} and save as 16 bit."


def _over_white(image: Image.Image) -> Image.Image:
    """Lay an image with transparency over white, strip by strip: mode RGB."""
    whole = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        colour = strip.convert("RGBA")
        whole.paste(Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB"), (0, top))
    return whole


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into strips of rows, each with its first row."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))
