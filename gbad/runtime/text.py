"""Texts that any terminal can show."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: object) -> str:
    r"""Escape what a terminal cannot show: bytes of a file name that is not UTF-8, and what would steer the terminal.

    Line feeds and tabs stay.

    Examples
    --------
    >>> printable("caf\udce9.jpg"), printable("\x1b[2J.jpg")
    ('caf\\udce9.jpg', '\\x1b[2J.jpg')
    """
    shown = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", shown)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "alarm")
    ('1 image', '1,200 alarms')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
