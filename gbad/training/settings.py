"""The settings of a pipeline: name, type, default, range, unit and help of each, once.

The constructor of `gbad.GBADPipeline`, the options of ``gbad train`` and ``gbad refit``, the checks, ``run.json``,
pipeline files and the methods of the benchmark all come from `Settings`. This module imports no PyTorch, so that
``gbad --help`` is quick.
"""
# Without `from __future__ import annotations`: the types of the fields are read at run time.

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ForwardRef,
    Literal,
    Optional,
    ParamSpec,
    Self,
    Union,
    get_args,
    get_origin,
)

from gbad.errors import GbadError

if TYPE_CHECKING:
    from gbad.phase2_anomaly import BiGANDetector, FeatureDetector, ImageAnomalyDetector
    from gbad.phase3_gate import ThreatGate

_P = ParamSpec("_P")

Backbone = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "inception_v3", "efficientnet_lite0",
    "efficientnet_lite1", "efficientnet_lite2",
]  # fmt: skip
Architecture = Literal["fpn", "plain", "chr"]
Pooling = Literal["average", "max"]
Fusion = Literal["hidden", "logits", "context"]
FpnForm = Literal["full", "light"]
ChrMask = Literal["none", "released", "hierarchical"]
ChrPrediction = Literal["deepest", "average"]
Negatives = Literal["fixed", "fresh", "hard", "natural", "all"]
Augmentation = Literal["standard", "strong"]
Optimiser = Literal["sgd", "adamw"]
Precision = Literal["auto", "no", "bf16", "fp16"]
Device = Literal["auto", "cpu"]
Views = Literal[1, 2, 4]
GateFit = Literal["held-out", "paper"]
Suppression = Literal["hard", "soft"]
DetectorName = Literal["bigan", "gaussian", "neighbours", "isolation_forest", "one_class_svm"]
ImageDetectorName = Literal[
    "ganomaly", "skip_ganomaly", "sagan", "dense_skip", "panda_gan", "egbad", "anogan", "f_anogan", "vae"
]  # fmt: skip

GROUPS = {
    "data": "Data and machine",
    "classifier": "Phase 1: classifier",
    "detector": "Phase 2: anomaly detector",
    "regions": "Second look: phases 1 and 2 on regions",
    "gate": "Phase 3: gate",
}
"""Groups of settings, and their titles. Only phase 3 depends on the settings of the group ``gate``."""


@dataclass(frozen=True)
class Option:
    """What is known of a setting beside its name, type and default.

    Attributes
    ----------
    group : str
        Key of `GROUPS`.
    help : str
        One or two short sentences.
    unit : str
        Of a number, if it has one.
    low, high : float
        Range of a number.
    open : str
        Which ends do not belong to the range: ``"low"``, ``"high"``, ``"both"`` or ``""``.
    flag : str
        Name of the option on the command line, without dashes; empty for a setting that only Python has.
    """

    group: str
    help: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    open: str = ""
    flag: str = "same"

    def contains(self, value: float) -> bool:
        """Whether a number is in the range; NaN and infinity never are."""
        above = value > self.low if self.open in ("low", "both") else value >= self.low
        below = value < self.high if self.open in ("high", "both") else value <= self.high
        return math.isfinite(value) and above and below

    @property
    def range(self) -> str:
        """The range in words, such as ``"from 1"``; empty if there is none."""
        low = {True: "above", False: "from"}[self.open in ("low", "both")] + f" {self.low:g}"
        high = {True: "below", False: "at most"}[self.open in ("high", "both")] + f" {self.high:g}"
        return " and ".join(text for text, bound in ((low, self.low), (high, self.high)) if math.isfinite(bound))


