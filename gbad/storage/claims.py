"""Whether a folder is about the same thing as what is asked for. Imports no PyTorch: many processes would load it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gbad.errors import RunError
from gbad.storage.files import read_json


def read_claim(head: Path, content: dict[str, Any], what: str, results: Sequence[str]) -> dict[str, Any] | None:
    """Read what a folder is about, and make sure that it is the same as what is asked for.

    Parameters
    ----------
    head : Path
        JSON file in the folder.
    content : dict
        JSON types: what must be equal to continue. Under ``settings``, each setting is compared by itself.
    what : str
        Name of what the folder holds, for messages: ``"run"``.
    results : sequence of str
        Files and folders that only stand beside `head`.

    Returns
    -------
    dict or None
        Content of the file; None if the folder has neither the file nor results.

    Raises
    ------
    RunError
        If the folder is about something else, the file is damaged, or there are results without the file.
    """
    folder, remedy = head.parent, f"Choose another {what} folder"
    if not head.exists():
        if any(
            path.is_file() or (path.is_dir() and any(path.iterdir())) for path in (folder / name for name in results)
        ):
            raise RunError(f"{folder} holds results of an unknown {what}. {remedy}.")
        return None
    known = read_json(head)
    if not isinstance(known, dict) or ("settings" in content and not isinstance(known.get("settings"), dict)):
        raise RunError(f"{head}: damaged, it holds no settings. Restore it, or choose another {what} folder.")
    there, asked = _flat(known), _flat(json.loads(json.dumps(content)))
    keys = [*asked, *(key for key in there if key not in asked and key[0] == "settings")]
    if different := [key for key in keys if there.get(key) != asked.get(key)]:
        names = ", ".join(name for _, name in different)
        values = {key[1]: (there.get(key), asked.get(key)) for key in different}
        brief = {name: pair for name, pair in values.items() if all(map(_is_brief, pair))}
        details = "".join(f" {name}: there {old}, asked for {new}." for name, (old, new) in brief.items())
        raise RunError(f"{folder} holds a {what} with another {names}. {remedy}, or delete this one.{details}")
    return known


def _flat(content: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Values by level and name: those below ``settings`` on a level of their own."""
    outer = {("", name): value for name, value in content.items() if name != "settings"}
    return outer | {("settings", name): value for name, value in content.get("settings", {}).items()}


def _is_brief(value: Any) -> bool:
    """Whether a message can show a value: numbers and short texts, but no digests."""
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) < 24)
