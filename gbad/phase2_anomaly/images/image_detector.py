"""The contract of image-level anomaly detectors, and all that they share.

A system is a dataclass of hyperparameters with four functions: `_networks` and `_optimisers` build, `_step` trains on
one batch, `_score_parts` judges images. Two ways of scoring are kept apart. Clean: networks in eval mode, and a range
and threshold learnt in ``fit``, so that each image is scored by itself. Paper: with what published codes take from the
test set, for comparison only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from gbad.phase2_anomaly.contract import AnomalyDetector
from gbad.phase2_anomaly.epochs import Callback, EachEpoch
from gbad.phase2_anomaly.images.batch_statistics import renew_batch_statistics
from gbad.phase2_anomaly.images.files import DetectorFiles
from gbad.phase2_anomaly.images.parameters import check_common_parameters, training_identity
from gbad.phase2_anomaly.images.rows import ImageRows, even_batches
from gbad.phase2_anomaly.images.scoring import judge_in_batches, judge_in_chunks
from gbad.phase2_anomaly.images.training import Optimisers, Schedule, check_scores, train_networks
from gbad.runtime.randomness import derived_seed, forked_rng

Networks = TypeVar("Networks", bound=nn.Module)

LEAKS = ("batch statistics", "best epoch", "min-max")
"""What published codes take from the test set: statistics of its batches, in train mode; the choice of the epoch; and
the range of the scores."""

_CHUNK_PIXELS = 32 * 32 * 32  # pixels (per channel) that are scored together: 32 images of 32 px, one of 256 px


# A dataclass, because it writes the constructor that scikit-learn asks for (keywords, stored untouched) and lets a
# system inherit the common hyperparameters with other defaults.
@dataclass(kw_only=True, eq=False, repr=False)
class ImageAnomalyDetector(DetectorFiles, AnomalyDetector, BaseEstimator, Generic[Networks]):
    """Base of outlier detectors that learn what normal images look like.

    Images are an array of uint8, (n, height, width) or (n, height, width, C) with C 1 or 3, or a list of files. The
    networks see them at ``image_size`` in [-1, 1].

    Parameters
    ----------
    image_size : int
        Side in pixels: a power of two from 32 to 256. Other images are warped to it.
    channels : int or None
        1 or 3; None takes what the training images have (3 for files). Other images are converted.
    epochs : int
        Passes over the training images.
    batch_size : int
        Largest batch, 2 or more.
    learning_rate, beta1 : float
        Of Adam; its second decay rate is 0.999.
    device : str
        Where to train and score: ``"cpu"``, ``"cuda"``, ...
    calibration_images : int
        So many training images (drawn at random, if there are more) set the scores' range and threshold, and before
        that, drawn anew, the statistics of batch normalisation: its running averages lag behind the weights.
    scale_parts : bool
        Divide each part of the score by its median over the calibration images before the parts are weighed against
        each other. Published codes do not: the code of a discriminator then counts as much as its scale happens to
        be. Paper scores do as clean ones, so that they differ in nothing but the leak.
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
        What the parts are divided by: medians, or ones (also for a median of 0).
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

        Everything that scoring needs has to be in the module's ``state_dict``. Weights are drawn from PyTorch's
        default generator.
        """

    @abstractmethod
    def _optimisers(self, networks: Networks) -> Optimisers:
        """Make the optimisers that :meth:`_step` uses, by name."""

    @abstractmethod
    def _step(self, networks: Networks, optimisers: Optimisers, x: Tensor) -> dict[str, Tensor]:
        """Train on one batch (b, C, S, S) in [-1, 1]; give its losses, detached scalars."""

    @abstractmethod
    def _score_parts(self, networks: Networks, x: Tensor) -> Tensor:
        """Parts of the anomaly score of each image, high means abnormal: (b, C, S, S) -> (b, len(part_names))."""

    def _combine(self, parts: np.ndarray) -> np.ndarray:
        """Anomaly of each image before scaling: (n, len(part_names)) float64 -> (n,); here their sum."""
        return parts.sum(axis=1)

    def _normalise(self, networks: Networks, x: Tensor) -> None:
        """Pass a batch of training images through all that scoring uses, for the statistics of batch normalisation."""
        self._score_parts(networks, x)

    def _rate_factor(self, epoch: int) -> float:
        """Factor of the learning rates in an epoch, counted from 0; constant unless a system says otherwise."""
        return 1.0

    # A system that can tell where an image is abnormal adds `_maps(networks, x)`: (b, C, S, S) -> (b, S, S), >= 0.

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
            File that holds the state of the training, rewritten now and then. If it exists, training goes on from it
            and ends in the same weights, bit for bit, as training without a break.
        callback : callable, optional
            Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.
        each_epoch : callable, optional
            Called as ``each_epoch(epoch, paper_scores)`` before the epoch's checkpoint is written, because published
            code tests after each epoch: ``paper_scores(X, order=None)`` gives those of the networks as they are then.

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
            If losses, or the scores of the training images after the last epoch, are not finite; a checkpoint of the
            last epoch is then deleted, since it leads nowhere.
        GbadError
            If the checkpoint cannot be written.
        """
        self._check_parameters()
        if hasattr(self, "offset_"):
            del self.offset_  # what a training that fails leaves behind is not fitted
        images = ImageRows(X, self.image_size, self.channels)
        if len(images) < 2:
            raise ValueError(f"Training needs at least two normal images, got {len(images)}.")
        self.channels_ = images.channels
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        with forked_rng(derived_seed(self.seed_, "weights")):
            networks = self._networks().to(self.device).to(memory_format=torch.channels_last)
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
            identity=None if checkpoint is None else training_identity(self, images),
            callback=callback,
            each_epoch=each_epoch and (lambda epoch: each_epoch(epoch, paper_scores)),
        )
        self._renew_statistics(networks, images)
        self.weights_ = {name: values.cpu().numpy().copy() for name, values in networks.state_dict().items()}
        self.n_parameters_ = sum(p.numel() for p in networks.parameters() if p.requires_grad)
        self.history_ = {name: np.array([losses[name] for losses in history]) for name in history[0]}
        parts = self._calibration_parts(self._fitted_networks(), images)
        check_scores(parts, self, checkpoint)
        self.part_scale_ = self._part_scale(parts)
        anomaly = self._combine(parts / self.part_scale_)
        # Without a range, such as that of one image, there is nothing to divide by.
        self.score_min_, self.score_range_ = float(anomaly.min()), float(np.ptp(anomaly)) or 1.0
        self.offset_ = self._offset_of(self._scaled(parts), self.contamination)
        return self

    def score_parts(self, X: Any) -> np.ndarray:
        """Parts of the anomaly score, as the networks give them: (n, len(part_names)) float64, high = abnormal."""
        return self._per_image(self._images(X), self._score_parts)

    def score_samples(self, X: Any) -> np.ndarray:
        """Score images, each by itself: in eval mode, with the range of the training images.

        Parameters
        ----------
        X : ndarray of uint8 or sequence of paths
            One image or more.

        Returns
        -------
        ndarray of shape (n,), float64
            The lower, the more abnormal; 0 to -1 over the calibration images. Images are judged in chunks of one
            size, the last one filled up: an image's score depends on no other, up to float32's rounding (1e-6).

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

    def prepared_scorer(self, batch_size: int) -> Callable[[Any], np.ndarray]:
        """Build the networks once, for a process that scores again and again.

        Parameters
        ----------
        batch_size : int
            Images that the networks see at a time, 1 or more; fewer are filled up to it.

        Returns
        -------
        callable
            As ``score_samples``; scores differ by float32's rounding, because the size of a batch does.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        judge = partial(self._score_parts, self._fitted_networks())
        return lambda X: self._scaled(judge_in_chunks(judge, self._images(X), batch_size, self.device))

    @available_if(lambda self: hasattr(self, "_maps"))
    def anomaly_map(self, X: Any) -> np.ndarray:
        """Where images are abnormal: (n, image_size, image_size) float32, 0 or larger; for systems that know it."""
        return self._per_image(self._images(X), self._maps, np.float32)

    def paper_scores(self, X: Any, batch_size: int | None = None, order: np.ndarray | None = None) -> np.ndarray:
        """Score a test set in the way of published code. It leaks: do not decide anything by these scores.

        GANomaly, Skip-GANomaly and SAGAN stay in train mode, where their code left them: images are normalised with
        the statistics of their batch of test images, so an image's score depends on the images around it. With all
        normal images first, most batches are of one kind, which is most of the leak. For all systems the result is
        scaled to 0...1 over all of `X` (min-max).

        Parameters
        ----------
        X : ndarray of uint8 or sequence of paths
            The whole test set, two images or more, in the order of published code: normal images first.
        batch_size : int, optional
            None takes the hyperparameter.
        order : ndarray of int, optional
            Permutation of the rows of `X` in which they fill batches; None takes them as they are.

        Returns
        -------
        ndarray of shape (n,), float64
            Of the rows of `X`, in [0, 1]; the higher, the more abnormal (the other sign than ``score_samples``).

        Raises
        ------
        NotFittedError, DataError, ImageError
            As ``score_samples``.
        ValueError
            If there is one image only: it has no range.
        """
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return self._paper_scores(self._fitted_networks(), self.part_scale_, X, batch_size or self.batch_size, order)

    def _paper_scores_now(
        self, networks: Networks, images: ImageRows, X: Any, order: np.ndarray | None = None
    ) -> np.ndarray:
        """As `paper_scores` would score if the training on `images` ended here."""
        networks = deepcopy(networks)
        self._renew_statistics(networks, images)
        parts = self._calibration_parts(networks, images) if self.scale_parts else np.ones((1, len(self.part_names)))
        return self._paper_scores(networks, self._part_scale(parts), X, self.batch_size, order)

    def _paper_scores(
        self, networks: Networks, scale: np.ndarray, X: Any, batch_size: int, order: np.ndarray | None
    ) -> np.ndarray:
        images = ImageRows(X, self.image_size, self.channels_)
        if len(images) < 2:
            raise ValueError("Paper scores need at least two images. Use score_samples, which needs one.")
        networks = deepcopy(networks).train(LEAKS[0] in self.published_leaks)  # train mode changes running statistics
        with forked_rng(derived_seed(self.seed_, "paper"), self.device):
            parts = judge_in_batches(partial(self._score_parts, networks), images, batch_size, self.device, order)
        anomaly = self._combine(parts / scale)
        return (anomaly - anomaly.min()) / (float(np.ptp(anomaly)) or 1.0)

    def _check_learnt(self) -> None:
        self._check_parameters()
        self._fitted_networks()
        if not np.isfinite([*self._scaled(np.ones((1, len(self.part_names)))), self.offset_]).all():
            raise ValueError("range or threshold is not finite")

    def __getstate__(self) -> dict[str, Any]:
        # A torch.device would tie the pickle to PyTorch; everything else is plain already.
        return super().__getstate__() | {"device": str(self.device)}

    def _check_parameters(self) -> None:
        check_common_parameters(self)

    def _calibration_parts(self, networks: Networks, images: ImageRows) -> np.ndarray:
        """Parts of the training images that set range and threshold: (calibration_images, len(part_names))."""
        random = np.random.default_rng(derived_seed(self.seed_, "calibration"))
        rows = np.sort(random.permutation(len(images))[: self.calibration_images])
        return judge_in_chunks(partial(self._score_parts, networks), images, self._chunk, self.device, rows)

    def _part_scale(self, parts: np.ndarray) -> np.ndarray:
        """What parts are divided by, of those of the calibration images: (n, p) -> (p,)."""
        medians = np.abs(np.median(parts, axis=0))
        return np.where(medians > 0, medians, 1.0) if self.scale_parts else np.ones_like(medians)

    def _renew_statistics(self, networks: Networks, images: ImageRows) -> None:
        seed = derived_seed(self.seed_, "batch statistics")
        rows = np.random.default_rng(seed).permutation(len(images))[: max(2, self.calibration_images)]
        batches = (images.read(batch).to(self.device) for batch in even_batches(rows, self.batch_size))
        with forked_rng(seed, self.device):
            renew_batch_statistics(networks, partial(self._normalise, networks), batches)

    def _images(self, X: Any) -> ImageRows:
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return ImageRows(X, self.image_size, self.channels_)

    def _scaled(self, parts: np.ndarray) -> np.ndarray:
        """Scores of raw parts: (n, len(part_names)) -> (n,), low = abnormal, in the range of the training images."""
        return -(self._combine(parts / self.part_scale_) - self.score_min_) / self.score_range_

    def _fitted_networks(self) -> Networks:
        with torch.device("meta"):  # no initial weights: they would be drawn from the process's random numbers
            networks = self._networks()
        weights = {name: torch.tensor(values, device=self.device) for name, values in self.weights_.items()}
        networks.load_state_dict(weights, assign=True)
        return networks.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    @property
    def _chunk(self) -> int:
        """The one size of the chunks that all clean scores are made in."""
        return max(1, _CHUNK_PIXELS // self.image_size**2)

    def _per_image(
        self, images: ImageRows, function: Callable[[Networks, Tensor], Tensor], dtype: type[np.floating] = np.float64
    ) -> np.ndarray:
        """Apply `function` to each image, by the fitted networks in eval mode."""
        judge = partial(function, self._fitted_networks())
        return judge_in_chunks(judge, images, self._chunk, self.device, dtype=dtype)
