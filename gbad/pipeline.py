"""The whole of GBAD as one object: classifier, anomaly detector and gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import torch
from accelerate import PartialState
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import gbad
from gbad.data.bad_images import BadImages
from gbad.data.boxes import GivenBox
from gbad.data.images import MAX_PIXELS
from gbad.data.source import ImageSource, source_from_paths, stream
from gbad.errors import DataError, ImageError, PipelineFileError
from gbad.explanation import Explanation
from gbad.phase1_classifier import Classifier, classifier_from_state, predict_batch
from gbad.phase3_gate import log_odds, mixed
from gbad.runtime.versions import library_versions
from gbad.storage.files import atomic_path, remove_folder
from gbad.storage.ledger import claim, locked
from gbad.storage.plain_data import pack, read_pickle, unpack
from gbad.training import fitted as training
from gbad.training.file_format import check_format, format_of
from gbad.training.inputs import Images, fingerprints, image_source, training_list
from gbad.training.settings import IMAGE_LOSS, check_parts, check_settings, params_from, plain_settings


class GBADPipeline(BaseEstimator):
    """GBAD (Dumagpi, Jung and Jeong, IEICE 2020): which threats an X-ray image shows.

    Phase 1 is a multi-label classifier with a feature pyramid, trained on all positives and as many negatives. Phase 2
    is a BiGAN on its features and predictions of threat-free images. Phase 3 is a support vector machine on the BiGAN's
    two losses, which suppresses the predictions of images that look normal.

    Parameters
    ----------
    backbone : str
        ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``densenet121``, ``inception_v3`` or
        ``efficientnet_lite0``.
    architecture : {"fpn", "plain", "chr"}
        The letter's feature pyramid, the plain backbone with one layer, or class-balanced hierarchical refinement.
    size : int
        Side in pixels to which images are warped.
    pretrained : bool
        Start from ImageNet weights if they can be had.
    weights : path or None
        Local file of backbone weights.
    pooling : {"average", "max"}
        Pooling of the FPN levels: the letter's, or maximum behind a ReLU.
    fusion : {"hidden", "logits", "context"}
        What Σ averages: the letter's hidden layers, logits of each level, or these layers beside a plain network.
    fpn_width, head_width : int
        Channels of the FPN, outputs of each of FC1 to FC4. These four are of the architecture ``"fpn"``.
    position_weight : float
        Of the architecture ``"fpn"``: above 0, its levels also learn where threats are, from the boxes given to `fit`.
    chr_mask, chr_threshold, chr_prediction
        Of the architecture ``"chr"``, see `gbad.phase1_classifier.CHRClassifier`.
    epochs, batch_size, weight_decay, ema_decay, negatives, augmentation, precision, device
        Of phase 1, see `gbad.phase1_classifier.train_classifier`.
    optimiser, learning_rate, frozen_stages, frozen_norm : optional
        Of phase 1; None takes what suits the backbone.
    detector : estimator, str or None
        Detector of phase 2, or its name in `gbad.phase2_anomaly.FEATURE_DETECTORS` for one with its defaults; None is
        ``"bigan"``.
    image_detector : ImageAnomalyDetector, str or None
        Image-level detector, or its name in `gbad.phase2_anomaly.IMAGE_DETECTORS`: trained on the images that
        `detector` learns from, at this pipeline's `size` warped to its own, it adds its anomaly to the losses.
    views : {1, 2, 4}
        Mirrored views of an image whose mean phases 2 and 3 see, see `gbad.phase1_classifier.VIEWS`.
    max_negatives : int
        Largest number of threat-free images for phases 2 and 3, of each part (the letter: 50,000).
    class_heads : bool
        Mix the logits with those of `gbad.phase3_gate.ClassHeads` where that ranks the validation part better.
    gate : ThreatGate or None
        Gate of phase 3; None is what suits `gate_fit`, see `gbad.training.phase3.default_gate`.
    gate_fit : {"held-out", "paper"}
        Fit the gate on the validation part, or on the training rows as the letter does.
    suppression : {"hard", "soft"}
        ``"hard"`` (the letter): multiply by `epsilon` what is not anomalous. ``"soft"``: by P(anomalous) ** `alpha`.
    epsilon, alpha : float, float or None
        Strength of the hard gate, in (0, 1], and of the soft one, 0 or larger (None: what ranks held-out rows best).
    prevalence : float or None
        Share of images with a threat in use, in (0, 1), for which phase 3 chooses; None is the training list's.
    validation_fraction : float
        Share of the training list that phases 1 and 2 leave to phase 3.
    random_state : int
        Equal seeds give equal pipelines on the same machine.

    Attributes
    ----------
    classes_ : tuple of str
        Names of the C classes.
    thresholds_ : float64 array (C,)
        Thresholds of `predict` on the gated probabilities.
    detector_, image_detector_, gate_, strength_
        Fitted phases 2 and 3; ``image_detector_`` is None if there is none; ``strength_`` is ε or α of the gate.
    heads_, heads_share_, any_threat_
        Class heads and how much they count, or None and 0; the classes' calibration in the score for any threat.
    training_ : dict
        Per phase: seconds, and what it was trained on.
    """

    def __init__(
        self,
        *,
        backbone: str = "resnet34",
        architecture: str = "fpn",
        size: int = 224,
        pretrained: bool = True,
        weights: str | None = None,
        pooling: str = "max",
        fusion: str = "context",
        fpn_width: int = 256,
        head_width: int = 256,
        position_weight: float = 0.0,
        chr_mask: str = "hierarchical",
        chr_threshold: float | None = None,
        chr_prediction: str = "deepest",
        frozen_stages: int | None = None,
        frozen_norm: bool | None = None,
        epochs: int = 15,
        batch_size: int = 32,
        optimiser: str | None = None,
        learning_rate: float | None = None,
        weight_decay: float = 1e-4,
        ema_decay: float = 0.999,
        negatives: str = "fresh",
        augmentation: str = "standard",
        precision: str = "auto",
        device: str = "auto",
        detector: Any = None,
        image_detector: Any = None,
        views: int = 1,
        max_negatives: int = 50_000,
        class_heads: bool = True,
        gate: Any = None,
        gate_fit: str = "held-out",
        suppression: str = "soft",
        epsilon: float = 1e-3,
        alpha: float | None = None,
        prevalence: float | None = None,
        validation_fraction: float = 0.2,
        random_state: int = 0,
    ) -> None:
        self.backbone = backbone
        self.architecture = architecture
        self.size = size
        self.pretrained = pretrained
        self.weights = weights
        self.pooling = pooling
        self.fusion = fusion
        self.fpn_width = fpn_width
        self.head_width = head_width
        self.position_weight = position_weight
        self.chr_mask = chr_mask
        self.chr_threshold = chr_threshold
        self.chr_prediction = chr_prediction
        self.frozen_stages = frozen_stages
        self.frozen_norm = frozen_norm
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.negatives = negatives
        self.augmentation = augmentation
        self.precision = precision
        self.device = device
        self.detector = detector
        self.image_detector = image_detector
        self.views = views
        self.max_negatives = max_negatives
        self.class_heads = class_heads
        self.gate = gate
        self.gate_fit = gate_fit
        self.suppression = suppression
        self.epsilon = epsilon
        self.alpha = alpha
        self.prevalence = prevalence
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(
        self,
        images: Images,
        labels: np.ndarray,
        *,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
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
        boxes : sequence of n sequences of (class, left, top, right, bottom), optional
            Where threats are, in pixels of the original images: for a `position_weight` above 0. Positives whose list
            is empty do not take part in the learning of positions.
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
        params = self.get_params(deep=False)
        check_settings(params)
        data, names = training_list(images, labels, params, classes=classes, names=names, boxes=boxes)
        check_parts(data.positive, data.validation, self.gate_fit)  # else the corrected call would be another run
        bad = BadImages(len(data.source), max_bad, strict=strict, shown=(data.source.names, data.labels, data.classes))
        if run is not None:
            claim(Path(run), fingerprints(images, data, names) | {"settings": plain_settings(params)})
        with tempfile.TemporaryDirectory(prefix="gbad-") as temporary, locked(Path(run or temporary), self.device):
            return self.fit_phases(data, Path(run or temporary), bad, show_progress=show_progress)

    def fit_phases(
        self, data: training.TrainingSet, run: Path, bad: BadImages, *, last: int = 3, show_progress: bool = False
    ) -> Self:
        """Run the phases up to `last` on a run folder, skip those that are done, and take what they left."""
        params = self.get_params(deep=False)
        check_parts(data.positive, data.validation, self.gate_fit)
        state = PartialState(cpu=self.device == "cpu" or not torch.accelerator.is_available())
        if state.is_main_process:
            for left in run.glob("phase?/.*"):  # what a killed run was writing
                remove_folder(left)
        training.fit_phase1(data, params, run, bad, show_progress=show_progress)
        if not state.is_main_process:
            return self  # phases 2 and 3 run in one process
        if last >= 2:
            training.fit_phase2(data, params, run, bad, show_progress=show_progress)
        if last >= 3:
            training.fit_phase3(data, params, run)
            self._take(training.finished_state(run, data.classes))
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Gated probability of each class: float64 (n, C), in [0, 1].

        Parameters
        ----------
        images : sequence of n paths, or uint8 array (n, H, W, 3)
            RGB. Each image's values are the same whatever other images there are.

        Raises
        ------
        ImageError
            If an image cannot be read; `stream` goes on instead.
        """
        return self.explain(images).gated

    def predict(self, images: Images) -> np.ndarray:
        """Which threats are present: uint8 (n, C), 1 where the gated probability reaches the class's threshold."""
        return (self.predict_proba(images) >= self.thresholds_).astype(np.uint8)

    def anomaly_score(self, images: Images) -> np.ndarray:
        """Decision value of the gate: float64 (n,), above 0 = anomalous."""
        return self.explain(images).gate_score

    def any_threat_score(self, images: Images) -> np.ndarray:
        """Score for any threat, from all classes behind the gate: float64 (n,), higher = more likely."""
        return self.explain(images).any_threat

    def explain(self, images: Images) -> Explanation:
        """All intermediate values of each image; arguments and errors as in `predict_proba`."""
        parts = []
        for _, part, errors in self.stream(image_source(images, self.size)):
            for error in errors.values():
                raise error
            parts.append(part)
        if not parts:
            raise DataError("no images were given")
        return Explanation.concatenate(parts)

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
        self.check_fitted()
        rows = np.arange(len(source)) if rows is None else rows
        for done, images, errors in stream(source, rows, batch_size):
            yield done, self._explain_batch(images), errors

    def image_source(self, paths: Sequence[str | Path], *, max_pixels: int = MAX_PIXELS) -> ImageSource:
        """Source of image files at this pipeline's size, for `stream`."""
        return source_from_paths(paths, self.size, max_pixels=max_pixels)

    def save(self, path: str | Path) -> None:
        """Save as one file that `gbad.load` and ``joblib.load`` read: plain arrays, texts and numbers, no modules."""
        self.check_fitted()
        with atomic_path(path) as temporary:
            joblib.dump(self, temporary)

    def check_fitted(self) -> None:
        """Raise NotFittedError unless all three phases are there."""
        if not hasattr(self, "gate_"):
            raise NotFittedError("this GBADPipeline is not fitted yet: call fit, or load a saved one with gbad.load")

    def _take(self, state: dict[str, Any]) -> None:
        self.classes_, self.training_ = tuple(state["classes"]), state["training"]
        self._classifier = state["classifier"]
        self._network: Classifier | None = None
        self.detector_, images = training.detector_from_state(state["detector"]), state.get("image_detector")
        self.image_detector_ = None if images is None else training.detector_from_state(images)
        gate = state["gate"]
        self.gate_ = training.gate_from_state(gate)
        self.strength_, self.thresholds_ = gate["strength"], gate["thresholds"]
        self.heads_, self.heads_share_ = training.heads_from_state(gate)
        self.any_threat_ = training.any_threat_from_state(gate)

    @property
    def loss_names_(self) -> tuple[str, ...]:
        """Names of the losses that the gate looks at."""
        return (*self.detector_.loss_names, *(() if self.image_detector_ is None else (IMAGE_LOSS,)))

    def _explain_batch(self, images: np.ndarray) -> Explanation:
        if not len(images):
            return Explanation.empty(len(self.classes_), self.loss_names_)
        logits, features = predict_batch(self.network(), images, self.views)
        losses = self.detector_.losses(training.detector_input(features, logits))
        if self.image_detector_ is not None:
            losses = np.concatenate([losses, training.image_loss(self.image_detector_, images)], axis=1)
        heads = logits if self.heads_ is None else self.heads_.log_odds(features)
        ranking, gate = mixed(logits, heads, self.heads_share_), (self.gate_, self.suppression, self.strength_)
        log_gated, score, anomalous = training.gate_predictions(ranking, losses, *gate)
        of_phase3 = score, anomalous, heads, ranking, log_gated, self.any_threat_.score(log_odds(log_gated))
        return Explanation(logits, training.sigmoid(logits), losses, *of_phase3, self.loss_names_)

    def network(self) -> Classifier:
        """Classifier of phase 1 in evaluation mode, on the device that scores are computed on."""
        if self._network is None:
            accelerated = self.device == "auto" and torch.accelerator.is_available()
            device = torch.accelerator.current_accelerator() if accelerated else None
            self._network = classifier_from_state(self._classifier).to(device or "cpu")
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        """Plain data: no module, no optimiser, nothing that depends on another library's version."""
        params = self.get_params(deep=False)
        number = format_of(params, getattr(self, "heads_", None))
        state: dict[str, Any] = {"format_version": number, "params": plain_settings(params)}
        if hasattr(self, "gate_"):
            found = self.gate_, self.strength_, self.thresholds_, self.heads_, self.heads_share_, self.any_threat_
            state |= {
                "gbad_version": gbad.__version__,
                "library_versions": library_versions(),
                "classes": list(self.classes_),
                "training": self.training_,
                "classifier": self._classifier,
                "detector": training.detector_state(self.detector_),
                "gate": training.gate_state(*found),
            }
            if self.image_detector_ is not None:
                state["image_detector"] = training.detector_state(self.image_detector_)
        return pack(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_format(state)
        state = unpack(state)
        self.__init__(**params_from(state["params"]))  # type: ignore[misc]
        if "classifier" in state:
            self._take(state)


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
    pipeline = read_pickle(path)
    if not isinstance(pipeline, GBADPipeline):
        raise PipelineFileError(f"{path}: holds a {type(pipeline).__name__}, not a pipeline.")
    if not hasattr(pipeline, "gate_"):
        raise PipelineFileError(f"{path}: holds a pipeline that is not fitted. Train it, and save it again.")
    return pipeline
