"""Unpickle numbers, texts and bytes in containers; a few hostile bytes can ask for neither gigabytes nor hours."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn

_DEEPEST = 100
"""Levels of containers; a pipeline file has less than ten."""


# The unpickler in Python: it keeps its memo in a dict, where the one in C lets five bytes ask for 64 GB.
class PlainUnpickler(pickle._Unpickler):
    """Unpickler without sets, bytearrays, and keys other than texts and bytes; `find_class` is left to subclasses.

    Nine bytes ask for a bytearray of any length, which is filled at once. The hash of a tuple, which its place in a set
    or as a key asks for, takes twice as long with each level of ``t = t, t``, and ends the process where tuples are
    nested too deeply.
    """

    def load_dict(self) -> None:
        """Read a dict with its items."""
        _check_keys(self.stack[::2])  # type: ignore[attr-defined]  # what lies above the mark
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
        """Refuse what no file of numbers, texts and bytes needs."""
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
    """Raise ValueError unless dicts, lists, tuples and bytes each stand in one place, and are not nested too deeply.

    Whatever walks through ``a = [a, a]`` takes twice as long with each level, and without end if a list holds itself.
    """
    seen: set[int] = set()
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        # Python has only one object each for an empty tuple, for no byte and for each single byte.
        if not isinstance(item, (dict, list, tuple, bytes)) or not item or (isinstance(item, bytes) and len(item) == 1):
            continue
        if id(item) in seen:
            raise ValueError(f"the same {type(item).__name__} in several places")
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels of containers")
        seen.add(id(item))
        if not isinstance(item, bytes):
            pending += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
