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
