"""What the file formats themselves tell of damage: checksums, and data that do not fit.

JPEG: what the decoder warns of. PNG: the sums of the chunks and of the pixels. TIFF: the sums of deflated strips, and
warnings about JPEG strips. Other files have no sums (BMP, WebP, GIF, raw, PackBits and LZW TIFF): damage that keeps
their structure cannot be seen.
"""

from __future__ import annotations

import zlib

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

_PNG_SIGNATURE = 8  # bytes
_CHUNK_FRAME = 12  # bytes of a PNG chunk besides its content: length, kind, sum
_COMPRESSION, _FILL_ORDER, _JPEG_TABLES = 259, 266, 347
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of offsets and lengths
_DEFLATE, _JPEG = (8, 32946), 7
_INFLATED_AT_A_TIME = 2**20
_SMALLEST_SCALE = 8  # at which libjpeg decodes: all warnings, and the fewest pixels


def decode_jpeg(image: JpegImageFile, data: bytes, least: int | None = None) -> Image.Image:
    """Decode a JPEG, and refuse what libjpeg only warns of. Pillow does not pass these warnings on.

    Parameters
    ----------
    image : JpegImageFile
        The file, opened and not yet decoded.
    data : bytes
        The whole file.
    least : int or None
        Decode at a reduced scale, 1/2, 1/4 or 1/8, if both sides stay at least so many pixels.

    Returns
    -------
    PIL Image
        Mode L or RGB; the pixels that Pillow gives as well.

    Raises
    ------
    ValueError
        If the file is damaged or ends too early.
    """
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    if (width, height) != image.size:  # the pixel limit was for the other one
        raise ValueError(f"two headers, of {image.width} × {image.height} and {width} × {height} pixels")
    if least is not None:
        image.draft(None, (least, least))
    colours = "GRAY" if image.mode == "L" else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, colours, min_height=image.height, min_width=image.width)
    except ValueError as error:
        if str(error).startswith("Premature end of JPEG file"):
            raise ValueError("truncated") from error
        if "JFIF revision" in str(error):  # no damage, but the decoder cannot tell it from one
            raise ValueError("an unknown revision of JFIF: save it again as JPEG") from error
        raise
    return Image.fromarray(np.asarray(pixels[:, :, 0] if image.mode == "L" else pixels))


def checked_png(data: bytes) -> bytes:
    """Check the sums of all chunks of a PNG, and bring its pixels into one chunk.

    In one piece, the sum at the end of the pixels is with them when the last row is inflated, and zlib compares it. In
    many chunks, Pillow stops reading before that.

    Raises
    ------
    ValueError
        If a sum is wrong, or the file ends too early.
    """
    view, at, kind = memoryview(data), _PNG_SIGNATURE, b""
    pixels: list[memoryview] = []
    begin_of_pixels = end_of_pixels = 0
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        end = at + _CHUNK_FRAME + int.from_bytes(data[at : at + 4])
        if end > len(data) or len(kind) < 4:
            raise ValueError("truncated")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(f"wrong checksum of chunk {kind.decode('latin-1')} at byte {at}")
        if kind == b"IDAT":
            if pixels and at != end_of_pixels:
                raise ValueError("pixels in chunks that are apart")
            begin_of_pixels = begin_of_pixels or at
            pixels.append(view[at + 8 : end - 4])
            end_of_pixels = end
        at = end
    if len(pixels) < 2:
        return data
    size = sum(map(len, pixels)).to_bytes(4)
    # Nobody reads the sum of the new chunk.
    return b"".join([view[:begin_of_pixels], size, b"IDAT", *pixels, bytes(4), view[end_of_pixels:]])


def check_tiff(image: TiffImageFile, data: bytes) -> None:
    """Check what libtiff does not look at in deflated and JPEG strips or tiles; other kinds have nothing to check.

    Unlike JPEG and PNG files, these strips are read twice, the JPEG ones at the smallest scale.

    Parameters
    ----------
    image : TiffImageFile
        The file, opened and not yet decoded.
    data : bytes
        The whole file.

    Raises
    ------
    ValueError, zlib.error
        If a strip is damaged, ends too early, or holds far more than the image.
    """
    tags = image.tag_v2
    compression = tags.get(_COMPRESSION)
    if compression not in (*_DEFLATE, _JPEG) or tags.get(_FILL_ORDER, 1) != 1:
        return
    offset_tag, length_tag = _STRIPS if _STRIPS[0] in tags else _TILES
    offsets, lengths = tags.get(offset_tag, ()), tags.get(length_tag, ())
    if len(offsets) != len(lengths):
        return  # libtiff finds the lengths by itself
    tables = tags.get(_JPEG_TABLES, b"")
    # Many strips may name the same bytes: a small file must not take hours.
    allowed = 16 * image.width * image.height + 2**24
    for offset, length in zip(offsets, lengths, strict=True):
        strip = data[offset : offset + length]
        if compression == _JPEG:
            # The tables of all strips are a JPEG without image: without its end, and the strip without its start.
            allowed -= _check_jpeg(tables[:-2] + strip[2:] if tables else strip)
        else:
            allowed -= _check_deflated(strip, allowed)
        if allowed < 0:
            raise ValueError("its strips hold more than the image")


def _check_jpeg(data: bytes) -> int:
    """Check a JPEG; return its number of pixels."""
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_factor=_SMALLEST_SCALE)
    return int(height * width)


def _check_deflated(data: bytes, allowed: int) -> int:
    """Check a zlib stream, up to a size; return its number of bytes."""
    inflate, size = zlib.decompressobj(), 0
    while not inflate.eof and size <= allowed:
        inflated = inflate.decompress(data, _INFLATED_AT_A_TIME)
        data = inflate.unconsumed_tail
        if not inflated and not data and not inflate.eof:
            raise ValueError("truncated")
        size += len(inflated)
    return size
