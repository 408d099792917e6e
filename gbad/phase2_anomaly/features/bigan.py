"""Bidirectional GAN on feature vectors: GBAD's anomaly detector, as a scikit-learn outlier detector.

Equation numbers refer to the GBAD letter (Dumagpi et al., IEICE Trans. Inf. & Syst., 2020). Where the letter is silent,
the recipe follows EGBAD (Zenati et al., "Efficient GAN-Based Anomaly Detection", 2018) for tabular data.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted, validate_data

from gbad.phase2_anomaly.contract import AnomalyDetector
from gbad.phase2_anomaly.epochs import Callback
from gbad.phase2_anomaly.features.bigan_networks import BiGAN, add_spectral_norm, remove_spectral_norm
from gbad.phase2_anomaly.features.bigan_training import TrainingSettings, train_bigan
from gbad.phase2_anomaly.learnt import set_learnt_arrays
from gbad.runtime.randomness import derived_seed, forked_rng

_CHUNK_ROWS = 2048  # bounds the float64 memory of scoring: 2048 x 1029 features take 17 MB


class BiGANDetector(AnomalyDetector, BaseEstimator):
    """Outlier detector that learns threat-free feature rows with a bidirectional GAN (GBAD, phase 2).

    E encodes a row x, G decodes codes, D judges pairs: (x, E(x)) against (G(z), z) with z from a standard normal
    distribution. What G cannot reproduce is abnormal. Rows are standardised with the mean and standard deviation of
    the training rows and cut at ``clip`` standard deviations; the weights used for scoring are a moving average over
    the training steps. Training is in float32, on any device; scoring is in float64 on the CPU, in chunks, so that a
    row's score depends neither on the rows around it nor on the device it was trained on.

    Parameters
    ----------
    latent_size : int
        Length of the code z.
    hidden_sizes : tuple of int
        Widths of the encoder's hidden layers; the generator has them in reverse.
    discriminator_sizes : tuple of three int
        Widths of the discriminator's branch for x, its branch for z, and the layer that joins them, which is f_D.
    dropout : float
        Dropout rate in the discriminator, in [0, 1).
    negative_slope : float
        Slope of LeakyReLU below zero.
    spectral_norm : bool
        Bound the discriminator's layers by their spectral norm: without it the discriminator of long rows wins in long
        training, and both losses get worse.
    reconstruction_weight : float
        Weight of Eq. (3), taken per feature, beside the adversarial loss; the letter prints none.
    reconstruction_gradient : {"G", "GE"}
        Which networks Eq. (3) trains: the generator only (the letter), or the encoder too.
    learning_rate, beta1, beta2 : float
        Of Adam, for all networks.
    batch_size : int
        Largest number of rows in a step; an epoch is cut into equal batches, so no row is left out.
    epochs : int
        Passes over the training rows.
    min_steps : int
        Few rows make short epochs: passes are added until training has this many steps, a step being one batch.
    ema_decay : float
        Decay per step of the averaged weights, in [0, 1).
    clip : float
        Largest standardised value, in standard deviations; larger ones are cut, so a column that hardly varies in
        training cannot drown all others.
    feature_matching_weight : float
        Share w of Eq. (4) in the score, in [0, 1]; EGBAD uses 0.1.
    contamination : float
        Share of the training rows that ``predict`` calls abnormal, in (0, 0.5].
    device : str
        Where to train: ``"cpu"``, ``"cuda"``, ...
    random_state : int, RandomState or None
        Equal numbers give equal detectors. The process's own random numbers are left alone.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (D,), float64
        Statistics of the training rows.
    weights_ : dict of str to ndarray, float32
        Averaged weights of the three networks.
    loss_scale_ : ndarray of shape (2,), float64
        Median of both losses over the training rows.
    offset_ : float
        Threshold on ``score_samples``.
    n_epochs_, n_steps_ : int
        Length of the training.
    history_ : dict of str to ndarray of shape (n_epochs_,), float64
        Mean of each training loss in each epoch.
    n_features_in_ : int
        D.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(64, 5)) * [3, 1, 1, 0.1, 1]
    >>> small = dict(latent_size=2, hidden_sizes=(8,), discriminator_sizes=(8, 8, 8), min_steps=50)
    >>> detector = BiGANDetector(**small).fit(rows)
    >>> detector.losses(rows).shape
    (64, 2)
    >>> detector.predict(rows[:1] + 100)
    array([-1])
    """

    loss_names: ClassVar[tuple[str, ...]] = ("reconstruction_loss", "feature_matching_loss")

    def __init__(
        self,
        *,
        latent_size: int = 64,
        hidden_sizes: tuple[int, ...] = (512, 256),
        discriminator_sizes: tuple[int, int, int] = (512, 128, 256),
        dropout: float = 0.2,
        negative_slope: float = 0.1,
        spectral_norm: bool = True,
        reconstruction_weight: float = 10.0,
        reconstruction_gradient: str = "G",
        learning_rate: float = 3e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        batch_size: int = 256,
        epochs: int = 20,
        min_steps: int = 1000,
        ema_decay: float = 0.999,
        clip: float = 10.0,
        feature_matching_weight: float = 0.1,
        contamination: float = 0.1,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.latent_size = latent_size
        self.hidden_sizes = hidden_sizes
        self.discriminator_sizes = discriminator_sizes
        self.dropout = dropout
        self.negative_slope = negative_slope
        self.spectral_norm = spectral_norm
        self.reconstruction_weight = reconstruction_weight
        self.reconstruction_gradient = reconstruction_gradient
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.batch_size = batch_size
        self.epochs = epochs
        self.min_steps = min_steps
        self.ema_decay = ema_decay
        self.clip = clip
        self.feature_matching_weight = feature_matching_weight
        self.contamination = contamination
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, callback: Callback | None = None
    ) -> Self:
        """Train on rows without threats.

        Parameters
        ----------
        X : array-like of shape (n, D), float32 or float64
            Feature rows; a memory-mapped array is read batch by batch and never copied whole.
        y : None
            Ignored; here for scikit-learn.
        checkpoint : path, optional
            File that holds the state of the training, rewritten now and then. If it exists, training goes on from it
            and ends in the same weights, bit for bit, as training without a break.
        callback : callable, optional
            Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a finite two-dimensional array of at least two rows, or a parameter is out of its range.
        RunError
            If `checkpoint` belongs to other rows or other parameters.
        GbadError
            If the training diverges, or the checkpoint cannot be written.
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        self._check_parameters()
        scaler = StandardScaler()
        for rows in _chunks(X):
            scaler.partial_fit(rows.astype(np.float64))
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        n_batches = math.ceil(len(X) / self.batch_size)
        self.n_epochs_ = max(self.epochs, math.ceil(self.min_steps / n_batches))
        self.n_steps_ = self.n_epochs_ * n_batches
        self._train(X, n_batches, checkpoint, callback)
        losses = self._losses(X)
        self.loss_scale_ = np.maximum(np.median(losses, axis=0), np.finfo(np.float64).tiny)
        self.offset_ = self._offset_of(self._score(losses), self.contamination)
        return self

    def losses(self, X: Any) -> np.ndarray:
        """Both anomaly criteria of the letter, on standardised rows.

        Parameters
        ----------
        X : array-like of shape (n, D)
            Feature rows.

        Returns
        -------
        ndarray of shape (n, 2), float64
            Reconstruction loss (Eq. 3, L1 norm) and feature-matching loss (Eq. 4, L2 norm); 0 or larger, the higher,
            the more abnormal.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If `X` holds NaN or infinity, or has another number of columns than in ``fit``.
        """
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        return self._losses(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))

    def score_samples(self, X: Any) -> np.ndarray:
        """Score rows from their two losses, each divided by its median over the training rows.

        Parameters
        ----------
        X : array-like of shape (n, D)
            Feature rows.

        Returns
        -------
        ndarray of shape (n,), float64
            ``-((1 - w) reconstruction + w feature matching)``, w being ``feature_matching_weight`` (EGBAD's score);
            the lower, the more abnormal; -1 for a typical training row, at most 0.
        """
        return self._score(self.losses(X))

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Give all that ``fit`` learnt as named NumPy arrays, for :meth:`from_arrays`."""
        check_is_fitted(self, "offset_")  # the last thing that fit learns
        names = ("mean_", "scale_", "loss_scale_", "offset_", "n_epochs_", "n_steps_")
        arrays = {name: np.asarray(getattr(self, name)) for name in names}
        arrays |= {f"history_.{name}": values for name, values in self.history_.items()}
        return arrays | {f"weights_.{name}": values for name, values in self.weights_.items()}

    @classmethod
    def from_arrays(cls, params: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Rebuild a fitted detector from ``get_params()`` and :meth:`get_arrays`; its scores are equal bit for bit."""
        detector = cls(**params)
        set_learnt_arrays(detector, arrays)
        detector.n_features_in_ = len(detector.mean_)
        return detector

    def __getstate__(self) -> dict[str, Any]:
        # A torch.device would tie the pickle to PyTorch; everything else is plain already.
        return super().__getstate__() | {"device": str(self.device)}

    def _check_parameters(self) -> None:
        for name in ("latent_size", "batch_size", "epochs"):
            check_scalar(getattr(self, name), name, numbers.Integral, min_val=1)
        check_scalar(self.min_steps, "min_steps", numbers.Integral, min_val=0)
        for name in ("learning_rate", "clip"):
            check_scalar(getattr(self, name), name, numbers.Real, min_val=0.0, include_boundaries="neither")
        check_scalar(self.reconstruction_weight, "reconstruction_weight", numbers.Real, min_val=0.0)
        check_scalar(self.feature_matching_weight, "feature_matching_weight", numbers.Real, min_val=0.0, max_val=1.0)
        for name in ("dropout", "negative_slope", "beta1", "beta2", "ema_decay"):
            check_scalar(getattr(self, name), name, numbers.Real, min_val=0.0, max_val=1.0, include_boundaries="left")
        check_scalar(
            self.contamination, "contamination", numbers.Real, min_val=0.0, max_val=0.5, include_boundaries="right"
        )
        if self.reconstruction_gradient not in ("G", "GE"):
            raise ValueError(f"reconstruction_gradient must be 'G' or 'GE', got {self.reconstruction_gradient!r}.")
        if len(self.discriminator_sizes) != 3 or not self.hidden_sizes:
            raise ValueError(
                "hidden_sizes needs at least one width and discriminator_sizes exactly three, "
                f"got {self.hidden_sizes!r} and {self.discriminator_sizes!r}."
            )

    def _networks(self, n_features: int) -> BiGAN:
        return BiGAN(
            n_features,
            self.latent_size,
            self.hidden_sizes,
            self.discriminator_sizes,
            dropout=self.dropout,
            slope=self.negative_slope,
        )

    def _train(self, X: np.ndarray, n_batches: int, checkpoint: str | Path | None, callback: Callback | None) -> None:
        settings = TrainingSettings(
            n_rows=len(X),
            n_epochs=self.n_epochs_,
            n_batches=n_batches,
            learning_rate=self.learning_rate,
            betas=(self.beta1, self.beta2),
            reconstruction_weight=self.reconstruction_weight,
            reconstruction_gradient=self.reconstruction_gradient,
            ema_decay=self.ema_decay,
            seed=int(check_random_state(self.random_state).randint(2**31)),
        )
        with forked_rng(derived_seed(settings.seed, "weights")):
            networks = self._networks(X.shape[1])
            if self.spectral_norm:
                add_spectral_norm(networks)
        average, history = train_bigan(
            networks.to(self.device),
            lambda rows: torch.from_numpy(self._standardise(X[rows]).astype(np.float32)),
            settings,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            fingerprint=None if checkpoint is None else self._fingerprint(X),
            callback=callback,
        )
        remove_spectral_norm(average)
        self.weights_ = {name: values.cpu().numpy() for name, values in average.state_dict().items()}
        self.history_ = {name: np.array([losses[name] for losses in history]) for name in history[0]}

    def _fingerprint(self, X: np.ndarray) -> dict[str, Any]:
        """Describe what decides the weights besides the settings of the training: networks and rows."""
        digest = hashlib.sha256()
        for rows in _chunks(X):
            digest.update(np.ascontiguousarray(rows).data)
        names = (
            "latent_size",
            "hidden_sizes",
            "discriminator_sizes",
            "dropout",
            "negative_slope",
            "spectral_norm",
            "clip",
        )
        of_rows = {"X.shape": X.shape, "X.dtype": str(X.dtype), "sha256 of X": digest.hexdigest()}
        return {name: getattr(self, name) for name in names} | of_rows

    def _standardise(self, rows: np.ndarray) -> np.ndarray:
        """Standardise and cut, in float64: (n, D) -> (n, D)."""
        return np.clip((rows.astype(np.float64) - self.mean_) / self.scale_, -self.clip, self.clip)

    def _losses(self, X: np.ndarray) -> np.ndarray:
        with torch.device("meta"):  # no initial weights: they would be drawn from the process's random numbers
            networks = self._networks(X.shape[1])
        weights = {name: torch.from_numpy(values.astype(np.float64)) for name, values in self.weights_.items()}
        networks.load_state_dict(weights, assign=True)
        networks.eval()
        with torch.inference_mode():
            return np.concatenate([networks.losses(torch.from_numpy(self._standardise(rows))) for rows in _chunks(X)])

    def _score(self, losses: np.ndarray) -> np.ndarray:
        reconstruction, matching = (losses / self.loss_scale_).T
        return -((1.0 - self.feature_matching_weight) * reconstruction + self.feature_matching_weight * matching)


def _chunks(X: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(X), _CHUNK_ROWS):
        yield X[start : start + _CHUNK_ROWS]
