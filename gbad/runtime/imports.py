"""Imports of many modules, sooner done: some modules load when they are first used, and no garbage is looked for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


def postpone(name: str) -> None:
    """Let a module load when something of it is first used; nothing happens if it is loaded already.

    scikit-learn imports ``scipy.stats``, which takes a good tenth of the time of a first score, for functions that
    scoring never calls. What is set holds for the whole process, so only commands set it.

    Parameters
    ----------
    name : str
        Full name of a module. Until it loads, `sys.modules` has a stand-in. (With `importlib.util.LazyLoader`, Python
        3.11 loads a module at its first import statement.)
    """
    if name in sys.modules:
        return
    stand_in = ModuleType(name)

    def load(attribute: str) -> Any:
        # Python and debuggers look at such names of all modules; the path is asked for to find what is in a package.
        if attribute.startswith("__") and attribute != "__path__":
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    stand_in.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = stand_in


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage inside the block: imports make many objects, almost all of which stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
