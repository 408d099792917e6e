from __future__ import annotations

import torch
from torch import nn

from gbad.phase2_anomaly.optimisers import adam, move, move_all, update_average


def test_a_move_touches_no_gradient_but_its_own() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    before = second.weight.detach().clone()
    loss = second(first(torch.ones(3, 2))).mean()
    move(torch.optim.SGD(first.parameters(), lr=0.1), loss, keep_graph=True)
    assert second.weight.grad is None
    assert torch.equal(second.weight, before)
    move(torch.optim.SGD(second.parameters(), lr=0.1), loss)
    assert not torch.equal(second.weight, before)


def test_several_losses_of_one_forward_pass_move_their_own_networks() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    answer = second(first(torch.ones(3, 2)))
    expected = torch.autograd.grad(answer.mean(), [first.weight, second.weight], retain_graph=True)
    before = [first.weight.detach().clone(), second.weight.detach().clone()]
    losses = {"first": answer.mean(), "second": -answer.mean()}
    sgd = {"first": torch.optim.SGD(first.parameters(), lr=0.1), "second": torch.optim.SGD(second.parameters(), lr=0.1)}
    detached = move_all(sgd, losses)
    assert torch.allclose(first.weight, before[0] - 0.1 * expected[0])
    assert torch.allclose(second.weight, before[1] + 0.1 * expected[1])
    assert {name: loss.item() for name, loss in losses.items()} == {n: loss.item() for n, loss in detached.items()}
    assert not any(loss.requires_grad for loss in detached.values())


def test_one_adam_for_several_networks() -> None:
    networks = [nn.Linear(2, 2), nn.Linear(2, 1)]
    (group,) = adam(networks, 0.1, 0.5).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for network in networks for p in network.parameters()]
    assert (group["lr"], group["betas"]) == (0.1, (0.5, 0.999))


def test_average_forgets_the_start_quickly_and_then_slowly() -> None:
    average, network = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    start = average.weight.clone()
    with torch.no_grad():
        network.weight.copy_(start + 1.0)
    update_average(average, network, decay=0.999, step=0)
    assert torch.allclose(average.weight, start + 0.9)  # decay (1 + 0) / (10 + 0)
    update_average(average, network, decay=0.999, step=10**6)
    assert torch.allclose(average.weight, start + 0.9 + 0.001 * 0.1, atol=1e-6)
