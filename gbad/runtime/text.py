"""Texts that any terminal can show."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""Escape the bytes of a file name that is not UTF-8, which no terminal can show.

    Examples
    --------
    >>> printable("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")
