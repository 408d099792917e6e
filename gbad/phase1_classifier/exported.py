"""A classifier as an ONNX graph: for other programs, and for faster scores on a processor, by ONNX Runtime."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gbad.errors import GbadError
from gbad.phase1_classifier.classifier import Classifier, Prediction

if TYPE_CHECKING:
    import onnxruntime

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``onnx`` installs."""

_TOGETHER = 4  # images of one pass: their maps stay in the processor's caches
_CLOSE = 1e-4  # the largest difference of a logit, relative if above 1: sums are rounded in another order


class _Outputs(nn.Module):
    """All outputs of a classifier: logits, features, and the maps that are pooled."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = self.model.levels(images)
        return (*self.model.classify_levels(levels), *levels)


def can_export() -> bool:
    """Whether the packages of the extra ``onnx`` are installed."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def onnx_graph(model: Classifier, size: int, notes: Mapping[str, str] | None = None) -> bytes:
    """Export a classifier.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    size : int
        Side of its images in pixels.
    notes : mapping of str to str, optional
        For the graph's metadata.

    Returns
    -------
    bytes
        An ONNX file. Input ``images``: float32 (n, 3, size, size), RGB in [0, 255]. Outputs ``logits`` (n, C) and
        ``features`` (n, D), as in `gbad.phase1_classifier.predict_batch`, and ``level1``, ``level2``, …, the maps of
        `Classifier.levels`; float32.

    Raises
    ------
    GbadError
        If a package is missing.
    """
    if not can_export():
        raise GbadError("ONNX graphs need packages that are not installed: pip install 'gbad[onnx]'")
    outputs, example = _Outputs(model).eval(), torch.zeros(2, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own insides
        program = torch.onnx.export(
            outputs, (example,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim("images")},),
            input_names=["images"],
            output_names=["logits", "features", *(f"level{number + 1}" for number in range(len(outputs(example)) - 2))],
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(notes or {})
    graph: bytes = program.model_proto.SerializeToString()
    return graph


class OnnxGraph:
    """The outputs of an exported classifier, computed by ONNX Runtime with as many threads as PyTorch has."""

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in gbad.runtime.threads
        self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, images: Tensor) -> tuple[Prediction, list[Tensor]]:
        """Give what `Classifier.forward` and `Classifier.levels` do."""
        pixels = images.float().contiguous().numpy()
        parts = [
            self._session.run(None, {"images": pixels[start : start + _TOGETHER]})
            for start in range(0, len(pixels), _TOGETHER)
        ]
        logits, features, *levels = (torch.from_numpy(np.concatenate(values)) for values in zip(*parts, strict=True))
        return Prediction(logits, features), levels


def use_onnx(model: Classifier, size: int) -> bool:
    """Let ONNX Runtime compute a classifier on the processor, if that gives the same logits.

    Parameters
    ----------
    model : Classifier
        In evaluation mode.
    size : int
        Side of its images in pixels.

    Returns
    -------
    bool
        Whether it does. If the packages are missing, or the model is on an accelerator, nothing changes; if the graph
        cannot be made or differs, a warning is logged.
    """
    if model.graph is not None or not can_export() or next(model.parameters()).device.type != "cpu":
        return model.graph is not None
    images = 255 * torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        graph = OnnxGraph(onnx_graph(model, size))
        with torch.no_grad():
            logits = model(images).logits
            difference = ((graph(images)[0].logits - logits).abs().max() / logits.abs().max().clamp(min=1)).item()
    except Exception as error:  # whatever the exporter and its packages raise: PyTorch scores as well
        _log.warning("no ONNX graph of the classifier, PyTorch is used: %s", str(error).partition("\n")[0])
        return False
    if not difference <= _CLOSE:
        _log.warning("the ONNX graph of the classifier differs by %.1g, PyTorch is used", difference)
        return False
    model.graph = graph
    return True


_log = logging.getLogger(__name__)