def _setting(group: str, default: Any, help: str, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={"option": Option(group, help, **more)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a pipeline; the help of each is in its field, see `options`.

    An instance is only data: `gbad.training.checks.check_settings` says whether it can work.
    """

    backbone: Backbone = _setting("classifier", "resnet34", "Network that gives the features of an image.")
    architecture: Architecture = _setting(
        "classifier", "fpn",
        "fpn: the paper's feature pyramid; plain: the backbone with one layer; chr: class-balanced hierarchical "
        "refinement (Miao et al. 2019).",
    )  # fmt: skip
    size: int = _setting("data", 224, "Side to which images are warped.", unit="px", low=32)
    pretrained: bool = _setting("classifier", True, "Start from ImageNet weights if they can be had.")
    weights: str | None = _setting("classifier", None, "Local file of backbone weights.")
    pooling: Pooling = _setting(
        "classifier",
        "max",
        "How each level of the pyramid is pooled: average as in the paper, or the maximum behind a ReLU.",
    )
    fusion: Fusion = _setting(
        "classifier", "context",
        "What the pyramid averages. hidden: hidden layers, as in the paper; logits; context: hidden layers and a plain "
        "network.",
    )  # fmt: skip
    start: str | None = _setting(
        "classifier", None,
        "What training starts from: a pipeline, by its file or by the name of one that comes with gbad, or imagenet. "
        "Default: simulated-bags where backbone and architecture are its own, else ImageNet weights.",
    )  # fmt: skip
    fpn_width: int | None = _setting(
        "classifier", None, "Channels of each level of the pyramid. Default: what suits the backbone.", low=1
    )
    fpn_form: FpnForm | None = _setting(
        "classifier", None,
        "Convolutions of the pyramid: full as published, or light, with a fifteenth of their arithmetic, for speed: "
        "without boxes its evidence points at threats less often. Default: what start has, else full.",
    )  # fmt: skip
    head_width: int | None = _setting(
        "classifier", None, "Outputs of each of FC1 to FC4. Default: what suits the backbone.", low=1
    )
    position_weight: float = _setting(
        "classifier", 0.0,
        "Weight of the positions of threats in the loss. Above 0 the pyramid also learns from boxes, on the command "
        "line those of DATA/Annotation.",
        low=0,
    )  # fmt: skip
    chr_mask: ChrMask = _setting(
        "classifier", "hierarchical", "What chr leaves out of its loss: released is the mask of the published code."
    )
    chr_threshold: float | None = _setting(
        "classifier", None, "Logit of the mask of chr. Default: what the mask needs.", flag=""
    )
    chr_prediction: ChrPrediction = _setting(
        "classifier", "deepest", "Which level of chr predicts, or whether it is their average.", flag=""
    )
    frozen_stages: int | None = _setting(
        "classifier", None, "Stages of a pretrained backbone that are not trained. Default: what suits the backbone.",
        low=0, flag="",
    )  # fmt: skip
    frozen_norm: bool | None = _setting(
        "classifier", None, "Fold batch normalisation into the weights. Default: what suits the backbone.", flag=""
    )
    epochs: int = _setting(
        "classifier", 15, "Passes over the training set of phase 1. 0 keeps the classifier of start as it is.", low=0
    )
    batch_size: int = _setting("classifier", 32, "Images in a batch of phase 1.", low=2)
    optimiser: Optimiser | None = _setting(
        "classifier", None, "Optimiser of phase 1. Default: what suits the backbone."
    )
    learning_rate: float | None = _setting(
        "classifier", None, "Largest learning rate. Default: what suits the backbone.", low=0, open="low"
    )
    weight_decay: float = _setting("classifier", 1e-4, "Weight decay of the optimiser.", low=0, flag="")
    ema_decay: float = _setting(
        "classifier", 0.999, "Decay of the moving average of the weights, which is the classifier.", low=0, high=1,
        open="high", flag="",
    )  # fmt: skip
    negatives: Negatives = _setting(
        "classifier", "fresh",
        "Threat-free images of an epoch: fixed draws them once as in the paper, fresh draws them anew, hard takes half "
        "of them from the hardest, natural keeps the list's share, all takes the whole list.",
    )  # fmt: skip
    augmentation: Augmentation = _setting(
        "classifier", "standard", "strong: any rotation and other colours, for images of other scanners."
    )
    precision: Precision = _setting("classifier", "auto", "Number format in which phase 1 is trained.")
    device: Device = _setting("data", "auto", "auto takes an accelerator if PyTorch sees one.", flag="")
    detector: DetectorName | "BiGANDetector | FeatureDetector" = _setting(
        "detector", "bigan", "Detector on the classifier's features; bigan is the paper's."
    )
    image_detector: ImageDetectorName | "ImageAnomalyDetector[Any]" | None = _setting(
        "detector", None, "Image-level detector whose anomaly score is one more loss for the gate."
    )
    views: Views = _setting(
        "detector", 1, "Mirrored views of an image whose mean is scored, at as many times the cost."
    )
    max_negatives: int = _setting(
        "detector",
        50_000,
        "Largest number of threat-free images from the training part, and again from the validation part.",
        low=2,
    )
    second_look: bool = _setting(
        "regions", True,
        "Look again, at a higher resolution, at the regions that could be a threat: a second classifier learns to tell "
        "threats from what fools the first.",
    )  # fmt: skip
    region_size: int = _setting("regions", 128, "Side of a region.", unit="px", low=32)
    regions: int = _setting("regions", 4, "Largest number of regions of an image.", low=1)
    region_epochs: int | None = _setting(
        "regions", None,
        "Passes over the training set of regions. Default: 6 to 12, the more the fewer regions there are. 0 keeps the "
        "second classifier of start.",
        low=0,
    )  # fmt: skip
    class_heads: bool = _setting(
        "gate", True, "Mix in linear heads on the features of all images where they rank the validation part better."
    )
    gate: Optional["ThreatGate"] = _setting("gate", None, "The gate to fit. Default: what suits gate_fit.", flag="")
    gate_fit: GateFit = _setting(
        "gate", "held-out", "Rows the gate is fitted on: the validation part, or as in the paper the training part."
    )
    suppression: Suppression = _setting(
        "gate", "soft",
        "What the gate does to images that look normal: hard multiplies by epsilon as in the paper, soft by "
        "P(anomalous) to the power of alpha.",
    )  # fmt: skip
    epsilon: float = _setting("gate", 1e-3, "Factor of the hard gate.", low=0, high=1, open="low")
    alpha: float | None = _setting(
        "gate", None, "Exponent of the soft gate. Default: chosen on the validation part; 0 is no gate.", low=0
    )
    prevalence: float | None = _setting(
        "gate", None,
        "Share of images with a threat that phase 3 chooses for. Default: the share in the validation part.",
        low=0, high=1, open="both",
    )  # fmt: skip
    second_look_share: float = _setting(
        "gate", 0.2,
        "Share of threat-free images that are looked at twice: those that look most like a threat. 0 leaves the second "
        "look out.",
        low=0, high=1,
    )  # fmt: skip
    validation_fraction: float = _setting(
        "data", 0.2,
        "Share of the training list that phases 1 and 2 leave to phase 3. 0, with --preset paper: nothing is held out.",
        low=0, high=1, open="high",
    )  # fmt: skip
    random_state: int = _setting("data", 0, "Equal seeds give equal pipelines on the same machine.", low=0, flag="seed")

    def check_values(self) -> None:
        """Check the choices, types and ranges of all settings that are texts or numbers.

        Raises
        ------
        GbadError
            Names the setting, its value and what it may be.
        """
        for name in options():
            _check_value(name, getattr(self, name))

    def changed(self, **changes: Any) -> Self:
        """Settings with some values replaced; GbadError if a name is unknown."""
        known = options()
        if unknown := sorted(changes.keys() - known.keys()):
            raise GbadError(f"unknown settings {', '.join(unknown)}; choose from {', '.join(known)}")
        return dataclasses.replace(self, **changes)


def gate_strength(settings: Settings) -> float | None:
    """Strength of the gate, ε of the hard rule or α of the soft rule; None where α is to be chosen."""
    return settings.epsilon if settings.suppression == "hard" else settings.alpha


def options() -> dict[str, Option]:
    """What is known of each setting, by name, in the order of `Settings`."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(Settings)}


def defaults() -> dict[str, Any]:
    """Default of each setting, by name."""
    return {field.name: field.default for field in dataclasses.fields(Settings)}


def of_group(group: str) -> tuple[str, ...]:
    """Names of the settings of a group of `GROUPS`."""
    return tuple(name for name, option in options().items() if option.group == group)


def kinds(name: str) -> tuple[Any, ...]:
    """What a setting may be: values of a choice, ``int``, ``float``, ``bool``, ``str``, ``NoneType``.

    A fitted object, whose class this module does not import, is a `ForwardRef`.
    """
    return _alternatives(next(field.type for field in dataclasses.fields(Settings) if field.name == name))


def choices(name: str) -> tuple[Any, ...]:
    """Values of a setting with choices; empty for other settings."""
    return tuple(kind for kind in kinds(name) if not isinstance(kind, (type, ForwardRef)))


def takes_settings(
    settings_class: Callable[_P, Settings],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, _P], None]]:
    """Decorate a constructor ``(self, **settings)`` so that it has the signature of `settings_class`.

    Type checkers, `inspect.signature` and scikit-learn's ``get_params`` then see each setting by name.
    """

    def decorate(constructor: Callable[..., None]) -> Callable[Concatenate[Any, _P], None]:
        def with_settings(self: Any, /, *args: _P.args, **settings: _P.kwargs) -> None:
            constructor(self, *args, **settings)

        update_wrapper(with_settings, constructor)
        own = inspect.signature(settings_class)
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        with_settings.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[first, *own.parameters.values()], return_annotation=None
        )
        return with_settings

    return decorate


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return tuple(kind for part in get_args(hint) for kind in _alternatives(part))
    return (hint,)


