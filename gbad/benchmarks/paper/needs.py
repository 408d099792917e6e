"""What methods need of the data and of the machine, checked for all cells before the first training."""

from __future__ import annotations

from collections.abc import Mapping

from gbad.benchmarks.paper.data import BenchmarkData
from gbad.benchmarks.paper.methods import Method, needed_networks
from gbad.benchmarks.paper.scales import Subset
from gbad.data.boxes import read_boxes
from gbad.data.images import image_paths
from gbad.errors import DataError, GbadError


def without_unusable(data: BenchmarkData, methods: Mapping[str, Method]) -> tuple[dict[str, Method], dict[str, str]]:
    """Divide methods into those that the data allow and the others.

    A method that learns from boxes needs a box on each training list.

    Parameters
    ----------
    data : BenchmarkData
    methods : mapping of str to Method

    Returns
    -------
    usable : dict of str to Method
    reasons : dict of str to str
        Why the others cannot be run, one sentence each.

    Raises
    ------
    GbadError
        If no method is left that scores classes.
    DataError
        If an annotation of a test image, with which heat-maps will be compared, is damaged.
    """
    networks = needed_networks(methods)
    if any(network.phases > 2 for network in networks.values()) and (data.folder / "Annotation").is_dir():
        for subset in data.subsets:
            _read_boxes(data, subset, "test", required=False)
    of_boxes = {name for name, one in networks.items() if one.settings.position_weight}
    reason = _missing_boxes(data) if of_boxes else None
    reasons = {} if reason is None else {name: reason for name, one in methods.items() if one.network in of_boxes}
    usable = {name: method for name, method in methods.items() if name not in reasons}
    if not any(method.knows_classes for method in usable.values()):
        raise GbadError(f"none of the methods {', '.join(methods)} can be run: {reason} Name others, say gbad.")
    return usable, reasons


def _missing_boxes(data: BenchmarkData) -> str | None:
    """Why boxes cannot be learnt from; None if they can."""
    for subset in data.subsets:
        try:
            _read_boxes(data, subset, "train", required=True)
        except DataError as error:
            return str(error)
    return None


def _read_boxes(data: BenchmarkData, subset: Subset, part: str, *, required: bool) -> None:
    labels = data.read(subset, part)
    paths = image_paths(data.folder, labels.names)
    read_boxes(data.folder, labels.names, paths, labels.labels, labels.classes, required=required)
