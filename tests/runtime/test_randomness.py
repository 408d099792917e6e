from __future__ import annotations

import numpy as np
import pytest
import torch

from gbad.runtime.randomness import derived_seed, forked_rng, torch_generator


def test_derived_seeds_differ_by_purpose_and_are_stable() -> None:
    seeds = [
        derived_seed(0),
        derived_seed(0, 0),
        derived_seed(0, 0, 0),
        derived_seed(0, ""),
        derived_seed(0, "epoch"),
        derived_seed(0, "epoch", 0),
        derived_seed(0, "epoch", 1),
        derived_seed(1, "epoch", 1),
        derived_seed(0, "a", "bc"),
        derived_seed(0, "ab", "c"),
        derived_seed(0, "abc"),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in seeds)
    assert derived_seed(0, "epoch", 1) == seeds[6]


@pytest.mark.parametrize("keys", [(), ("weights",), ("epoch", 7)])
def test_derived_seeds_are_accepted_by_all_libraries(keys: tuple[int | str, ...]) -> None:
    seed = derived_seed(2**31, *keys)
    np.random.RandomState(seed)
    torch_generator(seed)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        derived_seed(-1)


def test_torch_generator_leaves_the_process_alone() -> None:
    before = torch.get_rng_state()
    first = torch.randn(4, generator=torch_generator(3))
    again = torch.randn(4, generator=torch_generator(3))
    other = torch.randn(4, generator=torch_generator(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_forked_rng_seeds_inside_and_restores_afterwards_even_after_an_error() -> None:
    before = torch.get_rng_state()
    with forked_rng(5):
        inside = torch.nn.functional.dropout(torch.ones(50))
    assert torch.equal(torch.get_rng_state(), before)

    def fail_inside() -> None:
        with forked_rng(5):
            assert torch.equal(torch.nn.functional.dropout(torch.ones(50)), inside)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_inside()
    assert torch.equal(torch.get_rng_state(), before)


def test_forked_rng_on_a_device_that_has_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's: its functions take no device, and there is no context for one."""
    state = {"now": torch.zeros(1)}
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: state["now"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda value: state.update(now=value))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: state.update(now=torch.full((1,), float(seed))))
    before, on_device = torch.get_rng_state(), state["now"]
    with forked_rng(5, "mps"):
        assert float(state["now"]) == 5
        inside = torch.rand(3)
    assert state["now"] is on_device
    assert torch.equal(torch.get_rng_state(), before)
    with forked_rng(5):
        assert torch.equal(torch.rand(3), inside)