def _check_value(name: str, value: Any) -> None:
    may_be, known, option = kinds(name), choices(name), options()[name]
    if value is None and NoneType in may_be:
        return
    of_objects = any(isinstance(kind, ForwardRef) for kind in may_be)  # `gbad.training.checks` looks at objects
    if known and (not of_objects or value is None or isinstance(value, str)):
        is_known = not isinstance(value, bool) and any(value is one or value == one for one in known)
        if not is_known:
            raise GbadError(f"unknown {name} {value!r}; choose one of {', '.join(map(str, known))}", settings=(name,))
        return
    if of_objects:
        expected = None
    elif bool in may_be:
        is_flag = isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's own
        expected = None if is_flag else "True or False"
    elif str in may_be:
        expected = None if isinstance(value, (str, Path)) else "a text or a path"
    else:
        whole = float not in may_be
        # NumPy's numbers count as such; to import it for them would slow `gbad --help` down.
        fits = (
            isinstance(value, numbers.Integral if whole else numbers.Real)
            and not isinstance(value, bool)
            and option.contains(float(value))
        )
        expected = None if fits else f"a {'whole ' if whole else ''}number {option.range}".rstrip()
    if expected is not None:
        raise GbadError(f"{name} must be {expected}, not {value!r}", settings=(name,))
