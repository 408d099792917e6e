"""Run a classifier over many images; stream its features to a file on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import torch

from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource, stream
from gbad.data.transforms import eval_preset
from gbad.errors import DataError, GbadError, ImageError
from gbad.phase1_classifier.architectures import Classifier
from gbad.runtime.progress import progress_bar
from gbad.storage.files import read_json, write_json

VIEWS = (1, 2, 4)
"""How many views of an image may be classified: as it is; its left-right mirror image too; both upside down too."""

_FLIPS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


def predict_batch(model: Classifier, images: np.ndarray, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Classify decoded images in float32, whatever precision the model was trained in.

    A bag may lie on the belt in any orientation, so the mean over mirrored views is less noisy, at as many times the
    cost.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    images : uint8 array (n, size, size, 3)
        RGB.
    views : {1, 2, 4}
        See `VIEWS`.

    Returns
    -------
    logits : float64 array (n, C)
        Mean over the views.
    features : float32 array (n, D)
        Mean over the views.
    """
    device = next(model.parameters()).device
    # TensorFloat-32 would make a GPU's scores differ from a CPU's in the third digit.
    with torch.inference_mode(), full_precision():
        pixels = eval_preset(images).to(device)
        seen = [model(pixels.flip(flip) if flip else pixels) for flip in _FLIPS[:views]]
        logits, features = (torch.stack(values).mean(0) for values in zip(*seen, strict=True))
    return logits.cpu().double().numpy(), features.cpu().numpy()


def full_precision() -> AbstractContextManager[None]:
    """CuDNN as it is set, but without TensorFloat-32; `flags` alone would switch it off."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)


def predict_stream(
    model: Classifier, source: ImageSource, rows: Sequence[int] | np.ndarray, batch_size: int = 32, views: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, ImageError]]]:
    """Classify images in the order of `rows`: ``(rows, logits, features, errors)`` per batch, bad rows left out."""
    for done, images, errors in stream(source, rows, batch_size):
        yield done, *predict_batch(model, images, views), errors


_NONE_USABLE = (
    "none of the images that phase 2 looks at can be used. Repair them (`gbad check` says what is wrong) and run the "
    "same command again."
)


class FeatureFile:
    """Features and logits of rows of an image list, as memory-mapped files that a killed run continues.

    Attributes
    ----------
    rows : int64 array (n,)
        Rows of the image list that have been written.
    features : float32 memory map (n, D)
    logits : float64 memory map (n, C)
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        if not (self._folder / "done.json").exists():
            raise GbadError(f"{self._folder} holds no complete features; run phase 2 again.")
        shape = read_json(self._folder / "done.json")
        count = shape["rows"]
        if not count:  # no file of this size can be mapped
            raise DataError(f"{self._folder}: {_NONE_USABLE} Delete this folder too.")
        self.rows = np.fromfile(self._folder / "rows.i64", np.int64, count)
        self.features = np.memmap(self._folder / "features.f32", np.float32, "r", shape=(count, shape["features"]))
        self.logits = np.memmap(self._folder / "logits.f64", np.float64, "r", shape=(count, shape["classes"]))


def extract_features(
    model: Classifier,
    source: ImageSource,
    rows: np.ndarray,
    folder: str | Path,
    bad: BadImages,
    *,
    batch_size: int = 32,
    views: int = 1,
    show_progress: bool = False,
) -> FeatureFile:
    """Write features and logits of `rows` to `folder`, batch by batch; a run that was killed goes on where it stopped.

    The caller must clear `folder` if the model or the rows have changed.

    Raises
    ------
    TooManyBadImagesError, ImageError
        As `BadImages` decides. Images that were bad before a break are counted again.
    DataError
        If no image can be used.
    GbadError
        If the disk is full; what was written before stays valid.
    """
    folder = Path(folder)
    if (folder / "done.json").exists():
        complete = FeatureFile(folder)
        for row in _count_again(source, rows[~np.isin(rows, complete.rows)], bad):
            reason = f"could not be used when its features were due, but can be now; delete {folder} to have it used"
            bad.add(ImageError(source.names[row], "unreadable", reason))
        return complete
    folder.mkdir(parents=True, exist_ok=True)
    widths = {
        "features.f32": 4 * model.n_features,
        "logits.f64": 8 * model.spec["n_classes"],
        "rows.i64": 8,
    }
    sizes = {name: (folder / name).stat().st_size if (folder / name).exists() else 0 for name in widths}
    written = min(size // widths[name] for name, size in sizes.items())
    seen = 0
    if written:
        known = np.fromfile(folder / "rows.i64", np.int64, written)
        # Back to the start of its batch: a row's last digits may depend on the shape of its batch.
        seen = int(np.flatnonzero(rows == known[-1])[0]) // batch_size * batch_size
        usable = _count_again(source, rows[:seen][~np.isin(rows[:seen], known)], bad)
        if len(usable):  # repaired since
            seen = int(np.flatnonzero(rows == usable[0])[0]) // batch_size * batch_size
        written = int(np.isin(known, rows[:seen]).sum())
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context((folder / name).open("r+b" if sizes[name] else "wb")) for name in widths}
            for name, file in files.items():
                file.truncate(written * widths[name])
                file.seek(0, 2)
            advance = stack.enter_context(progress_bar("extracting features", len(rows), show=show_progress))
            advance(seen)
            for done, logits, features, errors in predict_stream(model, source, rows[seen:], batch_size, views):
                for error in errors.values():
                    bad.add(error)
                for name, block in (("features.f32", features), ("logits.f64", logits), ("rows.i64", done)):
                    files[name].write(block.tobytes())
                    files[name].flush()
                written += len(done)
                advance(len(done) + len(errors))
    except OSError as error:
        raise GbadError(
            f"{folder}: features cannot be written ({error.strerror or error}). Free some space and run the same "
            "command again; it continues where it stopped."
        ) from error
    if not written:
        raise DataError(f"{folder}: {_NONE_USABLE}")
    write_json(
        folder / "done.json",
        {"rows": written, "features": widths["features.f32"] // 4, "classes": model.spec["n_classes"]},
    )
    return FeatureFile(folder)


def _count_again(source: ImageSource, rows: np.ndarray, bad: BadImages) -> list[int]:
    """Count images that could not be used before a break, and still cannot be; give the rows of the others."""
    usable: list[int] = []
    for done, _, errors in stream(source, rows):
        usable += done.tolist()
        for error in errors.values():
            bad.add(error)
    return usable
