"""Isolation forest, kept as the arrays of its trees.

Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008; equation numbers refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from gbad.phase2_anomaly.contract import Floats
from gbad.phase2_anomaly.features.feature_detector import FeatureDetector, Judge, Rows
from gbad.phase2_anomaly.parameters import check_whole


@dataclass(kw_only=True, eq=False, repr=False)
class IsolationForestDetector(FeatureDetector):
    """Outlier detector by the number of random cuts that isolate a row: a control for the BiGAN.

    scikit-learn grows the forest. Only arrays are kept of it, so a file holds no object of a library.

    Parameters
    ----------
    n_trees : int
        Trees in the forest.
    max_rows : int
        Training rows that each tree sees, drawn at random.
    random_state : int, RandomState or None
        For drawing rows and cuts.
    contamination : float
        See `FeatureDetector`.

    Attributes
    ----------
    roots_ : ndarray of shape (n_trees,), int64
        First node of each tree; the nodes of all trees are numbered in one sequence.
    columns_ : ndarray of shape (n_nodes,), int64
        Column that a node compares, or -1 for a leaf.
    cuts_ : ndarray of shape (n_nodes,), float64
        Rows with a value up to this one go left.
    left_, right_ : ndarray of shape (n_nodes,), int64
        Next node for rows that go left or right; a leaf points to itself.
    lengths_ : ndarray of shape (n_nodes,), float64
        For a leaf: length of the path to it, plus the average length that further cuts would add.
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

    n_trees: int = 200
    max_rows: int = 256
    random_state: int | np.random.RandomState | None = 0

    def check_parameters(self) -> None:
        """Check all hyperparameters; see `AnomalyDetector.check_parameters`."""
        super().check_parameters()
        check_whole(self, ("n_trees",))
        check_whole(self, ("max_rows",), least=2)

    def _learn(self, X: Rows) -> None:
        from sklearn.ensemble import IsolationForest  # slow to import, and scoring does without

        random = check_random_state(self.random_state)
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

    def _judge(self) -> Judge:
        return self._isolation

    def _isolation(self, Z: Floats) -> Floats:
        """Score of Eq. (2): (b, D) -> (b,) in [0, 1]."""
        rows, index = Z.astype(np.float32), np.arange(len(Z))[:, None]
        node = np.broadcast_to(self.roots_, (len(Z), len(self.roots_)))
        while (self.columns_[node] >= 0).any():
            node = np.where(rows[index, self.columns_[node]] <= self.cuts_[node], self.left_[node], self.right_[node])
        return np.asarray(2.0 ** (-self.lengths_[node].mean(axis=1) / self.normal_length_))


def average_path_length(n: npt.NDArray[np.int64]) -> Floats:
    """Average path length in a random tree of n rows, Eq. (1): 0 for a single row, 1 for two.

    Examples
    --------
    >>> average_path_length(np.array([1, 2, 256])).round(4)
    array([ 0.    ,  1.    , 10.2448])
    """
    many = np.maximum(n.astype(np.float64), 3.0)
    length = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(n > 2, length, np.where(n == 2, 1.0, 0.0))
