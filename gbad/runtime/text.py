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


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "alarm")
    ('1 image', '1,200 alarms')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
