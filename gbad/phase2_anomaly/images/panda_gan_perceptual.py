"""Perceptual loss of PANDA-GAN: features of VGG-19 instead of pixels, learnt on ImageNet or on normal images.

Source: Barker, Breckon, "PANDA: Perceptually Aware Neural Detection of Anomalies" (end of Section III-A); the idea is
Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", 2016.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gbad.phase2_anomaly.images.panda_gan_networks import load_weights
from gbad.phase2_anomaly.images.rows import ImageRows
from gbad.phase2_anomaly.images.training import Schedule, train_networks
from gbad.phase2_anomaly.optimisers import move
from gbad.runtime.randomness import derived_seed, forked_rng

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue in [0, 1]


class PerceptualFeatures(nn.Module):
    """First 14 layers of VGG-19, up to the ReLU of its sixth convolution, f(x) of Section III-A.

    The paper takes "the 14th layer" and does not say what it counts. In torchvision's list of layers, the 14th is an
    activation, at a quarter of the image's side.

    Parameters
    ----------
    width : int
        Channels of the first convolution; 64 in VGG-19.

    Examples
    --------
    >>> PerceptualFeatures(width=4)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 16, 8, 8])
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        coming = 3
        for channels in (width, 2 * width, 4 * width):
            for _ in range(2):
                # Not in place: features of images are compared with features of their reconstruction.
                layers += [nn.Conv2d(coming, channels, 3, padding=1), nn.ReLU()]
                coming = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Features of images in [-1, 1], grey ones as three equal channels: (n, C, S, S) -> (n, F, S/4, S/4)."""
        mean = torch.tensor(_MEAN, dtype=x.dtype, device=x.device)[:, None, None]
        deviation = torch.tensor(_DEVIATION, dtype=x.dtype, device=x.device)[:, None, None]
        features: Tensor = self.features(((x + 1) / 2 - mean) / deviation)
        return features


class RotationNetwork(nn.Module):
    """VGG features and a head that predicts how far an image was turned: (n, C, S, S) -> logits (n, 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.perceptual = PerceptualFeatures(width)
        self.head = nn.Linear(4 * width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of 0, 90, 180 and 270 degrees."""
        logits: Tensor = self.head(self.perceptual(x).mean((2, 3)))
        return logits


def rotations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Turn images by 0, 90, 180 and 270 degrees: (n, C, S, S) -> images (4n, C, S, S) and quarter turns (4n,).

    Examples
    --------
    >>> turned, turns = rotations(torch.tensor([[[[1, 2], [3, 4]]]]))
    >>> turned[:, 0].tolist()
    [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    >>> turns.tolist()
    [0, 1, 2, 3]
    """
    turned = torch.cat([torch.rot90(x, turns, (2, 3)) for turns in range(4)])
    return turned, torch.arange(4, device=x.device).repeat_interleave(len(x))


def imagenet_features(path: str | Path) -> PerceptualFeatures:
    """General perceptual network, PL_g: VGG-19 with ImageNet weights from a file of torchvision's.

    Raises
    ------
    GbadError
        If the file is missing or damaged, or not of VGG-19.
    """
    features = PerceptualFeatures()
    load_weights(features, path)
    return features


def self_supervised_features(
    images: ImageRows,
    width: int,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    learning_rate: float = 1e-4,
    checkpoint: Path | None = None,
) -> PerceptualFeatures:
    """Problem-specific perceptual network, PL_ps: learns to predict how far normal images were turned.

    The paper names neither the self-supervised task nor its length. Rotation (Gidaris et al., 2018) needs no labels
    and no second network. SGD has learning rate 1e-4 and momentum 0.9 (Section IV-A).

    Parameters
    ----------
    images : ImageRows
        Normal images.
    width : int
        See :class:`PerceptualFeatures`.
    epochs, batch_size : int
        Passes over the images, and the largest batch; each image of it is shown four times.
    seed : int
        For initial weights and order.
    device : str
        Where to train.
    learning_rate : float
        Of SGD.
    checkpoint : Path, optional
        As in `train_networks`.

    Returns
    -------
    PerceptualFeatures
        On the CPU.
    """
    with forked_rng(derived_seed(seed, "perceptual weights")):
        network = RotationNetwork(width).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)

    def step(x: Tensor) -> dict[str, Tensor]:
        turned, turns = rotations(x)
        loss = cross_entropy(network(turned), turns)
        move(optimiser, loss)
        return {"rotation": loss.detach()}

    train_networks(
        network,
        {"rotation": optimiser},
        step,
        images.read,
        Schedule(len(images), epochs, batch_size, derived_seed(seed, "perceptual")),
        checkpoint=checkpoint,
        about={
            "width": width, "learning_rate": learning_rate, "digest of X": images.digest(),
            "image size": images.size, "channels": images.channels,  # the digest is of X as it was given
        },
    )  # fmt: skip
    return network.perceptual.cpu()
