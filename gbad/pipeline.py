"""The front door: GBAD as one scikit-learn estimator, saved as one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import gbad
from gbad.data.bad_images import BadImages
from gbad.data.boxes import GivenBox
from gbad.data.images import MAX_PIXELS
from gbad.data.original import Original
from gbad.data.source import ImageSource, opened, source_from_paths, stream, stream_originals
from gbad.errors import DataError, GbadError, ImageError, PipelineFileError
from gbad.explanation import Explanation
from gbad.models import pipeline_path
from gbad.phase1_classifier import use_onnx
from gbad.runtime.versions import library_versions
from gbad.storage.files import atomic_path
from gbad.storage.ledger import claim, locked
from gbad.storage.plain_data import check_seal, pack, read_pickle, sealed, unpack
from gbad.storage.targets import Kind
from gbad.training.checks import check_parts, check_settings
from gbad.training.fitted import FittedGBAD
from gbad.training.inputs import Images, ScoredImages, content_of, image_source, training_list
from gbad.training.phases import fit_phases
from gbad.training.plain_settings import from_plain, to_plain
from gbad.training.settings import Settings, takes_settings
from gbad.training.soundness import check_plain

PIPELINE = Kind("pipeline", (b"gbad.pipeline",))

FORMAT = 3
"""Of pipeline files. Every later version of gbad reads all of them: 1 knows no second look, 1 and 2 have no digest."""


class GBADPipeline(BaseEstimator):
    """GBAD (Dumagpi, Jung and Jeong, IEICE 2020): which threats an X-ray image shows.

    Phase 1 is a multi-label classifier with a feature pyramid, trained on all images with threats and as many
    threat-free ones. Phase 2 is a BiGAN on its features and predictions of threat-free images. Phase 3 is a support
    vector machine on the BiGAN's two losses, which suppresses the predictions of images that look normal. Class heads
    and a second look at regions are not in the paper, and are on by default; ``gbad.preset("paper")`` leaves them out.

    A setting that changes after `fit` counts for the next `fit`, as in scikit-learn; only ``device`` counts at once.

    Parameters
    ----------
    **settings
        See `gbad.training.settings.Settings`: each is a keyword and an attribute of this class.

    Attributes
    ----------
    fitted_ : FittedGBAD
        The three fitted phases: ``classifier``, ``detectors`` and ``decision``.
    classes_ : tuple of str
        Names of the C classes.
    thresholds_ : float64 array (C,)
        Thresholds of `predict` on the gated probabilities.
    """

    fitted_: FittedGBAD

    @takes_settings(Settings)
    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(vars(Settings(**settings)))

    @classmethod
    def from_fitted(cls, settings: Settings, fitted: FittedGBAD) -> Self:
        """Make a fitted pipeline of the phases that a run has trained."""
        pipeline = cls(**vars(settings))
        pipeline.fitted_ = fitted
        return pipeline

    @property
    def settings(self) -> Settings:
        """All settings as they are now."""
        return Settings(**self.get_params(deep=False))

    def set_params(self, **params: Any) -> Self:
        """Change settings; a fitted pipeline scores on another ``device`` from now on."""
        super().set_params(**params)
        if "device" in params and hasattr(self, "fitted_"):
            self.fitted_ = self.fitted_.on_device(params["device"])
        return self

    @property
    def classes_(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.check_fitted().classes

    @property
    def thresholds_(self) -> npt.NDArray[np.float64]:
        """Thresholds of `predict` on the gated probabilities, float64 (C,)."""
        return self.check_fitted().thresholds

    def fit(
        self,
        images: Images,
        labels: np.ndarray,
        *,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        groups: Sequence[str | None] | None = None,
        boxes: Sequence[Sequence[GivenBox]] | None = None,
        run: str | Path | None = None,
        max_bad: float = 0.01,
        strict: bool = False,
        show_progress: bool = False,
    ) -> Self:
        """Train all three phases.

        Parameters
        ----------
        images : sequence of n paths, or uint8 array (n, H, W, 3)
            The training list, RGB.
        labels : array (n, C)
            1 = threat present, 0 = absent.
        classes : sequence of C str, optional
            Class names.
        names : sequence of n str, optional
            Image names: neighbours in number fall on the same side of the validation split. Default: the paths' stems.
        groups : sequence of n str or None, optional
            Known group of each image, such as its bag, passenger or session: the validation split divides no group.
            Where it is None, the image's neighbours in number count.
        boxes : sequence of n sequences of (class, left, top, right, bottom), optional
            Where threats are, in pixels of the original images: for a `position_weight` above 0. Images with
            threats whose list is empty teach no places.
        run : path, optional
            Run folder; what it holds already is not done again. Default: a temporary folder.
        max_bad, strict : float, bool
            Share of unusable images above which training stops, see `BadImages`; whether it stops at the first one.
        show_progress : bool
            Show progress bars.

        Raises
        ------
        DataError
            If labels or images do not fit.
        """
        settings = self.settings
        check_settings(settings)
        data, names = training_list(images, labels, settings, classes=classes, names=names, groups=groups, boxes=boxes)
        check_parts(data.positive, data.validation, settings.gate_fit)  # else the corrected call would be another run
        bad = BadImages(len(data.source), max_bad, strict=strict, shown=(data.source.names, data.labels, data.classes))
        if run is not None:
            claim(Path(run), content_of(images, data, names, groups) | {"settings": to_plain(settings)})
        with tempfile.TemporaryDirectory(prefix="gbad-") as temporary:
            folder = Path(run or temporary)
            with locked(folder, settings.device):
                if fit_phases(data, settings, folder, bad, show_progress=show_progress):
                    self.fitted_ = FittedGBAD.from_run(folder, data, settings)
        return self

    def predict_proba(self, images: ScoredImages) -> np.ndarray:
        """Gated probability of each class: float64 (n, C), in [0, 1].

        Parameters
        ----------
        images : sequence of n paths, PIL images or uint8 arrays (H, W, 3), or uint8 array (n, H, W, 3)
            RGB; arrays (H, W) are grey. A single path, image or array is one image: n is 1. Each image's values are
            the same whatever other images there are.

        Raises
        ------
        ImageError
            If an image cannot be read; `stream` goes on instead.
        """
        return self.explain(images).gated

    def predict(self, images: ScoredImages) -> np.ndarray:
        """Which threats are present: uint8 (n, C), 1 where the gated probability reaches the class's threshold."""
        return self.explain(images).reaching(self.thresholds_).astype(np.uint8)

    def anomaly_score(self, images: ScoredImages) -> np.ndarray:
        """Decision value of the gate: float64 (n,), above 0 = anomalous."""
        return self.explain(images).gate_score

    def any_threat_score(self, images: ScoredImages) -> np.ndarray:
        """Score for any threat, from all classes behind the gate: float64 (n,), higher = more likely."""
        return self.explain(images).any_threat

    def explain(self, images: ScoredImages) -> Explanation:
        """All intermediate values of each image; arguments and errors as in `predict_proba`."""
        parts = []
        for _, part, errors in self.stream(image_source(images, self.settings.size)):
            for error in errors.values():
                raise error
            parts.append(part)
        if not parts:
            raise DataError("no images were given")
        return Explanation.concatenate(parts)

    def heatmaps(self, images: ScoredImages) -> npt.NDArray[np.float32]:
        """Where each class is seen, whether or not the image shows it; any architecture has such maps.

        Parameters and errors as in `predict_proba`.

        Returns
        -------
        float32 array (n, C, h, w)
            In [0, 1]; the cells cover the whole image. Probabilities that were learnt from boxes, else HiResCAM, scaled
            to a maximum of 1; by both looks where an image was looked at twice, see
            `gbad.training.fitted.FittedGBAD.evidence`. All zero if there is no evidence.
        """
        fitted, source = self.check_fitted(), image_source(images, self.settings.size)
        columns, maps = range(len(fitted.classes)), []
        for row in range(len(source)):
            original = opened(source, row)
            pixels = original.warped(source.size)
            seen = fitted.explain(pixels[None] if fitted.looks_twice else pixels[None][:0], [original])
            maps.append(fitted.evidence(pixels, original, seen, 0, columns))
        if not maps:
            raise DataError("no images were given")
        return np.stack(maps).astype(np.float32)

    def stream(
        self, source: ImageSource, rows: np.ndarray | None = None, batch_size: int = 32
    ) -> Iterator[tuple[np.ndarray, Explanation, dict[int, ImageError]]]:
        """Score any number of images in bounded memory.

        Parameters
        ----------
        source : ImageSource
            Images at this pipeline's size, from `image_source`.
        rows : int array, optional
            Which of them, in which order. Default: all.

        Yields
        ------
        rows, explanation : int array (b,), Explanation
            Rows that could be read, and their values.
        errors : dict of int to ImageError
            The rows of the batch that could not be read.
        """
        fitted = self.check_fitted()
        rows = np.arange(len(source)) if rows is None else rows
        if not fitted.looks_twice:
            for done, images, errors in stream(source, rows, batch_size):
                yield done, fitted.explain(images), errors
            return
        for done, images, originals, errors in stream_originals(source, rows, batch_size):
            try:
                yield done, fitted.explain(images, originals), errors
            except ImageError:  # an image that can be decoded at a reduced scale only
                yield _one_by_one(fitted, done, images, originals, errors)

    def use_onnx(self) -> bool:
        """Let ONNX Runtime compute the first look on the processor, about twice as fast; it takes some seconds once.

        It needs the extra ``onnx``. Scores change by rounding alone, and saved files not at all.

        Returns
        -------
        bool
            Whether it does, see `gbad.phase1_classifier.use_onnx`.
        """
        return use_onnx(self.check_fitted().network, self.settings.size)

    def image_source(self, paths: Sequence[str | Path], *, max_pixels: int = MAX_PIXELS) -> ImageSource:
        """Source of image files at this pipeline's size, for `stream`."""
        return source_from_paths(paths, self.settings.size, max_pixels=max_pixels)

    def in_half_precision(self) -> Self:
        """Copy with the weights of the classifiers rounded to float16: its file has half the size.

        Scores change a little; they are then those of the file. Thresholds and all else stay as they were fitted.
        """
        return self.from_fitted(self.settings, self.check_fitted().in_half_precision())

    def save(self, path: str | Path) -> None:
        """Save as one file that `gbad.load` and ``joblib.load`` read: plain arrays, texts and numbers, no modules."""
        self.check_fitted()
        with atomic_path(path) as temporary:
            joblib.dump(self, temporary)

    def check_fitted(self) -> FittedGBAD:
        """Give the fitted phases; NotFittedError unless all three are there."""
        if not hasattr(self, "fitted_"):
            raise NotFittedError("this GBADPipeline is not fitted yet: call fit, or load a saved one with gbad.load")
        return self.fitted_

    def __getstate__(self) -> dict[str, Any]:
        """Plain data: no module, no optimiser, nothing that depends on another library's version."""
        state: dict[str, Any] = {"format_version": FORMAT, "settings": to_plain(self.settings)}
        if hasattr(self, "fitted_"):
            state |= {
                "gbad_version": gbad.__version__,
                "library_versions": library_versions(),
                "fitted": self.fitted_.to_plain(),
            }
        return sealed(pack(state))

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.get("format_version") if isinstance(state, dict) else None
        # Files from before the first release called themselves 1, too.
        if version not in (1, 2, FORMAT) or "settings" not in state:
            raise PipelineFileError(
                f"the file has format {version!r} of another version of gbad; this one reads formats 1 to {FORMAT}. "
                "Install the version of gbad that wrote it, or train again."
            )
        if version == FORMAT or "digest" in state:
            check_seal(state)
        try:
            state = unpack(state)
            if version == 1:
                state = _from_format_1(state)
            settings = from_plain(state["settings"])
            self.__dict__.update(vars(settings))
            if "fitted" in state:
                check_plain(state["fitted"], settings)
                self.fitted_ = FittedGBAD.from_plain(state["fitted"], settings)
        except Exception as error:  # a strange state makes its parts raise almost anything
            what = str(error) if isinstance(error, (GbadError, ValueError)) else f"{type(error).__name__}: {error}"
            raise PipelineFileError(
                f"damaged, or its parts do not fit together ({what}). Copy it again, or train again."
            ) from error


