from __future__ import annotations

import numpy as np
import pytest

from gbad.benchmarks.paper.published import CLASSES, PUBLISHED_ANY_THREAT, PUBLISHED_AP, TARGETS


@pytest.mark.parametrize("subset", ["10", "100", "1000"])
def test_means_are_the_means_of_the_classes(subset: str) -> None:
    rows = PUBLISHED_AP[subset]
    assert len(rows) == 15
    for row, values in rows.items():
        assert len(values) == len(CLASSES) + 1
        assert np.mean(values[:-1]) == pytest.approx(values[-1], abs=0.0101), row  # rounded, or cut off


def test_the_paper_wins_where_its_text_says_so() -> None:
    means = {subset: {row: values[-1] for row, values in rows.items()} for subset, rows in PUBLISHED_AP.items()}
    for subset in ("10", "100"):
        best = {
            method: max(v for (_, m), v in means[subset].items() if m == method) for method in ("CNN", "CHR", "GBAD")
        }
        assert best["GBAD"] == max(best.values())
    assert means["1000"]["DenseNet", "CHR"] == 48.35 > means["1000"]["DenseNet", "GBAD"] == 41.11


def test_bars_are_no_lower_than_what_the_papers_resnet34_gains() -> None:
    means = {subset: {row: values[-1] for row, values in rows.items()} for subset, rows in PUBLISHED_AP.items()}
    gain = {subset: rows["ResNet34", "GBAD"] - rows["ResNet34", "CNN"] for subset, rows in means.items()}
    assert gain["10"] == pytest.approx(7.21)
    largest = {
        other: [round(max(rows[backbone, "GBAD"] - rows[backbone, other] for backbone, _ in rows), 2)
                for rows in means.values()]
        for other in ("CNN", "CHR")
    }  # fmt: skip
    assert largest == {"CNN": [7.21, 7.49, 6.68], "CHR": [4.84, 3.28, 3.58]}
    assert all(TARGETS["gbad - cnn"][subset] <= gain[subset] + 0.3 for subset in gain)


def test_macro_f1_is_below_the_harmonic_mean() -> None:
    for precision, recall, f1 in PUBLISHED_ANY_THREAT.values():
        assert 0 < f1 <= 2 * precision * recall / (precision + recall) + 1e-9
