from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gbad.errors import DataError, GbadError
from gbad.phase1_classifier.sampling import POOL, epoch_rows

POSITIVE = np.arange(100) < 10
ROWS = np.arange(5, 100)  # 5 positives, 90 negatives


def draw(negatives: str, epoch: int, seed: int = 0) -> np.ndarray:
    return epoch_rows(POSITIVE, ROWS, negatives=negatives, seed=seed, epoch=epoch)


def test_balanced_epochs_hold_all_positives_and_as_many_negatives() -> None:
    for negatives in ("fixed", "fresh"):
        rows = draw(negatives, 0)
        assert sorted(rows[POSITIVE[rows]]) == [5, 6, 7, 8, 9]
        assert len(np.unique(rows)) == 10


def test_fixed_negatives_stay_and_fresh_ones_change() -> None:
    assert set(draw("fixed", 0)) == set(draw("fixed", 1))
    assert set(draw("fresh", 0)) != set(draw("fresh", 1))


def test_order_changes_with_the_epoch_and_repeats_with_the_seed() -> None:
    assert draw("fixed", 0).tolist() != draw("fixed", 1).tolist()
    assert draw("fixed", 0).tolist() == draw("fixed", 0).tolist()
    assert set(draw("fixed", 0)) != set(draw("fixed", 0, seed=1))


def test_all_is_the_whole_list() -> None:
    assert sorted(draw("all", 3)) == ROWS.tolist()


def test_natural_epochs_are_as_long_as_balanced_ones_and_walk_through_the_whole_list() -> None:
    epochs = [draw("natural", epoch) for epoch in range(20)]
    assert {len(rows) for rows in epochs} == {10}
    walk = np.concatenate(epochs)
    # 95 rows a pass: 9.5 epochs. The first pass ends in the middle of the tenth epoch, where the second begins.
    assert sorted(walk[:95]) == ROWS.tolist()
    assert sorted(walk[95:190]) == ROWS.tolist()
    assert walk[:95].tolist() != walk[95:190].tolist()
    assert walk[:95].tolist() != ROWS.tolist()


def test_natural_epochs_depend_on_seed_and_epoch_alone() -> None:
    assert draw("natural", 9).tolist() == draw("natural", 9).tolist()
    assert draw("natural", 0).tolist() != draw("natural", 0, seed=1).tolist()


def test_a_natural_epoch_of_mostly_positives_is_one_whole_pass() -> None:
    for epoch in (0, 1):
        rows = epoch_rows(~POSITIVE, ROWS, negatives="natural", seed=0, epoch=epoch)
        assert sorted(rows) == ROWS.tolist()


def test_fewer_negatives_than_positives_are_all_used() -> None:
    rows = epoch_rows(~POSITIVE, ROWS, negatives="fixed", seed=0, epoch=0)
    assert sorted(rows) == ROWS.tolist()


def test_one_sided_parts_and_unknown_choices_are_refused() -> None:
    with pytest.raises(DataError, match="has 0 and 90"):
        epoch_rows(POSITIVE, np.arange(10, 100), negatives="fixed", seed=0, epoch=0)
    with pytest.raises(GbadError, match="'some'.*fixed, fresh, hard, natural, all"):
        draw("some", 0)


def test_hard_negatives_are_the_hardest_of_a_pool_beside_fresh_ones() -> None:
    positive = np.zeros(200, dtype=bool)
    positive[:20] = True
    seen: list[np.ndarray] = []

    def hardness(rows: np.ndarray) -> np.ndarray:
        seen.append(rows)
        return rows.astype(float)

    draw = partial(epoch_rows, positive, np.arange(200), negatives="hard", seed=0, epoch=3)
    rows = draw(hardness=hardness)
    (pool,) = seen
    assert len(pool) == POOL * 10
    assert not positive[pool].any()
    chosen = np.sort(rows[~positive[rows]])
    assert len(chosen) == len(np.unique(chosen)) == 20
    assert set(np.sort(pool)[-10:]) <= set(chosen)
    assert len(set(chosen) - set(pool)) == 10
    assert (np.sort(draw()) == np.sort(epoch_rows(positive, np.arange(200), negatives="fresh", seed=0, epoch=3))).all()


def test_hard_negatives_where_there_are_few() -> None:
    positive = np.arange(25) < 10
    rows = epoch_rows(
        positive, np.arange(25), negatives="hard", seed=0, epoch=0, hardness=lambda rows: np.zeros(len(rows))
    )
    assert positive[rows].sum() == 10
    assert len(np.unique(rows)) == len(rows) == 20


@pytest.mark.parametrize("negatives", ["fixed", "fresh", "hard"])
def test_an_epoch_may_have_several_negatives_for_each_positive(negatives: str) -> None:
    positive = np.arange(100) < 10
    rows = epoch_rows(
        positive, np.arange(100), negatives=negatives, seed=0, epoch=1, negatives_per_positive=3,
        hardness=lambda rows: rows.astype(float),
    )  # fmt: skip
    assert positive[rows].sum() == 10
    assert (~positive[rows]).sum() == 30
    assert len(set(rows.tolist())) == 40
    if negatives == "hard":  # half are the hardest of those that were drawn
        assert np.sort(rows)[-15:].min() > 70