def _one_by_one(
    fitted: FittedGBAD, rows: np.ndarray, images: np.ndarray, originals: Sequence[Original],
    errors: dict[int, ImageError],
) -> tuple[np.ndarray, Explanation, dict[int, ImageError]]:  # fmt: skip
    """Score a batch image by image, so that one that cannot be cut into regions becomes an error of its own."""
    parts, kept = [fitted.explain(images[:0])], []
    for number, row in enumerate(rows.tolist()):
        try:
            parts.append(fitted.explain(images[number : number + 1], originals[number : number + 1]))
            kept.append(row)
        except ImageError as error:
            errors[row] = error
    return np.array(kept, np.int64), Explanation.concatenate(parts), errors


def _from_format_1(state: dict[str, Any]) -> dict[str, Any]:
    """Bring the content of a file without second look into today's form."""
    state["settings"] |= {"second_look": False}
    if "fitted" in state:
        state["fitted"] |= {"second": None}
    return state


def load(path: str | Path) -> GBADPipeline:
    """Load a pipeline; refuse every class and function that a pipeline file does not need, and parts that do not fit.

    ``gbad.load("simulated-bags")`` loads a model that comes with gbad, see `gbad.models`.

    The digest of the content is compared, and one blank image is scored.

    ``joblib.load`` reads the same files but runs whatever a file asks for: use it on files of your own only.

    Parameters
    ----------
    path : path-like
        A file of `GBADPipeline.save`, from any machine or device, or the name of a model that comes with gbad.

    Raises
    ------
    PipelineFileError
        If the file is missing, damaged, refused, from a newer format, or holds something else.
    """
    path = pipeline_path(path)
    pipeline = read_pickle(path)
    if not isinstance(pipeline, GBADPipeline):
        raise PipelineFileError(f"{path}: holds a {type(pipeline).__name__}, not a pipeline.")
    if not hasattr(pipeline, "fitted_"):
        raise PipelineFileError(f"{path}: holds a pipeline that is not fitted. Train it, and save it again.")
    try:
        pipeline.fitted_.try_out(pipeline.settings.size)
    except Exception as error:  # as in __setstate__
        raise PipelineFileError(
            f"{path}: its parts do not fit together ({type(error).__name__}: {error}). Copy it again, or train again."
        ) from error
    return pipeline
