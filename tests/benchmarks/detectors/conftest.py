"""A tiny data set in the form of MNIST."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 28 px images that differ in brightness: 30 training and 30 test images. Not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "shades"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        labels = np.arange(30, dtype=np.uint8) % 3
        images = (80 * labels[:, None, None] + rng.integers(0, 90, (30, 28, 28))).astype(np.uint8)
        for kind, values in (("images", images), ("labels", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            path = folder / f"{prefix}-{kind}-idx{values.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(head + values.tobytes()))
    return folder
