"""Where a pipeline that has learnt from boxes sees each class in an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gbad.data.source import stream
from gbad.errors import DataError
from gbad.phase1_classifier import position_maps as maps_of_batch
from gbad.pipeline import GBADPipeline
from gbad.training.inputs import Images, image_source, original_size


def position_maps(pipeline: GBADPipeline, images: Images) -> np.ndarray:
    """Probability, as learnt from boxes, that a place is in a threat of each class.

    Parameters
    ----------
    pipeline : GBADPipeline
        Fitted with boxes.
    images : sequence of n paths, or uint8 array (n, H, W, 3)
        RGB.

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
    maps = list(_batches(pipeline, images))
    if not maps:
        raise DataError("no images were given")
    return np.concatenate(maps)


def locate(pipeline: GBADPipeline, images: Images) -> np.ndarray:
    """Place where each class is most probable, whether or not the image shows it.

    Parameters
    ----------
    pipeline, images
        As in `position_maps`, with the same errors.

    Returns
    -------
    float64 array (n, C, 2)
        x and y in pixels of the original image: the centre of the highest cell of each map.
    """
    places = [peaks(maps) for maps in _batches(pipeline, images)]
    if not places:
        raise DataError("no images were given")
    sizes = np.array([original_size(images, row) for row in range(len(images))], np.float64)
    return np.concatenate(places) * sizes[:, None]


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


def _batches(pipeline: GBADPipeline, images: Images) -> Iterator[np.ndarray]:
    network = pipeline.check_fitted().network
    for _, pixels, errors in stream(image_source(images, pipeline.settings.size), range(len(images)), 32):
        for error in errors.values():
            raise error
        yield maps_of_batch(network, pixels)
