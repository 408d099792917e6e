"""``gbad export``: the classifier of a pipeline as an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

from gbad.phase1_classifier import onnx_graph
from gbad.pipeline import GBADPipeline
from gbad.runtime.versions import library_versions
from gbad.storage.files import atomic_path
from gbad.storage.targets import Kind

ONNX = Kind("ONNX file", (b"pytorch",))


def export(pipeline: GBADPipeline, out: str | Path) -> None:
    """Write the classifier of the first look, see `gbad.phase1_classifier.onnx_graph`.

    The file's metadata name the ``classes`` in the order of the logits, the ``size`` of the images, and the version of
    ``gbad``.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted.
    out : path-like
        The file, written whole or not at all.

    Raises
    ------
    GbadError
        If packages are missing.
    """
    fitted, size = pipeline.check_fitted().on_device("cpu"), pipeline.settings.size
    notes = {"classes": json.dumps(fitted.classes), "size": str(size), "gbad": library_versions()["gbad"]}
    graph = onnx_graph(fitted.network, size, notes)
    with atomic_path(out) as temporary:
        temporary.write_bytes(graph)
