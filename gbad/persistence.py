"""Save a pipeline as one joblib file, and load it without running anything that the file might ask for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from joblib.numpy_pickle import NumpyUnpickler

from gbad.errors import GbadError, PipelineFileError
from gbad.files import atomic_path

if TYPE_CHECKING:
    from gbad.pipeline import GBADPipeline

# All that a pipeline file needs: its own class, and what joblib and NumPy write around arrays. Nothing here has a side
# effect, so no combination of them can read, write or run anything.
_ALLOWED = frozenset(
    {
        ("gbad.pipeline", "GBADPipeline"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }
)


class _StrictUnpickler(NumpyUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise PipelineFileError(
                f"refuses {module}.{name}, which no pipeline file needs. Do not load this file by other means."
            )
        return super().find_class(module, name)


def save_plain(content: Any, path: str | Path) -> None:
    """Write `content`, a pipeline or plain data and arrays, as one joblib file, whole or not at all."""
    with atomic_path(path) as temporary:
        joblib.dump(content, temporary)


def load_plain(path: str | Path) -> Any:
    """Read a file of `save_plain`.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, or names any class or function that is not on the short list.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _StrictUnpickler(str(path), file, ensure_native_byte_order=True).load()
    except FileNotFoundError as error:
        raise PipelineFileError(f"{path}: no such file. `gbad train` writes RUN/pipeline.joblib.") from error
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error
    except GbadError:
        raise
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            UnicodeDecodeError, MemoryError, OverflowError) as error:  # fmt: skip
        raise PipelineFileError(
            f"{path}: damaged, or not a gbad file ({type(error).__name__}: {error}). Copy it again."
        ) from error


def save(pipeline: GBADPipeline, path: str | Path) -> None:
    """Save a fitted pipeline as one file that `load` and `joblib.load` read."""
    pipeline.check_fitted()
    save_plain(pipeline, path)


def load(path: str | Path) -> GBADPipeline:
    """Load a pipeline; refuse every class and function that a pipeline file does not need.

    ``joblib.load`` reads the same files but runs whatever a file asks for: use it on files of your own only.

    Parameters
    ----------
    path : path-like
        A file of `GBADPipeline.save`, from any machine or device.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, refused, from a newer format, or holds something else.
    """
    from gbad.pipeline import GBADPipeline

    pipeline = load_plain(path)
    if not isinstance(pipeline, GBADPipeline):
        raise PipelineFileError(f"{path}: holds a {type(pipeline).__name__}, not a pipeline.")
    return pipeline
