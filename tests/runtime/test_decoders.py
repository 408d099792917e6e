"""No line of a decoder reaches the terminal without the name of its file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

READ = """
import logging, sys
from gbad.data.images import read_image
from gbad.errors import ImageError
logging.basicConfig()
if sys.argv[1] == "quiet":
    from gbad.runtime.decoders import silence_decoders
    silence_decoders()
for path in sys.argv[2:]:
    try:
        read_image(path)
    except ImageError as error:
        print(error.status)
"""


def test_damaged_tiffs_print_nothing(run_python: Callable[..., Any], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "TIFF", compression="tiff_lzw")
    data = buffer.getvalue()
    (tmp_path / "lzw.tif").write_bytes(data[:5000] + bytes(4000) + data[9000:])  # a line of libtiff
    samples = struct.pack("<HHIH", 277, 3, 1, 3)
    assert samples in data
    (tmp_path / "samples.tif").write_bytes(data.replace(samples, struct.pack("<HHIH", 277, 3, 1, 60)))  # of Pillow
    paths = sorted(tmp_path.glob("*.tif"))
    loud, quiet = (run_python("-c", READ, how, *paths) for how in ("loud", "quiet"))
    assert "More samples per pixel" in loud.err
    assert quiet.err == ""
    assert quiet.out == loud.out == "unreadable\n" * 2
