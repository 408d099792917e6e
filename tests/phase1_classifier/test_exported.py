from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gbad.errors import GbadError
from gbad.phase1_classifier import Classifier, exported, onnx_graph, predict_batch, see, use_onnx
from gbad.phase1_classifier.classifier import Prediction

Build = Callable[..., Classifier]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
INSTALLED = pytest.mark.skipif(not exported.can_export(), reason="the extra onnx is not installed")


@INSTALLED
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("fpn", {"pooling": "max", "fusion": "context"}),
        ("fpn", {"pooling": "average", "fusion": "logits"}),
        ("fpn", {"pooling": "max", "position_weight": 1.0}),
        ("plain", {}),
        ("chr", {}),
    ],
)
def test_onnx_runtime_gives_what_pytorch_gives(build: Build, architecture: str, options: dict[str, object]) -> None:
    model = build(architecture, **options).eval()
    before, alone = see(model, PIXELS, views=2), predict_batch(model, PIXELS[:1])
    assert use_onnx(model, 64)
    assert model.graph is not None
    after = see(model, PIXELS, views=2)
    np.testing.assert_allclose(after.logits, before.logits, atol=1e-5)
    np.testing.assert_allclose(after.features, before.features, atol=1e-5)
    for level, expected in zip(after.levels, before.levels, strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-5)
    for found, expected in zip(predict_batch(model, PIXELS[:1]), alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.dtype == expected.dtype


@INSTALLED
def test_the_file_says_what_goes_in_and_out(build: Build) -> None:
    import onnx

    model = build("fpn").eval()
    graph = onnx.load_from_string(onnx_graph(model, 64, {"size": "64"}))
    onnx.checker.check_model(graph, full_check=True)
    shapes = {
        value.name: [part.dim_value or part.dim_param for part in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes["images"] == ["images", 3, 64, 64]
    assert shapes["logits"] == ["images", 2]
    assert shapes["features"] == ["images", model.n_features]
    assert [name for name in shapes if name.startswith("level")] == ["level1", "level2", "level3", "level4"]
    assert [(note.key, note.value) for note in graph.metadata_props] == [("size", "64")]


@INSTALLED
def test_a_graph_that_differs_is_not_used(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(exported.OnnxGraph):
        def __call__(self, images: Tensor) -> tuple[Prediction, list[Tensor]]:
            (logits, features), levels = super().__call__(images)
            return Prediction(logits + 0.001, features), levels

    model = build("plain").eval()
    monkeypatch.setattr(exported, "OnnxGraph", Wrong)
    with caplog.at_level(logging.WARNING):
        assert not use_onnx(model, 64)
    assert "the ONNX graph of the classifier differs by 0.001, PyTorch is used" in caplog.text
    assert model.graph is None


@INSTALLED
def test_where_no_graph_can_be_made_pytorch_scores(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand forty lines more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    model = build("plain").eval()
    with caplog.at_level(logging.WARNING):
        assert not use_onnx(model, 64)
    assert caplog.messages == ["no ONNX graph of the classifier, PyTorch is used: no such operator"]
    assert np.isfinite(predict_batch(model, PIXELS)[0]).all()


def test_without_the_packages_nothing_changes(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "PACKAGES", ("onnx", "a_package_that_nobody_has"))
    model = build("plain").eval()
    assert not use_onnx(model, 64)
    with pytest.raises(GbadError, match=r"pip install 'gbad\[onnx\]'"):
        onnx_graph(model, 64)
