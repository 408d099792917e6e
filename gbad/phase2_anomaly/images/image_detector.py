"""What every image-level anomaly detector offers, and what they share.

A system is a dataclass of hyperparameters with up to five functions: `_networks` and `_optimisers` build, `_step`
trains on one batch, `_score_parts` judges images, `_maps` says where they are abnormal. Two ways of scoring are kept
apart. Clean scores: networks in eval mode, and a range and threshold learnt in ``fit``, so each image is scored by
itself. Paper scores: with what published codes take from the test set, for comparison only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn

from gbad.errors import DivergedError
from gbad.phase2_anomaly.contract import AnomalyDetector, Array, Floats
from gbad.phase2_anomaly.epochs import Callback
from gbad.phase2_anomaly.images.batch_statistics import renew_batch_statistics
from gbad.phase2_anomaly.images.files import load_detector, save_detector
from gbad.phase2_anomaly.images.rows import ImageRows, even_batches
from gbad.phase2_anomaly.images.scoring import Real, judge_in_batches, judge_in_chunks, weighted_sum
from gbad.phase2_anomaly.images.training import Optimisers, Schedule, train_networks
from gbad.phase2_anomaly.optimisers import adam
from gbad.phase2_anomaly.parameters import check_declared, check_real, check_whole
from gbad.runtime.device import device_or_cpu
from gbad.runtime.randomness import derived_seed, forked_rng

Networks = TypeVar("Networks", bound=nn.Module)

EachEpoch = Callable[[int, Callable[..., Floats]], object]
"""Called as ``each_epoch(epoch, paper_scores)`` before an epoch's checkpoint is written; `epoch` is from 1."""

FirstWeights = Mapping[str, Mapping[str, Tensor]]
"""States of submodules by their names."""

LEAKS = ("batch statistics", "best epoch", "min-max")
"""What published codes take from the test set: statistics of its batches, in train mode; the choice of the epoch; and
the range of the scores."""

_CHUNK = 32  # images that are scored together; a convolution of 8 takes a quarter longer for each image than one of 32
_CHUNK_PIXELS = 32 * 64 * 64  # most pixels (per channel) of them: 32 images of 64 px, 2 of 256 px


