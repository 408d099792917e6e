"""Train the networks of a bidirectional GAN: one step for D, one for E and G, averaged weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gbad.errors import GbadError
from gbad.phase2_anomaly.epochs import Callback, run_epochs
from gbad.phase2_anomaly.features.bigan_networks import BiGAN
from gbad.phase2_anomaly.losses import discriminator_loss, encoder_generator_loss, reconstruction_loss

_DIVERGED = 100.0  # mean |residual| of a standardised feature; always answering the mean gives at most 1


@dataclass(frozen=True)
class TrainingSettings:
    """All numbers that decide the trained weights, besides the rows and the first weights."""

    n_rows: int
    n_epochs: int
    """Passes over the rows."""
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


def train_bigan(
    networks: BiGAN,
    read_rows: Callable[[np.ndarray], Tensor],
    settings: TrainingSettings,
    *,
    checkpoint: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
    callback: Callback | None = None,
) -> tuple[BiGAN, list[dict[str, float]]]:
    """Train `networks` in place.

    Parameters
    ----------
    networks : BiGAN
        Freshly initialised, on the device to train on.
    read_rows : callable
        Gives the standardised rows of an index array (b,) as a float32 tensor (b, D) on the CPU.
    settings : TrainingSettings
        Length and strength of the training.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to now and then.
    fingerprint : dict, optional
        What the checkpoint has to agree with besides `settings`, such as a hash of the rows. JSON types.
    callback : callable, optional
        Called as ``callback(epoch, n_epochs, losses)`` after each epoch, with `epoch` from 1.

    Returns
    -------
    average : BiGAN
        The networks with weights averaged over the steps.
    history : list of dict
        One for each epoch: mean of ``discriminator``, ``encoder_generator`` and ``reconstruction`` loss.

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
    history = run_epochs(
        lambda epoch: _train_epoch(networks, average, optimisers, read_rows, settings, epoch),
        settings.n_epochs,
        seed=settings.seed,
        device=device,
        parts={"networks": networks, "average": average} | dict(zip(("of_d", "of_eg"), optimisers, strict=True)),
        check=lambda history: _check_losses(history, settings),
        checkpoint=checkpoint,
        identity=asdict(settings) | (fingerprint or {}),
        callback=callback,
    )
    return average, history


def make_optimisers(networks: BiGAN, settings: TrainingSettings) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Make the optimiser of D, and the one of E and G."""
    others = [*networks.encoder.parameters(), *networks.generator.parameters()]
    fused = others[0].device.type in ("cpu", "cuda")
    of_d = torch.optim.Adam(
        networks.discriminator.parameters(), lr=settings.learning_rate, betas=settings.betas, fused=fused
    )
    return of_d, torch.optim.Adam(others, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def discriminator_step(
    networks: BiGAN, optimiser: torch.optim.Optimizer, x: Tensor, code: Tensor, z: Tensor, generated: Tensor
) -> Tensor:
    """Move D alone, towards "real" for (x, E(x)) and "fake" for (G(z), z); give its loss."""
    # No layer mixes rows, so one pass over both kinds of pair equals two, and is faster.
    logits = networks.discriminator(torch.cat([x, generated.detach()]), torch.cat([code.detach(), z]))
    loss = discriminator_loss(*logits.chunk(2))
    optimiser.zero_grad()
    loss.backward(inputs=list(networks.discriminator.parameters()))
    optimiser.step()
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
    """Move E and G alone; give their adversarial loss and the mean |residual| of a feature."""
    logits = networks.discriminator(torch.cat([x, generated]), torch.cat([code, z]))
    adversarial = encoder_generator_loss(*logits.chunk(2))
    reconstructed = networks.generator(code.detach() if reconstruction_gradient == "G" else code)
    reconstruction = reconstruction_loss(x, reconstructed).mean() / x.shape[1]
    optimiser.zero_grad()
    moved = [*networks.encoder.parameters(), *networks.generator.parameters()]
    (adversarial + reconstruction_weight * reconstruction).backward(inputs=moved)
    optimiser.step()
    return adversarial.detach(), reconstruction.detach()


@torch.no_grad()
def update_average(average: nn.Module, networks: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the current ones; early steps forget fast, so the start leaves no trace."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    for averaged, current in zip(average.parameters(), networks.parameters(), strict=True):
        averaged.lerp_(current, weight)
    for held, state in zip(average.buffers(), networks.buffers(), strict=True):
        held.copy_(state)


def _train_epoch(
    networks: BiGAN,
    average: BiGAN,
    optimisers: tuple[torch.optim.Adam, torch.optim.Adam],
    read_rows: Callable[[np.ndarray], Tensor],
    settings: TrainingSettings,
    epoch: int,
) -> dict[str, float]:
    device = next(networks.parameters()).device
    total = torch.zeros(3, device=device)
    batches = np.array_split(torch.randperm(settings.n_rows).numpy(), settings.n_batches)
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
