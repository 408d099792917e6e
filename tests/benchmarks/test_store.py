from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gbad.benchmarks.store import Entry, load_arrays, save_arrays
from gbad.errors import GbadError


def test_an_entry_is_computed_once(tmp_path: Path) -> None:
    entry = Entry.of(tmp_path, "cnn-seed1", {"epochs": 3, "sizes": (1, 2)})
    assert not entry.is_done

    def compute() -> dict[str, Any]:
        entry.work.mkdir(parents=True)
        return {"seconds": 0.5, "history": np.arange(2)}

    assert entry.complete(compute)
    again = Entry.of(tmp_path, "cnn-seed1", {"sizes": [1, 2], "epochs": 3})
    assert again.is_done
    assert not again.complete(lambda: pytest.fail("computed again"))
    assert again.result == {"seconds": 0.5, "history": [0, 1]}
    assert not again.work.exists()


def test_what_a_result_is_about_decides_its_folder(tmp_path: Path) -> None:
    abouts = ({}, {"epochs": 3}, {"epochs": 3.0}, {"epochs": None}, {"epochs": "3"}, {"epochs": {"a": 3}})
    assert len({Entry.of(tmp_path, "x", about).folder for about in abouts}) == len(abouts)
    with pytest.raises(GbadError, match="x: a setting of a benchmark must be a number, a text or None"):
        Entry.of(tmp_path, "x", {"weights": tmp_path})


def test_a_killed_computation_goes_on_with_its_parts(tmp_path: Path) -> None:
    entry, asked = Entry.of(tmp_path, "test", {}), []

    def compute(start: int, stop: int) -> dict[str, np.ndarray] | None:
        asked.append((start, stop))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return None if start == 0 else {"rows": np.arange(start, stop)}

    with pytest.raises(KeyboardInterrupt):
        entry.in_parts(10, 4, compute)
    parts, seconds = entry.in_parts(10, 4, compute)
    assert asked == [(0, 4), (4, 8), (8, 10), (8, 10)]
    assert np.concatenate([part["rows"] for part in parts]).tolist() == [4, 5, 6, 7, 8, 9]
    assert seconds > 0


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.npz"
    save_arrays(path, {"names": np.array(["a", "ü"]), "values": np.arange(3.0)})
    assert {name: array.tolist() for name, array in load_arrays(path).items()} == {
        "names": ["a", "ü"], "values": [0.0, 1.0, 2.0],
    }  # fmt: skip
    whole = path.read_bytes()
    for damaged in (b"damaged", b"", whole[: len(whole) // 2], whole[:60] + b"flip" + whole[64:]):
        path.write_bytes(damaged)
        with pytest.raises(GbadError, match=r"scores\.npz: missing or damaged"):
            load_arrays(path)
    path.unlink()
    with pytest.raises(GbadError, match=r"scores\.npz: missing or damaged"):
        load_arrays(path)
