"""The three networks of a bidirectional GAN on feature vectors: encoder, generator, discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from gbad.phase2_anomaly.losses import feature_matching_loss, reconstruction_loss


class Discriminator(nn.Module):
    """Judge pairs of features and codes: one branch for each, a layer that joins them, then one logit.

    Parameters
    ----------
    n_features, latent_size : int
        Lengths of x and z.
    sizes : sequence of three int
        Widths of the branch for x, the branch for z and the joint layer.
    dropout, slope : float
        Dropout rate, and slope of LeakyReLU below zero.
    """

    def __init__(self, n_features: int, latent_size: int, sizes: Sequence[int], dropout: float, slope: float) -> None:
        super().__init__()
        of_x, of_z, joint = sizes
        self.x_branch = nn.Sequential(*_layers([n_features, of_x], slope, dropout))
        self.z_branch = nn.Sequential(*_layers([latent_size, of_z], slope, dropout))
        self.joint = nn.Sequential(*_layers([of_x + of_z, joint], slope, dropout))
        self.logit = nn.Linear(joint, 1)

    def features(self, x: Tensor, z: Tensor) -> Tensor:
        """Penultimate layer f_D(x, z) of Eq. (4): (n, D) and (n, Z) -> (n, F)."""
        joint: Tensor = self.joint(torch.cat([self.x_branch(x), self.z_branch(z)], dim=1))
        return joint

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Logit of "this pair is (x, E(x)), not (G(z), z)": (n, D) and (n, Z) -> (n,)."""
        logits: Tensor = self.logit(self.features(x, z))
        return logits.squeeze(1)


class BiGAN(nn.Module):
    """Encoder E: x -> z, generator G: z -> x, and discriminator D: (x, z) -> logit; Xavier weights, biases 0.

    Parameters
    ----------
    n_features, latent_size : int
        Lengths of x and z.
    hidden_sizes : sequence of int
        Widths of the encoder's hidden layers; the generator has them in reverse.
    discriminator_sizes : sequence of three int
        See :class:`Discriminator`.
    dropout, slope : float
        See :class:`Discriminator`; encoder and generator have no dropout.

    Examples
    --------
    >>> networks = BiGAN(10, latent_size=2, hidden_sizes=(8,), discriminator_sizes=(8, 4, 6))
    >>> networks.encoder(torch.zeros(3, 10)).shape, networks.losses(torch.zeros(3, 10)).shape
    (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(
        self,
        n_features: int,
        latent_size: int,
        hidden_sizes: Sequence[int],
        discriminator_sizes: Sequence[int],
        dropout: float = 0.2,
        slope: float = 0.1,
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        inwards = [n_features, *hidden_sizes]
        outwards = [latent_size, *reversed(hidden_sizes)]
        self.encoder = nn.Sequential(*_layers(inwards, slope), nn.Linear(inwards[-1], latent_size))
        self.generator = nn.Sequential(*_layers(outwards, slope), nn.Linear(outwards[-1], n_features))
        self.discriminator = Discriminator(n_features, latent_size, discriminator_sizes, dropout, slope)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def losses(self, x: Tensor) -> Tensor:
        """Both anomaly criteria, Eq. (3) and Eq. (4), of standardised rows: (n, D) -> (n, 2)."""
        code = self.encoder(x)
        reconstructed = self.generator(code)
        features = self.discriminator.features(x, code)
        reconstructed_features = self.discriminator.features(reconstructed, code)
        return torch.stack(
            [reconstruction_loss(x, reconstructed), feature_matching_loss(features, reconstructed_features)], dim=1
        )


def add_spectral_norm(networks: BiGAN) -> None:
    """Bound every layer of the discriminator by its spectral norm (Miyato et al., 2018)."""
    for layer in list(networks.discriminator.modules()):
        if isinstance(layer, nn.Linear):
            parametrizations.spectral_norm(layer)


def remove_spectral_norm(networks: BiGAN) -> None:
    """Fold the spectral norm, if there is one, into plain weights."""
    for layer in list(networks.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")


def _layers(sizes: Sequence[int], slope: float, dropout: float = 0.0) -> list[nn.Module]:
    """Linear layers from size to size, each followed by LeakyReLU and, if asked for, dropout."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(slope)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers
