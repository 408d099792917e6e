"""The protocols of the literature, by their names: which classes are normal, what is judged, and which of it is tested.

"One class against the rest" is used for two opposite tasks. Here each has one name:

- ``one-vs-rest``: the class is *normal*, all others are abnormal.
- ``leave-one-class-out``: the class is *abnormal*, all others are normal.
- ``normal-vs-abnormal``: the data set, or the user, says which classes are normal.

The others are those of papers, as printed. Where a paper leaves a choice open, its comment here says what we took.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gbad.errors import DataError


@dataclass(frozen=True)
class Protocol:
    """How a data set becomes tasks.

    Attributes
    ----------
    meaning : str
        What is normal, what is abnormal, and what is tested; for notes and help texts.
    normal : str
        ``"class"``: each task's own class; ``"others"``: all classes but that; ``"given"``: what the data set or the
        user says; ``"healthy"``: classes whose name ends with "healthy", or what the user says.
    split : str
        ``"parts"``: the data set's own parts; ``"abnormal of both"``: these, and the abnormal images of the training
        part are tested, too; ``"pooled"``: a fifth of each class of both parts together is tested; ``"counted"``:
        drawn from both parts together by numbers.
    units : str
        What is judged, one of `gbad.data.one_class.UNITS`.
    layouts : tuple of str
        Layouts that it is for; empty for all.
    size : int
        Side in pixels, where the user does not say another.
    counts : tuple
        For ``"counted"``: normal images to train on, and normal and abnormal ones to test.
    """

    meaning: str
    normal: Literal["class", "others", "given", "healthy"] = "given"
    split: Literal["parts", "abnormal of both", "pooled", "counted"] = "parts"
    units: Literal["images", "patches", "regions"] = "images"
    layouts: tuple[str, ...] = ()
    size: int = 32
    counts: tuple[int | Literal["rest"], ...] = ()


REST: Literal["rest"] = "rest"
"""In the place of a number of images: all that are left."""

TEST_SHARE = 0.2
"""Share of each class that a pooled protocol tests."""

PROTOCOLS: dict[str, Protocol] = {
    "one-vs-rest": Protocol("the named class is normal, all other classes are abnormal", "class"),
    "leave-one-class-out": Protocol("the named class is abnormal, all other classes are normal", "others"),
    "normal-vs-abnormal": Protocol("the data set or the command says which classes are normal"),
    # GANomaly, Skip-GANomaly, SAGAN, and Zaware et al.: 45,000 images of CIFAR-10 to train on, 9,000 normal and 6,000
    # abnormal ones to test.
    "leave-one-class-out-all": Protocol(
        "the named class is abnormal, all other classes are normal; the abnormal images of both parts are tested",
        "others", "abnormal of both",
    ),
    # PANDA, after EGBAD: 80 % to 20 % of all images. GANomaly's code can split the normal ones alone instead, and
    # PANDA names both papers.
    "leave-one-class-out-80-20": Protocol(
        "the named class is abnormal, all other classes are normal; both parts are pooled, a fifth of each class is "
        "tested, and the abnormal images of the other four fifths are left out",
        "others", "pooled",
    ),
    # PANDA on Plant Village: {train : validate : test} = {13,593 : 2,589 : 12,661}. What is in each list is not
    # printed. Here all diseased images are the last number, and the normal ones that they are told from the second.
    "healthy-vs-diseased": Protocol(
        "classes whose name ends with 'healthy' are normal, all others are abnormal; both parts are pooled, and the "
        "lists have the numbers of images that --split gives",
        "healthy", "counted", counts=(13_593, 2_589, 12_661),
    ),
    # Zaware et al. on MVTec-AD: patches of 256 pixels; masks say which patches are abnormal.
    "patches": Protocol(
        "patches of the files' own resolution are judged, each by itself; those that show a defect are abnormal, and "
        "the rest of a defective image is left out",
        units="patches", layouts=("mvtec",), size=256,
    ),
    # Zaware et al. on SIXray (and the other reading of their text on MVTec-AD): regions of interest.
    "regions": Protocol(
        "patches of the files' own resolution of normal images, and one region around each threat or defect, are "
        "judged, each by itself",
        units="regions", layouts=("sixray", "mvtec"), size=256,
    ),
    # PANDA on UCSD, and the literature on it.
    "frames": Protocol("frames of videos are judged, each by itself", layouts=("ucsd",)),
}  # fmt: skip
"""All protocols by name."""


def protocol_of(name: str) -> Protocol:
    """Find a protocol by its name; DataError if there is none."""
    if name not in PROTOCOLS:
        raise DataError(f"protocol {name!r} is unknown. Choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def check_layout(name: str, layout: str) -> None:
    """Raise DataError if a protocol is not for a layout."""
    layouts = protocol_of(name).layouts
    if layouts and layout not in layouts:
        raise DataError(
            f"the protocol {name} is for data in the layout {' or '.join(layouts)}, not {layout}. Choose another "
            "protocol, or say what the folder holds by --layout."
        )
