"""Isolation forest, kept as the arrays of its trees.

Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008; equation numbers refer to it.
"""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.utils import check_scalar

from gbad.phase2_anomaly.features.feature_detector import FeatureDetector


class IsolationForestDetector(FeatureDetector):
    """Outlier detector by the number of random cuts that set a row apart: a control for the BiGAN.

    scikit-learn grows the forest. What stays of it are arrays, so that a file of it holds no tree of any library.

    Parameters
    ----------
    n_trees : int
        Trees in the forest.
    max_rows : int
        Training rows that each tree sees, drawn at random.
    contamination : float
        Share of the training rows that ``predict`` calls abnormal, in (0, 0.5].
    random_state : int, RandomState or None
        For drawing rows and cuts.

    Attributes
    ----------
    roots_ : ndarray of shape (n_trees,), int64
        First node of each tree; all others are numbered through.
    columns_ : ndarray of shape (n_nodes,), int64
        Column that a node looks at, or -1 for a leaf.
    cuts_ : ndarray of shape (n_nodes,), float64
        Rows up to this value go left.
    left_, right_ : ndarray of shape (n_nodes,), int64
        Where rows go; a leaf points to itself.
    lengths_ : ndarray of shape (n_nodes,), float64
        Of a leaf: length of the path to it, and what further cuts would add on average.
    normal_length_ : float
        Average path length of a tree's rows, Eq. (1).

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(64, 5)) * [3, 1, 1, 0.1, 1]
    >>> detector = IsolationForestDetector(n_trees=10).fit(rows)
    >>> detector.losses(rows).shape
    (64, 1)
    >>> detector.predict(rows[:1] + 100)
    array([-1])
    """

    loss_names = ("isolation_score",)

    def __init__(
        self,
        *,
        n_trees: int = 200,
        max_rows: int = 256,
        contamination: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_trees = n_trees
        self.max_rows = max_rows
        self.contamination = contamination
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.n_trees, "n_trees", numbers.Integral, min_val=1)
        check_scalar(self.max_rows, "max_rows", numbers.Integral, min_val=2)

    def _learn(self, X: np.ndarray, random: np.random.RandomState) -> None:
        forest = IsolationForest(n_estimators=self.n_trees, max_samples=min(self.max_rows, len(X)), random_state=random)
        # Trees compare in float32, and do not mind the scale of a column.
        forest.fit(np.concatenate([Z.astype(np.float32) for Z in self._chunks(X)]))
        trees = [tree.tree_ for tree in forest.estimators_]
        self.roots_ = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        left, right, lengths = [], [], []
        for root, tree in zip(self.roots_, trees, strict=True):
            own = np.arange(tree.node_count)
            leaf = tree.children_left < 0
            left.append(root + np.where(leaf, own, tree.children_left))
            right.append(root + np.where(leaf, own, tree.children_right))
            depth = np.zeros(tree.node_count)
            for node in np.flatnonzero(~leaf):  # a node is numbered before its children
                depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
            lengths.append(depth + average_path_length(tree.n_node_samples))
        self.left_, self.right_, self.lengths_ = (np.concatenate(parts) for parts in (left, right, lengths))
        self.columns_ = np.maximum(np.concatenate([tree.feature for tree in trees]), -1)
        self.cuts_ = np.concatenate([tree.threshold for tree in trees])
        self.normal_length_ = float(average_path_length(np.array([forest.max_samples_]))[0])

    def _loss(self, Z: np.ndarray) -> np.ndarray:
        Z, rows = Z.astype(np.float32), np.arange(len(Z))[:, None]
        node = np.broadcast_to(self.roots_, (len(Z), len(self.roots_)))
        while (self.columns_[node] >= 0).any():
            node = np.where(Z[rows, self.columns_[node]] <= self.cuts_[node], self.left_[node], self.right_[node])
        return np.asarray(2.0 ** (-self.lengths_[node].mean(axis=1) / self.normal_length_))  # Eq. (2)


def average_path_length(n: np.ndarray) -> np.ndarray:
    """Average path length in a random tree of n rows, Eq. (1): 0 for a single row, 1 for two.

    Examples
    --------
    >>> average_path_length(np.array([1, 2, 256])).round(4)
    array([ 0.    ,  1.    , 10.2448])
    """
    n = np.asarray(n, dtype=np.float64)
    many = np.maximum(n, 3.0)
    length = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(n > 2, length, np.where(n == 2, 1.0, 0.0))
