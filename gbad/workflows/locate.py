"""Where a pipeline sees each class in an image."""

from __future__ import annotations

import numpy as np

from gbad.data.source import opened, stream
from gbad.errors import DataError, GbadError
from gbad.phase1_classifier import class_heatmaps, knows_positions
from gbad.pipeline import GBADPipeline
from gbad.training.inputs import ScoredImages, image_source


def position_maps(pipeline: GBADPipeline, images: ScoredImages) -> np.ndarray:
    """Probability, as learnt from boxes, that a place is in a threat of each class.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted with boxes.
    images
        As in `GBADPipeline.predict_proba`.

    Returns
    -------
    float32 array (n, C, h, w)
        In [0, 1]; the cells cover the whole image.

    Raises
    ------
    GbadError
        If the pipeline was fitted without boxes.
    ImageError
        If an image cannot be read.
    """
    network = pipeline.check_fitted().network
    if not knows_positions(network):
        raise GbadError(
            "this pipeline knows no positions: train it with boxes and a position_weight above 0. Without, "
            "GBADPipeline.heatmaps gives the evidence at each place."
        )
    maps, source = [], image_source(images, pipeline.settings.size)
    for _, pixels, errors in stream(source, range(len(source)), 16):
        for error in errors.values():
            raise error
        maps.append(class_heatmaps(network, pixels))
    if not maps:
        raise DataError("no images were given")
    return np.concatenate(maps)


def locate(pipeline: GBADPipeline, images: ScoredImages) -> np.ndarray:
    """Place where each class has the most evidence, whether or not the image shows it.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted, with boxes or without.
    images
        As in `position_maps`.

    Returns
    -------
    float64 array (n, C, 2)
        x and y in pixels of the original image: the centre of the highest cell of each map of `GBADPipeline.heatmaps`,
        which is where `gbad predict` puts its box.
    """
    places = peaks(pipeline.heatmaps(images))
    source = image_source(images, pipeline.settings.size)
    return places * np.array([opened(source, row).size for row in range(len(source))], np.float64)[:, None]


def peaks(maps: np.ndarray) -> np.ndarray:
    """Centre of each map's highest cell.

    Parameters
    ----------
    maps : float array (n, C, h, w)

    Returns
    -------
    float64 array (n, C, 2)
        x and y in (0, 1), as shares of the image's width and height.
    """
    height, width = maps.shape[2:]
    row, column = np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(2), width)
    return np.stack([(column + 0.5) / width, (row + 0.5) / height], 2)
