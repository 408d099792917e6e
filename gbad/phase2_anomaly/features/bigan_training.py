"""Train the networks of a bidirectional GAN: a step for D, a step for E and G, averaged weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gbad.errors import GbadError
from gbad.phase2_anomaly.epochs import Callback, run_epochs
from gbad.phase2_anomaly.features.bigan_networks import BiGAN
from gbad.phase2_anomaly.features.early_stopping import Stopping, parts_of
from gbad.phase2_anomaly.losses import discriminator_loss, encoder_generator_loss, reconstruction_loss
from gbad.phase2_anomaly.optimisers import adam, move, update_average

ReadRows = Callable[[npt.NDArray[np.int64]], Tensor]
"""Gives the standardised rows of an index array (b,) as a float32 tensor (b, D) on the CPU."""

_DIVERGED = 100.0  # mean |residual| of a standardised feature; the training mean as the only answer gives at most 1


@dataclass(frozen=True)
class TrainingSettings:
    """All numbers that decide the trained weights, apart from the rows and the initial weights."""

    n_rows: int
    """Rows that are given; those that `stopping` monitors are not learnt from."""
    n_epochs: int
    """Passes over the rows, at most."""
    n_batches: int
    """Batches, and so steps, in an epoch; equal in size up to one row."""
    learning_rate: float
    betas: tuple[float, float]
    """Adam's decay rates for the mean and the mean square of the gradient."""
    reconstruction_weight: float
    """Weight of Eq. (3), per feature."""
    reconstruction_gradient: str
    """``"G"``: Eq. (3) trains the generator only; ``"GE"``: the encoder too."""
    ema_decay: float
    """Decay per step of the averaged weights."""
    seed: int
    stopping: Stopping | None = None
    """When to stop early; None: never."""


def train_bigan(
    networks: BiGAN,
    read_rows: ReadRows,
    settings: TrainingSettings,
    *,
    checkpoint: Path | None = None,
    about: dict[str, Any] | None = None,
    callback: Callback | None = None,
) -> tuple[BiGAN, list[dict[str, float]]]:
    """Train `networks` in place.

    Parameters
    ----------
    networks : BiGAN
        Freshly initialised, on the device to train on.
    read_rows : ReadRows
    settings : TrainingSettings
        Length and strength of the training.
    checkpoint : Path, optional
        File to continue from if it exists, and to write to now and then.
    about : dict, optional
        What the checkpoint must agree with besides `settings`, such as a digest of the rows.
    callback : Callback, optional
        Told the losses of each epoch.

    Returns
    -------
    average : BiGAN
        The networks with weights averaged over the steps.
    history : list of dict
        One for each epoch: mean of ``discriminator``, ``encoder_generator`` and ``reconstruction`` loss; with a
        `Stopping` also the ``monitored`` loss after it, see `monitored_loss`.

    Raises
    ------
    GbadError
        If the training diverges, or the checkpoint cannot be written.
    RunError
        If `checkpoint` is damaged or belongs to another training.
    """
    device = next(networks.parameters()).device
    average = copy.deepcopy(networks).requires_grad_(False)
    optimisers = make_optimisers(networks, settings)
    networks.train()
    stopping = settings.stopping
    parts = parts_of(settings.n_rows, 0 if stopping is None else stopping.monitored, settings.seed)

    def train_epoch(epoch: int) -> dict[str, float]:
        losses = _train_epoch(networks, average, optimisers, read_rows, parts.learnt, settings, epoch)
        if stopping is None:
            return losses
        return losses | {"monitored": monitored_loss(average, read_rows(parts.monitored).to(device))}

    history = run_epochs(
        train_epoch,
        settings.n_epochs,
        seed=settings.seed,
        device=device,
        parts={"networks": networks, "average": average} | dict(zip(("of_d", "of_eg"), optimisers, strict=True)),
        check=lambda history: _check_losses(history, settings),
        enough=lambda history: stopping is not None and stopping.is_enough([one["monitored"] for one in history]),
        checkpoint=checkpoint,
        about=asdict(settings) | (about or {}),
        callback=callback,
    )
    return average, history


