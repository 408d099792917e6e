"""GAN-based anomaly detection (GBAD) for finding rare threats in X-ray images of baggage."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gbad.errors import DataError, GbadError, ImageError, PipelineFileError, RunError
    from gbad.explanation import Explanation
    from gbad.pipeline import GBADPipeline, load
    from gbad.training.presets import preset

    __version__: str

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
    # Importing PyTorch takes seconds: `import gbad` and `gbad --help` do without until it is needed. A version is read
    # from the package's metadata, and what reads them takes as long as all else of `import gbad`.
    if name not in __all__:
        raise AttributeError(f"module 'gbad' has no attribute {name!r}")
    if name == "__version__":
        return import_module("importlib.metadata").version("gbad")
    return getattr(import_module(f"gbad.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
