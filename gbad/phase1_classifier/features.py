"""Features and logits of many images in files on disk, which a killed run continues."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gbad.data.arrays import Pixels, Rows
from gbad.data.bad_images import BadImages
from gbad.data.source import ImageSource, stream
from gbad.errors import DataError, GbadError, ImageError, RunError
from gbad.phase1_classifier.classifier import Classifier
from gbad.phase1_classifier.evidence import evidence_peaks, see
from gbad.phase1_classifier.feature_ledger import LEDGER, continued, whole_batches
from gbad.phase1_classifier.prediction import predict_batch
from gbad.runtime.progress import progress_bar
from gbad.storage.digests import file_digest, file_size
from gbad.storage.files import read_sealed, write_sealed

_NONE_USABLE = (
    "none of the images for phase 2 can be used. Repair them (`gbad check` lists them) and run the same command again."
)


class FeatureFile:
    """Features and logits of rows of an image list, in memory-mapped files.

    Attributes
    ----------
    rows : int64 array (n,)
        Rows of the image list that have been written.
    features : float32 memory map (n, D)
    logits : float64 memory map (n, C)
    peaks : float32 memory map (n, C, 2) or None
        Where the evidence for each class is, see `gbad.phase1_classifier.evidence.evidence_peaks`.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        if not (self._folder / "done.json").exists():
            raise GbadError(f"{self._folder} holds no complete features: run phase 2 again.")
        shape = read_sealed(self._folder / "done.json")
        count = shape["rows"]
        if not count:  # an empty file cannot be mapped
            raise DataError(f"{self._folder}: {_NONE_USABLE} Delete this folder too.")
        self._check(shape)
        self.rows = np.fromfile(self._folder / "rows.i64", np.int64, count)
        self.features = np.memmap(self._folder / "features.f32", np.float32, "r", shape=(count, shape["features"]))
        self.logits = np.memmap(self._folder / "logits.f64", np.float64, "r", shape=(count, shape["classes"]))
        path, of_peaks = self._folder / "peaks.f32", (count, shape["classes"], 2)
        self.peaks: npt.NDArray[np.float32] | None = None
        if path.exists():
            self.peaks = np.memmap(path, np.float32, "r", shape=of_peaks)

    def _check(self, shape: dict[str, Any]) -> None:
        """RunError if a file does not have the size or the digest that ``done.json`` tells."""
        widths = {"rows.i64": 8, "features.f32": 4 * shape["features"], "logits.f64": 8 * shape["classes"]}
        for name in {*widths, *shape.get("digests", {})}:  # older runs have no digests
            path, digest = self._folder / name, shape.get("digests", {}).get(name)
            size = file_size(path) or 0
            if (name in widths and size != shape["rows"] * widths[name]) or (
                digest is not None and (file_digest(path) or b"").hex() != digest
            ):
                raise RunError(
                    f"{path}: damaged, it is not what was written. Delete the folder {self._folder.parent} and run the "
                    "same command again, which computes it anew."
                )


def extract_features(
    model: Classifier,
    source: ImageSource,
    rows: Rows,
    folder: str | Path,
    bad: BadImages,
    *,
    batch_size: int = 32,
    views: int = 1,
    peak_extent: float | None = None,
    title: str = "extracting features",
    show_progress: bool = False,
) -> FeatureFile:
    """Write features and logits of rows to a folder, batch by batch; a killed run goes on where it stopped.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    source : ImageSource
    rows : int array (n,)
        Rows of the list, each once.
    folder : path-like
        The caller must clear it if the model or the rows have changed.
    bad : BadImages
        Counts images that cannot be used, including those from before a break.
    batch_size : int
        Images that are classified together.
    views : {1, 2, 4}
        See `VIEWS`.
    peak_extent : float, optional
        Also write peaks of the evidence: the extent of `gbad.phase1_classifier.evidence.evidence_peaks`.
    title : str
        Of the progress bar.
    show_progress : bool
        Show a progress bar.

    Raises
    ------
    TooManyBadImagesError, ImageError
        As `BadImages` decides.
    DataError
        If no image can be used.
    GbadError
        If the disk is full; earlier batches stay valid.
    """
    folder = Path(folder)
    if (folder / "done.json").exists():
        complete = FeatureFile(folder)
        for row in _count_again(source, rows[~np.isin(rows, complete.rows)], bad):
            reason = f"could not be read when features were computed, but can be now; delete {folder} to have it used"
            bad.add(ImageError(source.names[row], "unreadable", reason))
        return complete
    folder.mkdir(parents=True, exist_ok=True)
    widths = {
        "features.f32": 4 * model.n_features,
        "logits.f64": 8 * model.spec["n_classes"],
        "rows.i64": 8,
        **({} if peak_extent is None else {"peaks.f32": 8 * model.spec["n_classes"]}),
    }
    kept = whole_batches(folder, widths)
    seen, written, _ = kept[-1] if kept else (0, 0, "")
    known = np.fromfile(folder / "rows.i64", np.int64, written) if written else np.empty(0, np.int64)
    if usable := _count_again(source, rows[:seen][~np.isin(rows[:seen], known)], bad):  # repaired since
        # Go back to the start of a batch: the last digits of a row may depend on the size of its batch.
        first = int(np.flatnonzero(rows == usable[0])[0])
        kept = [batch for batch in kept if batch.seen <= first]
        seen, written, _ = kept[-1] if kept else (0, 0, "")
    try:
        with ExitStack() as stack:
            write = stack.enter_context(continued(folder, widths, kept, written))
            advance = stack.enter_context(progress_bar(title, len(rows), show=show_progress))
            advance(seen)
            for done, images, errors in stream(source, rows[seen:], batch_size):
                for error in errors.values():
                    bad.add(error)
                seen += len(done) + len(errors)
                written += len(done)
                write(seen, {**_blocks(model, images, views, peak_extent), "rows.i64": done})
                advance(len(done) + len(errors))
    except OSError as error:
        raise GbadError(
            f"{folder}: features cannot be written ({error.strerror or error}). Free some space and run the same "
            "command again; it continues where it stopped."
        ) from error
    if not written:
        raise DataError(f"{folder}: {_NONE_USABLE}")
    write_sealed(
        folder / "done.json",
        {
            "rows": written,
            "features": widths["features.f32"] // 4,
            "classes": model.spec["n_classes"],
            "digests": {name: (file_digest(folder / name) or b"").hex() for name in widths},
        },
    )
    (folder / LEDGER).unlink(missing_ok=True)
    return FeatureFile(folder)


def _blocks(model: Classifier, images: Pixels, views: int, peak_extent: float | None) -> dict[str, npt.NDArray[Any]]:
    """What is written about a batch of images, by file."""
    if peak_extent is None:
        logits, features = predict_batch(model, images, views)
        return {"features.f32": features, "logits.f64": logits}
    logits, features, levels = see(model, images, views)
    peaks = evidence_peaks(model, levels, peak_extent)
    return {"features.f32": features, "logits.f64": logits, "peaks.f32": peaks}


def _count_again(source: ImageSource, rows: Rows, bad: BadImages) -> list[int]:
    """Count images that are bad before and after a break; give the rows that can be read now."""
    usable: list[int] = []
    for done, _, errors in stream(source, rows):
        usable += done.tolist()
        for error in errors.values():
            bad.add(error)
    return usable