# A dataclass, because it writes the constructor that scikit-learn asks for (keywords, stored untouched) and lets a
# system inherit the common hyperparameters with other defaults.
@dataclass(kw_only=True, eq=False, repr=False)
class ImageAnomalyDetector(AnomalyDetector, Generic[Networks]):
    """Base of outlier detectors that learn what normal images look like.

    Images are an array of uint8, (n, height, width) or (n, height, width, C) with C 1 or 3, or a list of files. The
    networks see them at ``image_size`` in [-1, 1].

    Parameters
    ----------
    image_size : int
        Side in pixels: a power of two from 32 to 256. Other images are warped to it.
    channels : int or None
        1 or 3; None takes the number of the training images (3 for files). Other images are converted.
    epochs : int
        Passes over the training images.
    batch_size : int
        Largest batch, 2 or more.
    learning_rate, beta1 : float
        Of Adam; its second decay rate is 0.999.
    device : str
        Where to train and score: ``"cpu"``, ``"cuda"``, ...
    calibration_images : int
        Training images (drawn at random, if there are more) that set the scores' range and threshold. As many, drawn
        anew, set the statistics of batch normalisation, because its running averages lag behind the weights.
    scale_parts : bool
        Divide each part of the score by its median over the calibration images before the parts are added. Published
        codes do not, so the weight of a discriminator's code depends on its arbitrary scale. Paper scores are divided
        like clean scores: the two differ only by the leak.
    contamination : float
        Share of the training images that ``predict`` calls abnormal, in (0, 0.5].
    random_state : int, RandomState or None
        Equal numbers give equal detectors. The process's own random numbers are left alone.

    Attributes
    ----------
    channels_ : int
        Channels that the networks see.
    weights_ : dict of str to ndarray
        State of the networks.
    n_parameters_ : int
        Trainable parameters of all networks.
    part_scale_ : ndarray of shape (len(part_names),), float64
        Divisors of the parts: medians, or ones (also for a median of 0).
    score_min_, score_range_ : float
        Lowest anomaly of the calibration images before scaling, and the distance to their highest (1 if there is none).
    offset_ : float
        Threshold on ``score_samples``.
    seed_ : int
        Drawn from ``random_state``.
    history_ : dict of str to ndarray of shape (epochs,), float64
        Mean of each training loss in each epoch.
    """

    image_size: int = 32
    channels: int | None = None
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 2e-4
    beta1: float = 0.5
    device: str = "cpu"
    calibration_images: int = 2048
    scale_parts: bool = False
    contamination: float = 0.1
    random_state: int | np.random.RandomState | None = 0

    input_kind: ClassVar[str] = "images"
    part_names: ClassVar[tuple[str, ...]]
    """Names of the columns of :meth:`score_parts`; each system sets them."""
    published_leaks: ClassVar[tuple[str, ...]] = ()
    """Which of `LEAKS` the system's published code has; none where no code was published."""

    # ---- what a system supplies -------------------------------------------------------------------------------------

    @abstractmethod
    def _networks(self) -> Networks:
        """Build all networks as one module for ``image_size`` and ``channels_``, with initial weights.

        The module's ``state_dict`` must hold everything that scoring needs. Weights are drawn from PyTorch's default
        generator.
        """

    def _first_weights(self, images: ImageRows, checkpoint: Path | None) -> FirstWeights:
        """Give submodules that do not start from random weights theirs, from files or from a training of their own.

        Here there are none. A training of its own keeps its state in another file than `checkpoint`.
        """
        return {}

    def _optimisers(self, networks: Networks) -> Optimisers:
        """Make the optimisers that :meth:`_step` uses, by name; here those of a generator and a discriminator."""
        names = ("generator", "discriminator")
        return {name: adam([networks.get_submodule(name)], self.learning_rate, self.beta1) for name in names}

    @abstractmethod
    def _step(self, networks: Networks, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        """Train on one batch (b, C, S, S) in [-1, 1]; return its losses, detached scalars."""

    @abstractmethod
    def _score_parts(self, networks: Networks, x: Tensor) -> Tensor:
        """Parts of the anomaly score of each image, high means abnormal: (b, C, S, S) -> (b, len(part_names))."""

    def _part_weights(self) -> tuple[float, ...]:
        """Weights of the parts in the score; here all are 1."""
        return (1.0,) * len(self.part_names)

    def _combine(self, parts: Floats) -> Floats:
        """Anomaly of each image before scaling: (n, len(part_names)) -> (n,)."""
        return weighted_sum(parts, self._part_weights())

    def _normalise(self, networks: Networks, x: Tensor) -> None:
        """Pass a batch of training images through everything that scoring uses, for batch normalisation."""
        self._score_parts(networks, x)

    def _rate_factor(self, epoch: int) -> float:
        """Factor of the learning rates in an epoch, counted from 0; here constant."""
        return 1.0

    # A system that knows where an image is abnormal adds `_maps(networks, x)`: (b, C, S, S) -> (b, S, S), >= 0.

    # ---- what all of them do ----------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, callback: Callback | None = None,
        each_epoch: EachEpoch | None = None,
    ) -> Self:  # fmt: skip
        """Train on normal images.

        Parameters
        ----------
        X : ndarray of uint8, (n, height, width) or (n, height, width, C), or sequence of paths
            Normal images, two or more.
        y : None
            Ignored; here for scikit-learn.
        checkpoint : path, optional
            File for the state of the training, rewritten now and then. If it exists, training continues from it and
            ends with the same weights, bit for bit, as training without a break.
        callback : callable, optional
            Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.
        each_epoch : callable, optional
            Called as ``each_epoch(epoch, paper_scores)`` before the epoch's checkpoint is written, because published
            code tests after each epoch. ``paper_scores(X, order=None)`` scores with the networks of that epoch.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If `X` does not hold images, or holds fewer than two.
        ValueError
            If a parameter is out of its range.
        RunError
            If `checkpoint` belongs to other images or other parameters.
        DivergedError
            If losses, or the scores of the training images after the last epoch, are not finite. A checkpoint of the
            last epoch is then deleted, because its weights are useless.
        GbadError
            If the checkpoint cannot be written.
        """
        self.check_parameters()
        if hasattr(self, "offset_"):
            del self.offset_  # a detector whose training fails is not fitted
        images = ImageRows(X, self.image_size, self.channels)
        if len(images) < 2:
            raise ValueError(f"Training needs at least two normal images, got {len(images)}.")
        self.channels_ = images.channels
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        first = self._first_weights(images, None if checkpoint is None else Path(checkpoint))
        with forked_rng(derived_seed(self.seed_, "weights")):
            networks = self._networks()
        for name, weights in first.items():
            networks.get_submodule(name).load_state_dict(weights)
        networks = networks.to(self.device).to(memory_format=torch.channels_last)
        optimisers = self._optimisers(networks)
        paper_scores = partial(self._paper_scores_now, networks, images)
        history = train_networks(
            networks,
            optimisers,
            lambda x: self._step(networks, optimisers, x),
            images.read,
            Schedule(len(images), self.epochs, self.batch_size, self.seed_),
            rate_factor=self._rate_factor,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            about=None if checkpoint is None else self._about(images),
            callback=callback,
            each_epoch=each_epoch and (lambda epoch: each_epoch(epoch, paper_scores)),
        )
        self._renew_statistics(networks, images)
        self.weights_: dict[str, Array] = {
            name: values.cpu().numpy().copy() for name, values in networks.state_dict().items()
        }
        self.n_parameters_ = sum(p.numel() for p in networks.parameters() if p.requires_grad)
        self.history_ = {name: np.array([losses[name] for losses in history]) for name in history[0]}
        parts = self._calibration_parts(self._fitted_networks(), images)
        if not np.isfinite(parts).all():  # the last step, after the last losses that were checked, spoilt the weights
            if checkpoint is not None:
                Path(checkpoint).unlink(missing_ok=True)
            raise DivergedError(
                f"The training diverged: after {self.epochs} epochs, scores of its own images are not finite. "
                f"Lower learning_rate (now {self.learning_rate:g}), or raise batch_size (now {self.batch_size})."
            )
        self.part_scale_ = self._part_scale(parts)
        anomaly = self._combine(parts / self.part_scale_)
        # A single image has no range; then nothing is divided.
        self.score_min_, self.score_range_ = float(anomaly.min()), float(np.ptp(anomaly)) or 1.0
        self.offset_ = self._offset_of(self._scaled(parts))
        return self

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_declared(self)
        if self.image_size not in (32, 64, 128, 256):
            raise ValueError(f"image_size must be 32, 64, 128 or 256, got {self.image_size!r}.")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1, 3 or None (as the training images), got {self.channels!r}.")
        check_whole(self, ("batch_size",), least=2)
        check_real(self, ("learning_rate",), 0.0, ends="neither")
        check_real(self, ("beta1",), 0.0, 1.0, "left")

    def score_parts(self, X: Any) -> Floats:
        """Parts of the anomaly score, as the networks give them: (n, len(part_names)) float64, high = abnormal."""
        return self._per_image(X, self._score_parts, np.float64)

    def score_samples(self, X: Any) -> Floats:
        """Score images, each by itself: in eval mode, with the range of the training images.

        Parameters
        ----------
        X : ndarray of uint8 or sequence of paths
            One image or more.

        Returns
        -------
        ndarray of shape (n,), float64
            The lower, the more abnormal; 0 to -1 over the calibration images. Images are judged in chunks of one
            size, the last one filled up, so an image's score depends on no other, up to float32's rounding (1e-6).

        Raises
        ------
        NotFittedError
            Before ``fit``.
        DataError
            If `X` does not hold images.
        ImageError
            If a file cannot be read.
        """
        return self._scaled(self.score_parts(X))

    def prepared_scorer(self, batch_size: int) -> Callable[[Any], Floats]:
        """Build the networks once, for a process that scores many times.

        Parameters
        ----------
        batch_size : int
            Images that the networks see at a time, 1 or more; fewer are filled up to it.

        Returns
        -------
        callable
            As ``score_samples``; scores differ by float32's rounding, because the size of the batch differs.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        self._check_fitted()
        judge = partial(self._score_parts, self._fitted_networks())
        return lambda X: self._scaled(judge_in_chunks(judge, self._images(X), batch_size, self.device, np.float64))

    @available_if(lambda self: hasattr(self, "_maps"))  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def anomaly_map(self, X: Any) -> npt.NDArray[np.float32]:
        """Where images are abnormal: (n, image_size, image_size) float32, 0 or larger; only for systems with maps."""
        return self._per_image(X, self._maps, np.float32)

    def paper_scores(self, X: Any, batch_size: int | None = None, order: npt.NDArray[np.int64] | None = None) -> Floats:
        """Score a test set as published code does. The scores leak: do not decide anything by them.

        GANomaly, Skip-GANomaly and SAGAN stay in train mode, as in their code: images are normalised with the
        statistics of their batch of test images, so an image's score depends on the images around it. With all normal
        images first, most batches are all normal or all abnormal, which is most of the leak. For all systems the
        result is scaled to 0...1 over all of `X` (min-max).

        Parameters
        ----------
        X : ndarray of uint8 or sequence of paths
            The whole test set, two images or more, in the order of published code: normal images first.
        batch_size : int, optional
            By default the hyperparameter.
        order : ndarray of int, optional
            Permutation of the rows of `X` in which they fill batches; by default the order of `X`.

        Returns
        -------
        ndarray of shape (n,), float64
            Scores of the rows of `X`, in [0, 1]; the higher, the more abnormal (the sign is not that of
            ``score_samples``).

        Raises
        ------
        NotFittedError, DataError, ImageError
            As ``score_samples``.
        ValueError
            If there is only one image: it has no range.
        """
        self._check_fitted()
        return self._paper_scores(self._fitted_networks(), self.part_scale_, X, batch_size or self.batch_size, order)

    def save(self, path: str | Path) -> None:
        """Save the fitted detector as one file of plain numbers, for :meth:`load`."""
        self._check_fitted()
        save_detector(self, self._plain_params(), path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a file of :meth:`save`; scores are equal bit for bit where the device is the same.

        Raises
        ------
        PipelineFileError
            If the file is missing, damaged, incomplete, from another format, or holds another detector.
        """
        return load_detector(path, cls, cls._check_learnt)

    @classmethod
    def from_arrays(cls, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Rebuild a fitted detector, as `AnomalyDetector.from_arrays`.

        It scores on the CPU if this machine lacks the device of the training.
        """
        return super().from_arrays({**params, "device": device_or_cpu(str(params["device"]))}, arrays)

    # ---- parts of the above -----------------------------------------------------------------------------------------

    def _paper_scores_now(
        self, networks: Networks, images: ImageRows, X: Any, order: npt.NDArray[np.int64] | None = None
    ) -> Floats:
        """As `paper_scores` would score if the training on `images` ended here."""
        networks = deepcopy(networks)
        self._renew_statistics(networks, images)
        parts = self._calibration_parts(networks, images) if self.scale_parts else np.ones((1, len(self.part_names)))
        return self._paper_scores(networks, self._part_scale(parts), X, self.batch_size, order)

    def _paper_scores(
        self, networks: Networks, scale: Floats, X: Any, batch_size: int, order: npt.NDArray[np.int64] | None
    ) -> Floats:
        images = ImageRows(X, self.image_size, self.channels_)
        if len(images) < 2:
            raise ValueError("Paper scores need at least two images. Use score_samples, which needs one.")
        networks = deepcopy(networks).train(LEAKS[0] in self.published_leaks)  # train mode changes running statistics
        with forked_rng(derived_seed(self.seed_, "paper"), self.device):
            parts = judge_in_batches(partial(self._score_parts, networks), images, batch_size, self.device, order)
        anomaly = self._combine(parts / scale)
        scaled: Floats = (anomaly - anomaly.min()) / (float(np.ptp(anomaly)) or 1.0)
        return scaled

    def _check_learnt(self) -> None:
        """Raise an error if hyperparameters and arrays do not make a detector that scores."""
        self.check_parameters()
        self._fitted_networks()
        if not np.isfinite([*self._scaled(np.ones((1, len(self.part_names)))), self.offset_]).all():
            raise ValueError("range or threshold is not finite")

    def _plain_params(self) -> dict[str, Any]:
        """Hyperparameters as plain values."""
        params: dict[str, Any] = self.get_params(deep=False) | {"device": str(self.device)}
        if not isinstance(self.random_state, Integral):
            params["random_state"] = self.seed_  # a generator is no plain number, and has moved on since
        return params

    def _about(self, images: ImageRows) -> dict[str, Any]:
        """Everything that decides the trained weights, for the checkpoint."""
        others = ("device", "calibration_images", "scale_parts", "contamination")
        params = {name: value for name, value in self._plain_params().items() if name not in others}
        return params | {"detector": type(self).__name__, "digest of X": images.digest()}

    def _calibration_parts(self, networks: Networks, images: ImageRows) -> Floats:
        """Parts of the score of the calibration images: (n, len(part_names))."""
        random = np.random.default_rng(derived_seed(self.seed_, "calibration"))
        rows = np.sort(random.permutation(len(images))[: self.calibration_images])
        return judge_in_chunks(partial(self._score_parts, networks), images, self._chunk, self.device, np.float64, rows)

    def _part_scale(self, parts: Floats) -> Floats:
        """Divisors of the parts, from the parts of the calibration images: (n, p) -> (p,)."""
        medians = np.abs(np.median(parts, axis=0))
        return np.where(medians > 0, medians, 1.0) if self.scale_parts else np.ones_like(medians)

    def _renew_statistics(self, networks: Networks, images: ImageRows) -> None:
        seed = derived_seed(self.seed_, "batch statistics")
        rows = np.random.default_rng(seed).permutation(len(images))[: max(2, self.calibration_images)]
        batches = (images.read(batch).to(self.device) for batch in even_batches(rows, self.batch_size))
        with forked_rng(seed, self.device):
            renew_batch_statistics(networks, partial(self._normalise, networks), batches)

    def _images(self, X: Any) -> ImageRows:
        self._check_fitted()
        return ImageRows(X, self.image_size, self.channels_)

    def _scaled(self, parts: Floats) -> Floats:
        """Scores of raw parts: (n, len(part_names)) -> (n,), low = abnormal, in the range of the training images."""
        scaled: Floats = -(self._combine(parts / self.part_scale_) - self.score_min_) / self.score_range_
        return scaled

    def _fitted_networks(self) -> Networks:
        with torch.device("meta"):  # no initial weights: they would be drawn from the process's random numbers
            networks = self._networks()
        weights = {name: torch.tensor(values, device=self.device) for name, values in self.weights_.items()}
        networks.load_state_dict(weights, assign=True)
        return networks.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @property
    def _chunk(self) -> int:
        """Images in a chunk; the same for all clean scores."""
        return max(1, min(_CHUNK, _CHUNK_PIXELS // self.image_size**2))

    def _per_image(
        self, X: Any, function: Callable[[Networks, Tensor], Tensor], dtype: type[Real]
    ) -> npt.NDArray[Real]:
        """Apply `function` to each image, by the fitted networks in eval mode."""
        images = self._images(X)
        judge = partial(function, self._fitted_networks())
        return judge_in_chunks(judge, images, self._chunk, self.device, dtype)
