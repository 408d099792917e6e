"""Networks of the dense-skip attention GAN: a nested U-Net as generator, and a discriminator with self-attention.

Source: Zaware, Bhayani, Bhowmik, Tiwari, Dhiraj, "Detecting Anomalies using Generative Adversarial Networks on Images"
(Section 3, Figs. 3 to 5). The nested skip pathways are those of UNet++ (Zhou et al., 2018); the attention is Bello,
Zoph, Vaswani, Shlens, Le, "Attention Augmented Convolutional Networks", ICCV 2019. Instead of batch normalisation,
every layer but the last of the generator is bounded by its spectral norm (Miyato et al., 2018), so no answer depends
on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class DenseSkipGenerator(nn.Module):
    """Generator of Fig. 3: x -> x̂ of the same shape, with nodes X^{i,j} (level i, step j) wired as in Eq. (1).

    The first column is the encoder, ``x^{i,0} = H(x^{i-1,0})``. Each other node joins all earlier nodes of its level
    with the enlarged node below, ``x^{i,j} = H([x^{i,0}, ..., x^{i,j-1}, U(x^{i+1,j-1})])``. The last node of each
    level is the decoder. (The paper prints ``x^{i,j}`` for the joined nodes; its source has ``x^{i,k}``.)

    H is a 3x3 convolution, then ReLU. The equation has no pooling, so the encoder's convolutions halve the size by
    their stride; U is bilinear. The paper states no widths: the default is that of UNet++. A 1x1 convolution and tanh
    make the image.

    Parameters
    ----------
    channels : int
        Of the image.
    widths : sequence of int
        Channels of the levels, from fine to coarse; the image's sides must be multiples of
        ``2 ** (len(widths) - 1)``.
    dense : bool
        False leaves out the nodes between encoder and decoder: a plain U-Net, whose skips join each level of the
        encoder with that of the decoder.

    Examples
    --------
    >>> DenseSkipGenerator(3, (4, 8, 8))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, channels: int = 3, widths: Sequence[int] = (32, 64, 128, 256, 512), dense: bool = True) -> None:
        super().__init__()
        self.depth, self.dense = len(widths), dense
        self.nodes = nn.ModuleDict()
        for i, width in enumerate(widths):
            self.nodes[f"{i},0"] = _node(widths[i - 1] if i else channels, width, stride=2 if i else 1)
            for j in self._steps(i):
                n_level = j if dense else 1
                self.nodes[f"{i},{j}"] = _node(n_level * width + widths[i + 1], width)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.image = nn.Sequential(nn.Conv2d(widths[0], channels, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct: (n, C, H, W) -> (n, C, H, W) in [-1, 1]."""
        outputs: dict[tuple[int, int], Tensor] = {}
        for i in range(self.depth):
            x = outputs[i, 0] = self.nodes[f"{i},0"](x)
        for j in range(1, self.depth):
            for i in range(self.depth - j):
                if j not in self._steps(i):
                    continue
                level = [outputs[i, k] for k in range(j if self.dense else 1)]
                below = self.enlarge(outputs[i + 1, j - 1])
                outputs[i, j] = self.nodes[f"{i},{j}"](torch.cat([*level, below], dim=1))
        image: Tensor = self.image(outputs[0, self.depth - 1])
        return image

    def _steps(self, level: int) -> range:
        """Steps j of the nodes behind the encoder's: all of Eq. (1), or the decoder's alone."""
        last = self.depth - 1 - level
        return range(1 if self.dense else max(1, last), last + 1)


class SelfAttention2d(nn.Module):
    """Multi-head self-attention over the positions of a map, with relative positions (Bello et al., Section 3).

    Each head h weights the values of all positions with ``softmax((Q_h K_h^T + S_H + S_W) / sqrt(d_k))``, where S_H and
    S_W depend on how far below and right of the query the key lies.

    Parameters
    ----------
    channels : int
        Of the input.
    size : int
        Height and width of the map; the table of relative positions needs it.
    heads : int
        N_h.
    key_size, value_size : int
        d_k and d_v, over all heads; multiples of `heads`.
    """

    def __init__(self, channels: int, size: int, heads: int, key_size: int, value_size: int) -> None:
        super().__init__()
        self.heads, self.sizes = heads, (key_size, key_size, value_size)
        self.project = nn.Conv2d(channels, sum(self.sizes), 1)
        self.mix = nn.Conv2d(value_size, value_size, 1)
        per_head = key_size // heads
        self.below = nn.Parameter(torch.randn(2 * size - 1, per_head) * per_head**-0.5)
        self.right = nn.Parameter(torch.randn(2 * size - 1, per_head) * per_head**-0.5)

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Attention maps: two of (n, heads, d, H, W) -> (n, heads, HW, HW); each row sums to 1."""
        n, heads, per_head, height, width = queries.shape
        queries = queries * per_head**-0.5
        position = torch.arange(height, device=queries.device)
        offset = position[None, :] - position[:, None] + height - 1  # (query, key), from 0
        content = torch.einsum("nhdyx,nhdvu->nhyxvu", queries, keys)
        vertical = torch.einsum("nhdyx,yvd->nhyxv", queries, self.below[offset])
        horizontal = torch.einsum("nhdyx,xud->nhyxu", queries, self.right[offset])
        logits = content + vertical[..., :, None] + horizontal[..., None, :]
        return logits.reshape(n, heads, height * width, height * width).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend: (n, C, H, W) -> (n, d_v, H, W)."""
        n, _, height, width = x.shape
        parts = (part.unflatten(1, (self.heads, -1)) for part in self.project(x).split(self.sizes, dim=1))
        queries, keys, values = parts  # each (n, heads, d, H, W)
        attended = torch.einsum("nhpq,nhdq->nhdp", self.weights(queries, keys), values.flatten(3))
        mixed: Tensor = self.mix(attended.reshape(n, -1, height, width))
        return mixed


class AugmentedConvolution(nn.Module):
    """3x3 convolution and self-attention side by side, concatenated (Fig. 5): (n, C, H, W) -> (n, F, H, W).

    Parameters
    ----------
    n_in, n_out : int
        C and F.
    size : int
        Height and width of the map.
    heads : int
        4 in the paper. d_v is a tenth of F and d_k a fifth (the choice of Bello et al.), rounded to multiples of
        `heads`; d_k is at least 20 for each head.
    """

    def __init__(self, n_in: int, n_out: int, size: int, heads: int = 4) -> None:
        super().__init__()
        value_size = heads * max(1, round(0.1 * n_out / heads))
        key_size = heads * max(20, round(0.2 * n_out / heads))
        self.attention = SelfAttention2d(n_in, size, heads, key_size, value_size)
        self.convolution = nn.Conv2d(n_in, n_out - value_size, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and attend."""
        return torch.cat([self.convolution(x), self.attention(x)], dim=1)


class AttentionDiscriminator(nn.Module):
    """Discriminator of Fig. 4: x -> latent representation f(x) and logit of "real".

    4x4 convolutions of stride 2 shrink the image to 4x4 positions. An attention-augmented convolution then sees all
    positions at once. The last convolution gives f(x), and a linear layer its logit.

    Parameters
    ----------
    channels, side : int
        Of the image; `side` is a power of two, 16 or larger.
    width : int
        Channels of the first convolution; each further one doubles them, up to eight times `width`.
    latent_size : int
        Length of f(x).
    heads : int
        Heads of the attention; fewer than the channels of the last 4x4 convolution of stride 2.
    attention : bool
        False puts a plain convolution in the place of the attention-augmented one.

    Examples
    --------
    >>> features, logits = AttentionDiscriminator(3, 32, width=8, latent_size=10)(torch.zeros(2, 3, 32, 32))
    >>> features.shape, logits.shape
    (torch.Size([2, 10]), torch.Size([2]))
    """

    def __init__(
        self, channels: int, side: int, width: int = 64, latent_size: int = 100, heads: int = 4, attention: bool = True
    ) -> None:
        super().__init__()
        steps = int(math.log2(side)) - 2
        widths = [channels, *(width * min(2**step, 8) for step in range(steps))]
        layers: list[nn.Module] = []
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        if attention:
            layers.append(AugmentedConvolution(widths[-1], widths[-1], 4, heads))
        else:
            layers.append(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        layers.append(nn.LeakyReLU(0.2))
        self.shrink = nn.Sequential(*layers)
        self.last = nn.Conv2d(widths[-1], latent_size, 4)
        self.logit = nn.Linear(latent_size, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Judge: (n, C, S, S) -> f(x) (n, Z) and logits (n,)."""
        features = self.last(self.shrink(x)).flatten(1)
        return features, self.logit(features).squeeze(1)


def _node(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    """H of Eq. (1)."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, padding=1), nn.ReLU(inplace=True))


def add_spectral_norm(generator: DenseSkipGenerator, discriminator: AttentionDiscriminator) -> None:
    """Bound every layer of both networks but the generator's last: there a gain of at most one would cost contrast."""
    for network in (generator, discriminator):
        for layer in list(network.modules()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer is not generator.image[0]:
                spectral_norm(layer)


def fold_spectral_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the state of networks under spectral norm into the state of the same networks without it.

    Scoring needs only the bounded weights. Building the bound costs far more than scoring, because PyTorch iterates
    for it at once, even before the weights are loaded.
    """
    original, left, right = (f".parametrizations.weight.{name}" for name in ("original", "0._u", "0._v"))
    plain = {name: values for name, values in state.items() if ".parametrizations." not in name}
    for name in state:
        if name.endswith(original):
            layer, weight = name.removesuffix(original), state[name]
            plain[f"{layer}.weight"] = weight / (state[layer + left] @ weight.flatten(1) @ state[layer + right])
    return plain
