"""Bidirectional GAN on feature vectors: GBAD's anomaly detector, as a scikit-learn outlier detector.

Equation numbers refer to GBAD (Dumagpi et al., IEICE Trans. Inf. & Syst., 2020). Where the paper is silent, the recipe
follows EGBAD (Zenati et al., "Efficient GAN-Based Anomaly Detection", 2018) for tabular data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils import check_random_state

from gbad.phase2_anomaly.contract import Array, Floats
from gbad.phase2_anomaly.epochs import Callback
from gbad.phase2_anomaly.features.bigan_networks import BiGAN, add_spectral_norm, remove_spectral_norm
from gbad.phase2_anomaly.features.bigan_training import TrainingSettings, train_bigan
from gbad.phase2_anomaly.features.early_stopping import Stopping, monitored_number
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector, Judge, Rows
from gbad.phase2_anomaly.parameters import check_real, check_whole
from gbad.runtime.randomness import derived_seed, forked_rng
from gbad.storage.digests import digest


@dataclass(kw_only=True, eq=False, repr=False)
class BiGANDetector(FeatureDetector):
    """Outlier detector that learns threat-free feature rows with a bidirectional GAN (GBAD, phase 2).

    E encodes a row x, G decodes codes, D judges pairs: (x, E(x)) against (G(z), z) with z from a standard normal
    distribution. What G cannot reproduce is abnormal. Rows are standardised with the mean and standard deviation of
    the training rows and cut at ``clip`` standard deviations. The weights used for scoring are a moving average over
    the training steps. Training is in float32, on any device; scoring is in float64 on the CPU, in chunks, so that a
    row's score depends neither on the rows around it nor on the device of the training.

    ``losses`` gives two columns: the reconstruction loss (Eq. 3, L1 norm) and the feature-matching loss (Eq. 4, L2
    norm) of standardised rows. ``score_samples`` gives ``-((1 - w) reconstruction + w feature matching)`` (EGBAD's
    score), where w is ``feature_matching_weight`` and each loss is divided by its median over the training rows: -1
    for a typical training row, at most 0.

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
        Bound the discriminator's layers by their spectral norm. Without it, the discriminator of long rows wins in
        long training, and both losses get worse.
    reconstruction_weight : float
        Weight of Eq. (3), taken per feature, beside the adversarial loss; the paper prints none.
    reconstruction_gradient : {"G", "GE"}
        Which networks Eq. (3) trains: the generator only (the paper), or the encoder too.
    learning_rate, beta1, beta2 : float
        Of Adam, for all networks.
    batch_size : int
        Largest number of rows in a step. An epoch is cut into equal batches, so no row is left out.
    epochs : int
        Passes over the training rows.
    min_steps : int
        Few rows make short epochs: epochs are added until training has this many steps. A step is one batch.
    early_stopping : bool
        End the training before that, once rows that it does not learn from are reproduced no better: the share
        `monitored_fraction` of the training rows, drawn at random. Fewer than 20 rows are trained on to the end.
    monitored_fraction : float
        Share of the training rows that decide, and are not learnt from, in (0, 0.5]: 10 rows at least, 2,000 at most.
    patience : int
        Steps without a gain after which the training ends, rounded up to whole epochs.
    tolerance : float
        Smallest gain that counts, as a share of the mean reconstruction loss of the monitored rows, in [0, 1).
    ema_decay : float
        Decay per step of the averaged weights, in [0, 1).
    clip : float
        Largest standardised value, in standard deviations. Larger ones are cut, so a column that hardly varies in
        training cannot outweigh all others.
    feature_matching_weight : float
        Share w of Eq. (4) in the score, in [0, 1]; EGBAD uses 0.1.
    device : str
        Where to train: ``"cpu"``, ``"cuda"``, ...
    random_state : int, RandomState or None
        Equal numbers give equal detectors. The process's own random numbers are left alone.
    contamination : float
        See `FeatureDetector`.

    Attributes
    ----------
    weights_ : dict of str to ndarray, float32
        Averaged weights of the three networks.
    loss_scale_ : ndarray of shape (2,), float64
        Median of both losses over the training rows.
    n_epochs_, n_steps_ : int
        Length of the training.
    max_epochs_ : int
        What it would have been without `early_stopping`.
    history_ : dict of str to ndarray of shape (n_epochs_,), float64
        Mean of each training loss in each epoch, and with `early_stopping` the loss of the monitored rows after it.

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

    latent_size: int = 64
    hidden_sizes: tuple[int, ...] = (512, 256)
    discriminator_sizes: tuple[int, int, int] = (512, 128, 256)
    dropout: float = 0.2
    negative_slope: float = 0.1
    spectral_norm: bool = True
    reconstruction_weight: float = 10.0
    reconstruction_gradient: str = "G"
    learning_rate: float = 3e-4
    beta1: float = 0.5
    beta2: float = 0.999
    batch_size: int = 256
    epochs: int = 20
    min_steps: int = 1000
    early_stopping: bool = False
    monitored_fraction: float = 0.1
    patience: int = 200
    tolerance: float = 0.01
    ema_decay: float = 0.999
    clip: float = 10.0
    feature_matching_weight: float = 0.1
    device: str = "cpu"
    random_state: int | np.random.RandomState | None = 0

    loss_names = ("reconstruction_loss", "feature_matching_loss")
    chunk_rows = 2048

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, callback: Callback | None = None
    ) -> Self:
        """Train on threat-free rows.

        Parameters
        ----------
        X : array-like of shape (n, D), float32 or float64
            Feature rows, two or more. A memory-mapped array is read batch by batch and never copied whole.
        y : None
            Ignored; here for scikit-learn.
        checkpoint : path, optional
            File for the state of the training, rewritten now and then. If it exists, training continues from it and
            ends with the same weights, bit for bit, as training without a break.
        callback : callable, optional
            Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `FeatureDetector.fit`.
        RunError
            If `checkpoint` belongs to other rows or other parameters.
        GbadError
            If the training diverges, or the checkpoint cannot be written.
        """
        X = self._prepared(X)
        self._learn(X, None if checkpoint is None else Path(checkpoint), callback)
        losses = self._losses(X)
        self.loss_scale_ = np.maximum(np.median(losses, axis=0), np.finfo(np.float64).tiny)
        self.offset_ = self._offset_of(self._score(losses))
        return self

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_whole(self, ("latent_size", "batch_size", "epochs", "patience"))
        check_whole(self, ("min_steps",), least=0)
        check_real(self, ("learning_rate", "clip"), 0.0, ends="neither")
        check_real(self, ("reconstruction_weight",), 0.0)
        check_real(self, ("feature_matching_weight",), 0.0, 1.0)
        check_real(self, ("monitored_fraction",), 0.0, 0.5, "right")
        check_real(self, ("tolerance",), 0.0, 1.0, "left")
        check_real(self, ("dropout", "negative_slope", "beta1", "beta2", "ema_decay"), 0.0, 1.0, "left")
        if self.reconstruction_gradient not in ("G", "GE"):
            raise ValueError(f"reconstruction_gradient must be 'G' or 'GE', got {self.reconstruction_gradient!r}.")
        if len(self.discriminator_sizes) != 3 or not self.hidden_sizes:
            raise ValueError(
                "hidden_sizes needs at least one width and discriminator_sizes exactly three, "
                f"got {self.hidden_sizes!r} and {self.discriminator_sizes!r}."
            )

    def _learn(self, X: Rows, checkpoint: Path | None = None, callback: Callback | None = None) -> None:
        monitored = monitored_number(len(X), self.monitored_fraction) if self.early_stopping else 0
        n_batches = math.ceil((len(X) - monitored) / self.batch_size)
        self.max_epochs_ = max(self.epochs, math.ceil(self.min_steps / n_batches))
        settings = TrainingSettings(
            n_rows=len(X),
            n_epochs=self.max_epochs_,
            n_batches=n_batches,
            learning_rate=self.learning_rate,
            betas=(self.beta1, self.beta2),
            reconstruction_weight=self.reconstruction_weight,
            reconstruction_gradient=self.reconstruction_gradient,
            ema_decay=self.ema_decay,
            seed=int(check_random_state(self.random_state).randint(2**31)),
            stopping=Stopping(monitored, math.ceil(self.patience / n_batches), self.tolerance) if monitored else None,
        )
        with forked_rng(derived_seed(settings.seed, "weights")):
            networks = self._networks(X.shape[1])
            if self.spectral_norm:
                add_spectral_norm(networks)
        average, history = train_bigan(
            networks.to(self.device),
            lambda rows: torch.from_numpy(self._standardised(X[rows]).astype(np.float32)),
            settings,
            checkpoint=checkpoint,
            about=None if checkpoint is None else self._about(X),
            callback=callback,
        )
        remove_spectral_norm(average)
        self.n_epochs_, self.n_steps_ = len(history), len(history) * n_batches
        self.weights_: dict[str, Array] = {name: values.cpu().numpy() for name, values in average.state_dict().items()}
        self.history_ = {name: np.array([losses[name] for losses in history]) for name in history[0]}

    def _networks(self, n_features: int) -> BiGAN:
        return BiGAN(
            n_features,
            self.latent_size,
            self.hidden_sizes,
            self.discriminator_sizes,
            dropout=self.dropout,
            slope=self.negative_slope,
        )

    def _about(self, X: Rows) -> dict[str, Any]:
        """What decides the weights besides the settings of the training: networks and rows."""
        names = ("latent_size", "hidden_sizes", "discriminator_sizes", "dropout", "negative_slope", "spectral_norm")
        return {name: getattr(self, name) for name in (*names, "clip")} | {"digest of X": digest(X)}

    def _standardised(self, rows: Rows) -> Floats:
        return np.clip(super()._standardised(rows), -self.clip, self.clip)

    def _judge(self) -> Judge:
        with torch.device("meta"):  # no initial weights: they would be drawn from the process's random numbers
            networks = self._networks(len(self.mean_))
        weights = {name: torch.from_numpy(values.astype(np.float64)) for name, values in self.weights_.items()}
        networks.load_state_dict(weights, assign=True)
        networks.requires_grad_(False).eval()
        return lambda Z: networks.losses(torch.from_numpy(Z)).numpy()

    def _score(self, losses: Floats) -> Floats:
        reconstruction, matching = (losses / self.loss_scale_).T
        weight = self.feature_matching_weight
        score: Floats = -((1.0 - weight) * reconstruction + weight * matching)
        return score
