"""Save plain data as one joblib file, and load such a file without running code from it.

The file is a pickle of numbers, texts and bytes. Arrays are written as bytes, so `GBADPipeline` is the only class that
a file names. NumPy's own pickles would need ``numpy.ndarray`` and ``numpy.dtype``, which a hostile file can make read
arbitrary memory.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import joblib
import numpy as np

from gbad.errors import GbadError, PipelineFileError
from gbad.storage.digests import tree_digest
from gbad.storage.files import atomic_path
from gbad.storage.reading import open_regular
from gbad.storage.unpickling import PlainUnpickler, check_tree

_ALLOWED = frozenset({("gbad.pipeline", "GBADPipeline")})
_ARRAY_KEYS = {"dtype", "shape", "data"}


class _StrictUnpickler(PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise PipelineFileError(
                f"refuses {module}.{name}, which no pipeline file needs. Do not load this file by other means."
            )
        return super().find_class(module, name)

    def load_build(self) -> None:
        check_tree(self.stack[-1])  # type: ignore[attr-defined]  # a pipeline walks through its state at once
        super().load_build()  # type: ignore[misc]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = PlainUnpickler.dispatch | {pickle.BUILD[0]: load_build}


def pack(value: Any) -> Any:
    """Turn arrays into bytes, NumPy's numbers into Python's and paths into text, in dicts, lists and tuples.

    Equal data give equal files: a pickle refers back to a text that it has seen before only if it is the same object,
    so equal texts are made one.

    Raises
    ------
    GbadError
        If the data hold anything else, which `load_plain` would refuse.
    """
    if isinstance(value, dict):
        return {sys.intern(str(key)): pack(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(pack(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"dtype": sys.intern(value.dtype.str), "shape": value.shape, "data": value.tobytes()}
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, (str, Path)):
        return sys.intern(str(value))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise GbadError(f"{value!r} cannot be saved: use numbers, texts, lists and numeric arrays only")


def unpack(value: Any) -> Any:
    """Rebuild the arrays; the inverse of `pack`."""
    if isinstance(value, dict) and value.keys() == _ARRAY_KEYS:
        dtype = np.dtype(str(value["dtype"]))
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        return np.frombuffer(value["data"], dtype).reshape(value["shape"]).copy()
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(unpack(item) for item in value)
    return value


def save_plain(content: Any, path: str | Path) -> None:
    """Write numbers, texts and arrays, in dicts, lists and tuples, as one file with the digest of its content.

    It is written whole or not at all.
    """
    packed = sealed({"content": pack(content)})
    with atomic_path(path) as temporary:
        joblib.dump(packed, temporary)


def sealed(packed: dict[str, Any]) -> dict[str, Any]:
    """Add the digest of what `pack` gave to it."""
    return packed | {"digest": tree_digest(packed)}


def check_seal(packed: Mapping[str, Any]) -> None:
    """Compare content with the digest that `sealed` has added.

    Raises
    ------
    PipelineFileError
        If there is no digest, or another.
    """
    content = {key: value for key, value in packed.items() if key != "digest"}
    if packed.get("digest") != tree_digest(content):
        raise PipelineFileError("damaged, its content does not have the digest that was written. Copy it again.")


def load_plain(path: str | Path) -> Any:
    """Read a file of `save_plain`.

    Raises
    ------
    PipelineFileError
        If the file is missing or damaged, has another content than its digest says, or names a class or function
        other than `GBADPipeline`.
    """
    content = read_pickle(path)
    try:
        check_tree(content)
        # Files from before there were digests hold the content itself, which never has these keys.
        if isinstance(content, dict) and content.keys() & {"content", "digest"}:
            check_seal(content)
            content = content["content"]
        return unpack(content)
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise PipelineFileError(f"{path}: damaged, it holds {error}. Copy it again.") from error


def check_pickle(path: str | Path) -> None:
    """Look at the first byte of a file that `read_pickle` is to read; PipelineFileError if it cannot be one."""
    with _opened(path) as file:
        if file.read(1) != pickle.PROTO:
            raise PipelineFileError(f"{path}: not a gbad file. Give the pipeline.joblib that `gbad train` has written.")


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as error:
        raise PipelineFileError(f"{path}: no such file. `gbad train` writes RUN/pipeline.joblib.") from error
    except OSError as error:
        raise PipelineFileError(f"{path}: cannot be read ({error.strerror or error}). Check the path.") from error


def read_pickle(path: str | Path) -> Any:
    """Unpickle a file that names no class or function but `GBADPipeline`. PipelineFileError for all other files."""
    with _opened(path) as file:
        try:
            return _StrictUnpickler(file).load()
        except OSError:
            raise
        except PipelineFileError as error:
            raise PipelineFileError(f"{path}: {error}") from error
        except Exception as error:  # damaged bytes make an unpickler raise almost anything
            raise PipelineFileError(
                f"{path}: damaged, or not a gbad file ({type(error).__name__}: {error}). Copy it again."
            ) from error
