"""Intervals over two sources of chance: the images of the test list and the seed of the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gbad.benchmarks.arrays import Floats
from gbad.data.arrays import Mask
from gbad.evaluation.bootstrap import bootstrap_average_precision, mean_over_classes, percentiles
from gbad.evaluation.metrics import Rule
from gbad.runtime.randomness import derived_seed


def seed_mean_samples(
    y_true: Mask, scores: Mapping[str, Floats], weights: Floats, *, resamples: int, seed: int = 0,
    rule: Rule = "all_points",
) -> dict[str, Floats]:  # fmt: skip
    """Resampled average precision of several methods, the mean over training seeds.

    Parameters
    ----------
    y_true : array (n, C)
        1 = present.
    scores : mapping of str to float array (S, n, C)
        By method: one ranking a seed. All methods have the same S seeds.
    weights : float array (n,)
        How often each test image counts.
    resamples : int
        B.
    seed : int
        Of the resampling.
    rule : {"all_points", "voc07", "voc10"}
        See `gbad.evaluation.metrics.average_precision`.

    Returns
    -------
    mapping of str to float64 array (B, C)
        NaN where a resample has no positive of a class.

    Notes
    -----
    Images are drawn as in `gbad.evaluation.bootstrap.bootstrap_average_precision`, the same for all methods and
    seeds. Then `with_seed_deviations` adds the chance of training; with a single seed it adds nothing.
    """
    rankings = [ranking for method in scores.values() for ranking in method]
    values = bootstrap_average_precision(
        y_true, rankings, resamples=resamples, seed=seed, sample_weight=weights, rule=rule
    )
    n_seeds = len(next(iter(scores.values())))
    mean = with_seed_deviations(values.reshape(resamples, len(scores), n_seeds, -1), seed)
    return {name: mean[:, m] for m, name in enumerate(scores)}


def with_seed_deviations(values: Floats, seed: int = 0) -> Floats:
    """Means over training seeds, each with a random deviation: how much other seeds could change the mean.

    Parameters
    ----------
    values : float array (B, M, S, C)
        Resampled figures of M methods, S seeds and C classes.
    seed : int
        Of the deviations.

    Returns
    -------
    float64 array (B, M, C)

    Notes
    -----
    The deviations of a resample, over all methods and classes, are one draw of a multivariate t distribution with
    S - 1 degrees of freedom. Its scale is the covariance of the seeds' values divided by S, as for the mean of S
    values with a normal distribution of unknown variance: few seeds tell little about their own spread, and drawing
    them with replacement would give intervals that are much too narrow. Since methods share the draw, differences
    between them stay paired.
    """
    mean = np.asarray(values.mean(axis=2))
    n_seeds = values.shape[2]
    if n_seeds < 2:
        return mean
    of_seeds = mean_over_classes(np.moveaxis(values, 0, -1))  # (M, S, C): the mean over resamples
    deviations = of_seeds - of_seeds.mean(axis=1, keepdims=True)
    generator = np.random.default_rng(derived_seed(seed, "training seeds"))
    normal = generator.normal(size=(len(values), n_seeds))
    chi = np.sqrt(generator.chisquare(n_seeds - 1, len(values)) / (n_seeds - 1))
    factors = normal / chi[:, None] / np.sqrt(n_seeds * (n_seeds - 1))
    return np.asarray(mean + np.einsum("bs,msc->bmc", factors, deviations))


def intervals(
    samples: Mapping[str, Floats], classes: Sequence[str], differences: Iterable[tuple[str, str]] = ()
) -> dict[str, dict[str, tuple[float, float]]]:
    """Percentile intervals of each class and of their mean, for methods and for differences between two.

    Parameters
    ----------
    samples : mapping of str to array (B, C)
        From `seed_mean_samples`.
    classes : sequence of C str
    differences : iterable of (str, str)
        Pairs of methods; those of which one is missing are left out.

    Returns
    -------
    dict
        ``{method or "a - b": {class or "mean": (low, high)}}``; NaN for a class without positives.
    """
    pairs = {f"{a} - {b}": samples[a] - samples[b] for a, b in differences if a in samples and b in samples}
    found = {}
    for name, sample in {**samples, **pairs}.items():
        columns = dict(zip((*classes, "mean"), (*sample.T, mean_over_classes(sample)), strict=True))
        bounds = {label: percentiles(column) for label, column in columns.items()}
        if name not in pairs:  # deviations of seeds can leave [0, 1]; clipped sooner, they would move the mean
            bounds = {label: np.clip(one, 0.0, 1.0).tolist() for label, one in bounds.items()}
        found[name] = {label: (low, high) for label, (low, high) in bounds.items()}
    return found
