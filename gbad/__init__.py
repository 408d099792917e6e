"""GAN-based anomaly detection (GBAD) for finding rare threats in X-ray images of baggage."""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gbad.errors import DataError, GbadError, ImageError, PipelineFileError, RunError
    from gbad.explanation import Explanation
    from gbad.pipeline import GBADPipeline, load
    from gbad.training.presets import preset

__version__ = _version("gbad")

__all__ = [
    "DataError",
    "Explanation",
    "GBADPipeline",
    "GbadError",
    "ImageError",
    "PipelineFileError",
    "RunError",
    "__version__",
    "load",
    "preset",
]

_MODULES = {"Explanation": "explanation", "GBADPipeline": "pipeline", "load": "pipeline", "preset": "training.presets"}


def __getattr__(name: str) -> Any:
    # Importing PyTorch takes seconds: `import gbad` and `gbad --help` do without until it is needed.
    if name not in __all__:
        raise AttributeError(f"module 'gbad' has no attribute {name!r}")
    return getattr(import_module(f"gbad.{_MODULES.get(name, 'errors')}"), name)
