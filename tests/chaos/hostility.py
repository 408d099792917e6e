"""Trials of files that came from elsewhere: damaged images, hostile headers, damaged and forged pipelines, pickles."""

from __future__ import annotations

import builtins
import copy
import io
import os
import pickle
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from chaos.mutations import mutated
from chaos.processes import Process
from chaos.stage import NotHeld, Stage

MANY = 25
"""Files that one process looks at."""

_FORMATS = {
    "jpg": {"format": "JPEG", "quality": 90}, "progressive.jpg": {"format": "JPEG", "progressive": True},
    "png": {"format": "PNG"}, "bmp": {"format": "BMP"}, "gif": {"format": "GIF"}, "webp": {"format": "WEBP"},
    "raw.tif": {"format": "TIFF"}, "deflated.tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "lzw.tif": {"format": "TIFF", "compression": "tiff_lzw"}, "jpeg.tif": {"format": "TIFF", "compression": "jpeg"},
}  # fmt: skip
_SURE = frozenset({"png"})  # formats whose sums cover all that decides the pixels
_MOST_BYTES = 4 * 2**30  # of memory, for a process that has PyTorch


def images(stage: Stage, random: Random) -> str:
    """Damage image files: each is refused by an ImageError or decoded; a PNG is refused, or has the same pixels."""
    kind = random.choice(list(_FORMATS))
    pixels = np.asarray(Image.open(random.choice(sorted(stage.data.rglob("P*.jpg")))))
    whole = encoded(pixels, kind)

    def look() -> None:
        from gbad.data.images import read_image
        from gbad.errors import ImageError

        expected = read_image(_written(stage, whole, kind))
        for _ in range(MANY):
            damaged = mutated(whole, random)
            try:
                found = read_image(_written(stage, damaged, kind))
            except ImageError:
                continue
            if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3:
                raise NotHeld(f"an array {found.dtype} {found.shape}")
            if kind in _SURE and not np.array_equal(found, expected):
                _keep(stage, damaged, kind)
                raise NotHeld(f"a damaged {kind} was decoded to other pixels")

    _look(stage, look)
    return kind


def headers(stage: Stage, random: Random) -> str:
    """Let headers claim what the file does not hold: sizes up to 2**31, many strips, odd depths."""
    kind = random.choice(["png", "jpg", "bmp", "raw.tif", "gif", "webp"])
    whole = encoded(np.full((40, 50, 3), 200, np.uint8), kind)

    def look() -> None:
        from gbad.data.images import image_size, read_image
        from gbad.errors import ImageError

        for _ in range(MANY):
            hostile = _with_hostile_header(whole, kind, random)
            path = _written(stage, hostile, kind)
            for read in (read_image, lambda path: read_image(path, 64), image_size):
                try:
                    read(path)
                except ImageError:
                    pass

    _look(stage, look)
    return kind


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """An image file of a kind."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **_FORMATS[kind])
    return buffer.getvalue()


def _with_hostile_header(whole: bytes, kind: str, random: Random) -> bytes:
    number = random.choice([0, 1, 2**15, 2**16 - 1, 10**5, 2**24, 2**31 - 1, 2**31, 2**32 - 1, random.randrange(2**32)])
    content = bytearray(whole)
    if kind == "png":
        struct.pack_into(">I", content, random.choice([16, 20]), number)
        if random.random() < 0.3:
            content[24 + random.randrange(5)] = random.randrange(256)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    elif kind == "jpg":
        at = content.index(b"\xff\xc0")
        struct.pack_into(">H", content, at + random.choice([2, 5, 7]), number % 2**16)
        content[at + random.choice([4, 9, 11])] ^= random.randrange(256)
    elif kind == "raw.tif":
        entries = struct.unpack_from("<I", content, 4)[0]
        entry = entries + 2 + 12 * random.randrange(struct.unpack_from("<H", content, entries)[0])
        struct.pack_into("<I", content, entry + random.choice([0, 4, 8]), number)
    else:
        struct.pack_into("<I", content, random.randrange(6, 30), number)
    return bytes(content)


def pipelines(stage: Stage, random: Random) -> str:
    """Damage a pipeline file, or change values in it and renew its digest: refused, or its scores are probabilities."""
    whole = stage.pipeline.read_bytes()
    image = next(stage.data.rglob("P*.jpg"))
    forged = random.random() < 0.5

    def look() -> None:
        import gbad
        from gbad.errors import GbadError

        expected = gbad.load(stage.pipeline).predict_proba([image])
        for _ in range(5):
            path = _written(stage, _forged(whole, random) if forged else mutated(whole, random), "joblib")
            try:
                found = gbad.load(path).predict_proba([image])
            except GbadError:
                continue
            if not (np.isfinite(found).all() and (found >= 0).all() and (found <= 1).all()):
                _keep(stage, path.read_bytes(), "joblib")
                raise NotHeld(f"no probabilities: {found}")
            if not forged and not np.array_equal(found, expected):
                _keep(stage, path.read_bytes(), "joblib")
                raise NotHeld("a damaged pipeline gives other probabilities")

    _look(stage, look)
    return "forged" if forged else "damaged"


def _forged(whole: bytes, random: Random) -> bytes:
    """A pipeline file in which a value was changed, with the digest of what is there now."""
    from gbad.storage.digests import tree_digest

    class Recorder(pickle._Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return _Recorded

    state = copy.deepcopy(Recorder(io.BytesIO(whole)).load().state)
    for _ in range(random.choice([1, 1, 3])):
        holder, key = random.choice(list(_leaves(state)))
        if random.random() < 0.15:
            del holder[key]
        else:
            holder[key] = _other(holder[key], random)
    state.pop("digest", None)
    state["digest"] = tree_digest(state)
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, 4)
    pickler.framer.start_framing()
    pickler.write(pickle.PROTO + bytes([4]) + b"cgbad.pipeline\nGBADPipeline\n" + b")\x81")
    pickler.save(state)
    pickler.write(pickle.BUILD + pickle.STOP)
    pickler.framer.end_framing()
    return buffer.getvalue()


class _Recorded:
    """In the place of a pipeline: keeps its state as it stands in the file."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _leaves(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Places of all values in dicts and lists."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        if isinstance(tree[key], (dict, list)) and tree[key]:
            yield from _leaves(tree[key])
            if isinstance(tree[key], dict) and "data" not in tree[key]:
                continue
        yield tree, key


