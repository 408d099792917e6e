"""UCSD's videos of pedestrians: clips of frames for training and for testing, and which test frames are abnormal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gbad.data.arrays import Mask, Rows
from gbad.data.images import read_image, walk_images
from gbad.data.one_class.class_data import ClassData, Masks, Part, part
from gbad.data.one_class.mvtec import load_mask
from gbad.data.source import source_from_paths
from gbad.errors import DataError

_CLASSES = ("normal", "abnormal")
_CLIP = {"Train": re.compile(r"Train\d+"), "Test": re.compile(r"Test\d+")}
_LISTED = re.compile(r"gt_frame\s*=\s*\[([^\]]*)\]")


def find_subsets(folder: Path) -> list[Path]:
    """Find the subsets (UCSDped1, UCSDped2) below `folder`, sorted, or `folder` itself if it is one."""
    if _is_subset(folder):
        return [folder]
    return [path for path in sorted(folder.iterdir()) if _is_subset(path)] if folder.is_dir() else []


def read_ucsd(folder: Path, size: int) -> list[ClassData]:
    """Read data sets in the layout of UCSD's videos, one for each subset. Each frame is a unit of its own.

    A subset holds the clips ``Train/TrainNNN`` and ``Test/TestNNN`` (or the clips themselves, without ``Train`` and
    ``Test``). Which test frames are abnormal says the file ``*.m`` beside the test clips, by one line ``gt_frame =
    [60:152]`` for each clip; or, without that file, the masks ``TestNNN_gt`` of all clips: a frame is abnormal if its
    mask has a pixel that is not black.

    Parameters
    ----------
    folder : Path
        Holds subsets, or is one.
    size : int
        Side in pixels to which frames are warped.

    Raises
    ------
    DataError
        If there is no subset, a clip has no frames, or it is open which frames of a test clip are abnormal.
    """
    subsets = find_subsets(folder)
    if not subsets:
        raise DataError(f"{folder}: no Train/TrainNNN and Test/TestNNN in it. Unpack UCSD's data set there.")
    return [_read_subset(path, size) for path in subsets]


def _is_subset(folder: Path) -> bool:
    return folder.is_dir() and all(_clips(folder, kind) for kind in _CLIP)


def _clips(folder: Path, kind: str) -> list[Path]:
    root = folder / kind if (folder / kind).is_dir() else folder
    return [path for path in sorted(root.iterdir()) if path.is_dir() and _CLIP[kind].fullmatch(path.name)]


def _read_subset(folder: Path, size: int) -> ClassData:
    train = [frame for clip in _clips(folder, "Train") for frame in _frames(clip)]
    clips = _clips(folder, "Test")
    test = [_frames(clip) for clip in clips]
    masks = [_mask_files(clip, len(frames)) for clip, frames in zip(clips, test, strict=True)]
    abnormal = _listed(clips, test)
    if abnormal is None:
        abnormal = [_by_masks(clip, found) for clip, found in zip(clips, masks, strict=True)]
    paths = [frame for frames in test for frame in frames]
    labels = np.concatenate(abnormal).astype(np.int64)
    clip_of_frame: Rows = np.repeat(np.arange(len(clips)), [len(frames) for frames in test])
    files = [mask for found in masks for mask in found or []]
    return ClassData(
        folder.resolve().name,
        _CLASSES,
        part(source_from_paths(train, size), [0] * len(train)),
        # Frames of one clip are alike, as patches of one image are: the clip stands in the image's place.
        Part(source_from_paths(paths, size), labels, np.arange(len(paths)), image=clip_of_frame),
        frozenset({"normal"}),
        _masks(files, size) if len(files) == len(paths) else None,
        (*train, *paths, *files),
    )


def _frames(clip: Path) -> list[Path]:
    frames = [Path(path) for _, path in walk_images(clip)]
    if not frames:
        raise DataError(f"{clip}: no frame in it. Unpack the clip again.")
    return frames


def _mask_files(clip: Path, n_frames: int) -> list[Path] | None:
    folder = clip.with_name(f"{clip.name}_gt")
    if not folder.is_dir():
        return None
    masks = [Path(path) for _, path in walk_images(folder)]
    if len(masks) != n_frames:
        raise DataError(f"{folder}: {len(masks)} masks for {n_frames} frames of {clip.name}. Unpack the clip again.")
    return masks


def _by_masks(clip: Path, masks: list[Path] | None) -> Mask:
    if masks is None:
        raise DataError(
            f"{clip}_gt: no such folder, and no file *.m beside the clip: nothing says which of its frames are "
            "abnormal. Add one of them, or move the clip elsewhere."
        )
    return np.array([bool(read_image(path).any()) for path in masks])


def _listed(clips: list[Path], frames: list[list[Path]]) -> list[Mask] | None:
    """Abnormal frames of each clip as the file ``*.m`` lists them; None without such a file."""
    found = sorted(path for path in clips[0].parent.glob("*.m") if not path.name.startswith("."))
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{found[1]}: a second file *.m beside {found[0].name}. Keep the one that lists gt_frame.")
    lists = _LISTED.findall(found[0].read_text(encoding="latin-1"))
    if len(lists) != len(clips):
        raise DataError(
            f"{found[0]}: {len(lists)} lists gt_frame for {len(clips)} test clips. Unpack UCSD's data set again."
        )
    return [
        _ranges(found[0], clip, text, len(of_clip)) for clip, text, of_clip in zip(clips, lists, frames, strict=True)
    ]


def _ranges(path: Path, clip: Path, text: str, n_frames: int) -> Mask:
    """Read ``60:152, 160``, whose numbers are frames from 1: bool (n_frames,)."""
    abnormal = np.zeros(n_frames, bool)
    for one in re.split(r"[\s,;]+", text.strip()):
        if not one:
            continue
        matched = re.fullmatch(r"(\d+)(?::(\d+))?", one)
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (0, 0)
        if not 1 <= first <= last <= n_frames:
            raise DataError(
                f"{path}: gt_frame of {clip.name} has {one!r}, which is no range within its {n_frames} frames. Unpack "
                "UCSD's data set again."
            )
        abnormal[first - 1 : last] = True
    return abnormal


def _masks(files: list[Path], size: int) -> Masks:
    return lambda row: load_mask(files[row], size)
