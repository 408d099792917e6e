"""Random numbers without global state: seeds derived from one seed, and generators of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(seed: int, *keys: int | str) -> int:
    """Derive an independent seed for one purpose. Parts of a run then do not share a stream of random numbers.

    Parameters
    ----------
    seed : int
        The seed of the run, 0 or larger.
    *keys : int or str
        The purpose, such as ``"epoch", 3``. Integers must be 0 or larger.

    Returns
    -------
    int
        In [0, 2**32), which NumPy, scikit-learn and PyTorch accept. Equal arguments give equal seeds on every machine.

    Examples
    --------
    >>> derived_seed(0, "epoch", 3) == derived_seed(0, "epoch", 3)
    True
    >>> derived_seed(0, "epoch", 3) == derived_seed(0, "epoch", 4)
    False
    """
    # The length in front tells "ab", "c" from "a", "bc"; the +1 tells an empty text from no text.
    spawn_key: list[int] = []
    for key in keys:
        if isinstance(key, str):
            spawn_key += [len(key) + 1, int.from_bytes(key.encode(), "big")]
        else:
            spawn_key += [0, int(key)]
    return int(np.random.SeedSequence(seed, spawn_key=tuple(spawn_key)).generate_state(1)[0])


def torch_generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """Make a PyTorch generator of its own, seeded with `seed`, on `device`.

    Examples
    --------
    >>> bool((torch.rand(3, generator=torch_generator(7)) == torch.rand(3, generator=torch_generator(7))).all())
    True
    """
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def forked_rng(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Seed PyTorch's default generators inside the block, and restore their state afterwards.

    For functions that take no generator: dropout and the initialisation of layers.

    Parameters
    ----------
    seed : int
        Seed of the block, 0 or larger.
    device : str or torch.device
        The device whose generator is seeded. The CPU's generator is always seeded too.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with forked_rng(0):
    ...     _ = torch.rand(5)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """
    device = torch.device(device)
    if device.type == "mps":  # one device only, so its functions take no device
        before = torch.mps.get_rng_state()
        try:
            with forked_rng(seed):
                torch.mps.manual_seed(seed)
                yield
        finally:
            torch.mps.set_rng_state(before)
        return
    accelerators = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(accelerators, device_type="cuda" if device.type == "cpu" else device.type):
        torch.default_generator.manual_seed(seed)
        if accelerators:
            with torch.get_device_module(device).device(device):
                torch.get_device_module(device).manual_seed(seed)
        yield
