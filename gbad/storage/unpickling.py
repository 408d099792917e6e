"""Unpickle numbers, texts and bytes in containers. A few hostile bytes cannot take gigabytes or hours."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn

_DEEPEST = 100
"""Levels of containers that are allowed. A pipeline file has fewer than ten."""


# Python's own unpickler, because it keeps its memo in a dict: in the one written in C, five bytes can ask for 64 GB.
class PlainUnpickler(pickle._Unpickler):
    """Unpickler without sets, bytearrays, and keys other than texts and bytes. Subclasses define `find_class`.

    Nine bytes can ask for a bytearray of any length, which is filled at once. A tuple in a set or as a key is hashed:
    that takes twice as long with each level of ``t = t, t``, and ends the process if tuples are nested too deeply.
    """

    def load_dict(self) -> None:
        """Read a dict with its items."""
        _check_keys(self.stack[::2])  # type: ignore[attr-defined]  # the part above the mark
        super().load_dict()  # type: ignore[misc]

    def load_setitem(self) -> None:
        """Read an item of a dict."""
        _check_keys(self.stack[-2:-1])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        """Read items of a dict."""
        _check_keys(self.stack[::2])  # type: ignore[attr-defined]
        super().load_setitems()  # type: ignore[misc]

    def refuse(self) -> NoReturn:
        """Refuse a bytearray or a set."""
        raise pickle.UnpicklingError("it holds a bytearray or a set")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = pickle._Unpickler.dispatch | {
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.BYTEARRAY8[0]: refuse,
        pickle.EMPTY_SET[0]: refuse,
        pickle.ADDITEMS[0]: refuse,
        pickle.FROZENSET[0]: refuse,
    }


def _check_keys(keys: Iterable[Any]) -> None:
    for key in keys:
        if not isinstance(key, (str, bytes)):
            raise pickle.UnpicklingError(f"it holds a {type(key).__name__} as a key")


def check_tree(value: Any) -> None:
    """Raise ValueError if a dict, list, tuple or bytes object stands in two places, or is nested too deeply.

    A walk through ``a = [a, a]`` takes twice as long with each level, and never ends if a list holds itself.
    """
    seen: set[int] = set()
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        # Python has only one empty tuple, one empty bytes object, and one object for each single byte.
        if not isinstance(item, (dict, list, tuple, bytes)) or not item or (isinstance(item, bytes) and len(item) == 1):
            continue
        if id(item) in seen:
            raise ValueError(f"the same {type(item).__name__} in several places")
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels of containers")
        seen.add(id(item))
        if not isinstance(item, bytes):
            pending += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