def make_optimisers(networks: BiGAN, settings: TrainingSettings) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Make the optimiser of D, and the one of E and G."""
    rates = (settings.learning_rate, *settings.betas)
    return adam([networks.discriminator], *rates), adam([networks.encoder, networks.generator], *rates)


def discriminator_step(
    networks: BiGAN, optimiser: torch.optim.Optimizer, x: Tensor, code: Tensor, z: Tensor, generated: Tensor
) -> Tensor:
    """Move D alone, towards "real" for (x, E(x)) and "fake" for (G(z), z); return its loss."""
    # No layer mixes rows, so one pass over both sets of pairs equals two, and is faster.
    logits = networks.discriminator(torch.cat([x, generated.detach()]), torch.cat([code.detach(), z]))
    loss = discriminator_loss(*logits.chunk(2))
    move(optimiser, loss)
    return loss.detach()


def encoder_generator_step(
    networks: BiGAN,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    code: Tensor,
    z: Tensor,
    generated: Tensor,
    reconstruction_weight: float,
    reconstruction_gradient: str,
) -> tuple[Tensor, Tensor]:
    """Move E and G alone; return their adversarial loss and the mean |residual| of a feature."""
    logits = networks.discriminator(torch.cat([x, generated]), torch.cat([code, z]))
    adversarial = encoder_generator_loss(*logits.chunk(2))
    reconstructed = networks.generator(code.detach() if reconstruction_gradient == "G" else code)
    reconstruction = reconstruction_loss(x, reconstructed).mean() / x.shape[1]
    move(optimiser, adversarial + reconstruction_weight * reconstruction)
    return adversarial.detach(), reconstruction.detach()


@torch.no_grad()
def monitored_loss(average: BiGAN, x: Tensor) -> float:
    """Share of the rows that is not reproduced, by the averaged weights: 0 for all of it, 1 for the mean row only.

    Mean of Eq. (3) over the rows x (m, D), in units of what it would be if G gave the mean of the training rows, which
    is 0. Eq. (4) has no such unit: its scale moves with the discriminator.
    """
    average.eval()  # no dropout, and no step of the estimates of spectral norms
    loss = reconstruction_loss(x, average.generator(average.encoder(x))).mean()
    average.train()
    return float(loss / x.abs().sum(dim=1).mean().clamp_min(torch.finfo(x.dtype).tiny))


def _train_epoch(
    networks: BiGAN,
    average: BiGAN,
    optimisers: tuple[torch.optim.Adam, torch.optim.Adam],
    read_rows: ReadRows,
    learnt: npt.NDArray[np.int64],
    settings: TrainingSettings,
    epoch: int,
) -> dict[str, float]:
    device = next(networks.parameters()).device
    total = torch.zeros(3, device=device)
    batches = np.array_split(learnt[torch.randperm(len(learnt)).numpy()], settings.n_batches)
    for i, rows in enumerate(batches):
        x = read_rows(rows).to(device)  # (b, D)
        z = torch.randn(len(x), networks.latent_size, device=device)  # (b, Z)
        code, generated = networks.encoder(x), networks.generator(z)
        d_loss = discriminator_step(networks, optimisers[0], x, code, z, generated)
        eg_losses = encoder_generator_step(
            networks,
            optimisers[1],
            x,
            code,
            z,
            generated,
            settings.reconstruction_weight,
            settings.reconstruction_gradient,
        )
        update_average(average, networks, settings.ema_decay, epoch * settings.n_batches + i)
        total += torch.stack([d_loss, *eg_losses])
    names = ("discriminator", "encoder_generator", "reconstruction")
    return dict(zip(names, (total / len(batches)).tolist(), strict=True))


def _check_losses(history: list[dict[str, float]], settings: TrainingSettings) -> None:
    last = history[-1]
    if not np.isfinite(list(last.values())).all() or last["reconstruction"] > _DIVERGED:
        raise GbadError(
            f"The BiGAN's training diverged in epoch {len(history)} of {settings.n_epochs} (losses {last}). "
            f"Lower learning_rate (now {settings.learning_rate}) or set spectral_norm=True."
        )