def _other(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and "data" in value:
        changed = dict(value)
        how = random.randrange(4)
        if how == 0:
            changed["shape"] = tuple(random.choice([0, 1, 3, 10**6, -1]) for _ in value["shape"])
        elif how == 1:
            changed["dtype"] = random.choice(["<f4", "<i8", "|O", "<U9", "x", "|b1", "<f8", ">f8"])
        else:
            data = value["data"]  # an earlier change of the same trial may have put anything in its place
            changed["data"] = mutated(data, random) if isinstance(data, bytes) else b""
        return changed
    if isinstance(value, bool):
        return random.choice([not value, None, 2])
    if isinstance(value, int):
        return random.choice([0, -1, 1, value + 1, 10**9, 2**70, None, "x", float(value)])
    if isinstance(value, float):
        return random.choice([0.0, -value, float("nan"), float("inf"), 1e308, -1e-320, None, "x", int(value)])
    if isinstance(value, str):
        return random.choice(["", "x", value * 1000, value[::-1], None, 3, "../../x", "\0", "\ud800"])
    return random.choice([None, [], {}, 3, "x", b"x", [[]] * 3, {"a": {}}, ()])


def pickles(stage: Stage, random: Random) -> str:
    """Give pickles that would run something wherever gbad unpickles: nothing runs, and the message is clear."""
    ran = stage.folder / "ran"
    where = random.choice(["pipeline", "checkpoint", "classifier", "detector"])

    def look() -> None:
        import gbad
        from gbad.errors import GbadError
        from gbad.storage.plain_data import load_plain
        from gbad.storage.tensors import load_tensors

        read: Callable[[Path], object] = {"pipeline": gbad.load, "checkpoint": load_tensors}.get(where, load_plain)
        whole = stage.pipeline.read_bytes()
        for _ in range(MANY):
            path = _written(stage, _hostile(ran, whole, random), "joblib")
            try:
                read(path)
            except GbadError:
                pass
            except Exception:  # of almost any kind, which its callers make one message
                if where != "checkpoint":
                    raise
            if ran.exists():
                _keep(stage, path.read_bytes(), "joblib")
                raise NotHeld(f"a pickle ran code where a {where} is read")

    _look(stage, look)
    return where


class _Runs:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def _hostile(ran: Path, whole: bytes, random: Random) -> bytes:
    """A pickle that makes a file if it is loaded by other means."""
    touch = f"touch {ran}"
    text = f"open({str(ran)!r}, 'w').close()"
    calls = [
        _Runs(os.system, touch), _Runs(builtins.eval, text), _Runs(builtins.exec, text), _Runs(open, str(ran), "w"),
        _Runs(os.mkdir, str(ran)), _Runs(np.save, str(ran), 0),
    ]  # fmt: skip
    call: Any = random.choice(calls)
    for _ in range(random.randrange(3)):
        call = random.choice([[call], {"fitted": call}, (call,), {"format_version": 3, "settings": {}, "fitted": call}])
    content = pickle.dumps(call, random.randrange(6))
    how = random.randrange(6)
    if how == 0:  # inside a true pipeline: before its last byte, which ends it
        return whole[:-1] + content[content.startswith(b"\x80") * 2 :]
    if how == 1:
        return f"cos\nsystem\n(S'{touch}'\ntR.".encode()
    if how == 2:
        return f"(S'{touch}'\nios\nsystem\n.".encode()
    if how == 3:
        return b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(touch) % 256]) + touch.encode() + b"\x85R."
    if how == 4:
        return mutated(content, random)
    return content


def _look(stage: Stage, function: Callable[[], object]) -> None:
    """Call a function in a process with bounded memory."""

    def bounded() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, resource.RLIM_INFINITY))
        function()

    ended = Process(bounded, stage.folder / "log").wait()
    if ended.status:
        raise NotHeld(f"status {ended.status} after {ended.seconds:.1f} s: {ended.err[-2000:]}")


def _written(stage: Stage, content: bytes, kind: str) -> Path:
    path = stage.folder / f"file.{kind}"
    path.write_bytes(content)
    return path


def _keep(stage: Stage, content: bytes, kind: str) -> None:
    (stage.folder / f"not-held.{kind}").write_bytes(content)
