from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gbad
from gbad.data.images import image_paths
from gbad.data.labels import read_sixray

# One of the processes: it trains with the tests' backbone.
TRAIN = """
import sys
import pytest
sys.path.insert(0, "tests")
from tiny_backbone import install
from gbad.cli.app import main
install(pytest.MonkeyPatch())
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo needs a POSIX system")
def test_two_processes_train_both_looks_and_make_one_pipeline(
    dataset: Path, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    done = run_python(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, script,
        "train", dataset, "--out", tmp_path / "run", "--set", "device=cpu", "--backbone", "resnet18", "--no-pretrained",
        "--size", 64, "--epochs", 2, "--fpn-width", 8, "--head-width", 8, "--detector", "gaussian",
        "--set", "region_size=32", "--set", "region_epochs=1",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert len(re.findall(r"epoch 2/2: loss", done.err)) == 1, "one process speaks for both"
    pipeline = gbad.load(tmp_path / "run" / "pipeline.joblib")
    assert pipeline.fitted_.second is not None
    assert (tmp_path / "run" / "second_look" / "done.json").exists()
    scores = pipeline.predict_proba(image_paths(dataset, read_sixray(dataset, 10, "test").names))
    assert scores.shape == (36, 5)
    assert ((scores >= 0) & (scores <= 1)).all()
