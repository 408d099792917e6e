"""What ONNX Runtime gains: the first look's network, single images, and whole scoring, to PyTorch.

python benchmarks/onnx_speed.py

By the model that comes with gbad, on simulated threat-free bags. Needs the extra ``onnx``. Where openvino is installed,
it computes the exported file as well, in float32 and in bfloat16.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from second_look_speed import seconds_of_image, simulated_bags, threat_free
from table import finish, row

from gbad.data.source import stream
from gbad.phase1_classifier import onnx_graph, predict_batch
from gbad.pipeline import load
from gbad.runtime.allocator import keep_freed_memory

AT_LEAST, SINGLE = 1.6, 2.5  # times PyTorch's rate
BATCH = 32

Network = Callable[[np.ndarray], np.ndarray]


def openvino(graph: bytes, precision: str) -> Network:
    """The exported classifier by OpenVINO: from pixels (n, size, size, 3) to logits."""
    from openvino import Core

    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    core = Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", options)
    return lambda pixels: compiled(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32))["logits"]


def seconds(network: Network, pixels: np.ndarray) -> float:
    """Time one call."""
    begun = time.perf_counter()
    network(pixels)
    return time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Time all ways in turn, in several rounds, so that noise of the machine affects all alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=640, help="longer side of the simulated bags in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="CSV file for what was measured")
    options = parser.parse_args(argv)
    keep_freed_memory()
    plain, fast = load("simulated-bags"), load("simulated-bags")
    size, network = plain.settings.size, plain.check_fitted().network
    begun = time.perf_counter()
    if not fast.use_onnx():
        raise SystemExit("ONNX Runtime cannot be used: pip install 'gbad[onnx]'")
    made = time.perf_counter() - begun
    with_graph = fast.check_fitted().network
    ways: dict[str, Network] = {
        "PyTorch": lambda pixels: predict_batch(network, pixels)[0],
        "ONNX Runtime": lambda pixels: predict_batch(with_graph, pixels)[0],
    }
    if importlib.util.find_spec("openvino") is not None:
        graph = onnx_graph(network, size)
        for name, hint in (("float32", "f32"), ("bfloat16", "bf16")):
            ways[f"OpenVINO in {name}"] = openvino(graph, hint)
    with tempfile.TemporaryDirectory() as folder:
        simulated_bags(Path(folder), "10", options.images, options.size)
        paths = threat_free(Path(folder), "10", options.images)
        ((_, pixels, _),) = stream(plain.image_source(paths[:BATCH]), range(min(BATCH, len(paths))), BATCH)
        logits = {name: way(pixels) for name, way in ways.items()}
        of_batches: dict[str, list[float]] = {name: [] for name in ways}
        of_singles: dict[str, list[float]] = {name: [] for name in ways}
        of_scoring: dict[str, list[float]] = {"PyTorch": [], "ONNX Runtime": []}
        singles = [pixels[row : row + 1] for row in range(min(8, len(pixels)))]
        for round_ in range(options.rounds + 1):
            found = [
                {name: seconds(way, pixels) for name, way in ways.items()},
                {name: sum(seconds(way, one) for one in singles) for name, way in ways.items()},
                {name: seconds_of_image(pipeline, paths)[0] for name, pipeline in
                 (("PyTorch", plain), ("ONNX Runtime", fast))},
            ]  # fmt: skip
            if round_:  # the first round warms up
                for total, one in zip((of_batches, of_singles, of_scoring), found, strict=True):
                    for name, value in one.items():
                        total[name].append(value)
    rows = []
    for title, total, least in (
        (f"network, {len(pixels)} images of {size} px", of_batches, AT_LEAST),
        (f"network, single images of {size} px", of_singles, SINGLE),
        ("whole scoring from files, both looks", of_scoring, np.nan),
    ):
        for name in [name for name in total if name != "PyTorch"]:
            ratios = [torch_ / own for torch_, own in zip(total["PyTorch"], total[name], strict=True)]
            asked = least if name == "ONNX Runtime" else np.nan
            rows.append(row(f"{title}, {name} to PyTorch", "x", ratios, at_least=asked))
    rows += [
        row(f"largest difference of a logit, {name}", "", [float(np.abs(found - logits["PyTorch"]).max())])
        for name, found in logits.items()
        if name != "PyTorch"
    ]
    rows.append(row("making the graph", "s", [made]))
    return finish(rows, options.out)


if __name__ == "__main__":
    sys.exit(main())
