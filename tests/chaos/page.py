"""``results/reliability.md``: what was tried, what held, and what did not."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chaos.disturbances import can_mount
from gbad.runtime.versions import hardware, library_versions

if TYPE_CHECKING:
    from chaos.__main__ import Kind

_HEAD = """# Reliability

What `make chaos` tried on a small data set with a small network, and what held. It works at random: it finds what
nobody thought of, and proves nothing. A trial that does not hold is an error of gbad, to be mended with a test of its
own. It is run again by its number in the last table: `PYTHONPATH=tests:. python -m chaos --only KIND --trial NUMBER`.
"""


def page(kinds: Mapping[str, Kind], seed: int, asked: float, minutes: float) -> str:
    """The page as Markdown.

    Parameters
    ----------
    kinds : mapping of str to Kind
        With what came of their trials.
    seed : int
        Of all trials.
    asked, minutes : float
        That all of it was to take, and took.
    """
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    machine = ", ".join(f"{name} {value}" for name, value in hardware().items())
    disk = "of a small disk and of a limit on the size of files" if can_mount() else "of a limit on the size of files"
    parts = [
        _HEAD,
        f"- Command: `make chaos MINUTES={asked:g} SEED={seed}`. It took {minutes:.0f} minutes, undisturbed "
        "runs included.\n"
        f"- Versions: {versions}.\n- Hardware: {machine}.\n- Full disks are those {disk}.\n",
        "| kind | what is tried, and what must hold | trials | files | held | not held |\n|---|---|---|---|---|---|",
        *(_row(name, kind) for name, kind in kinds.items()),
        "\n## How often what was tried\n",
        *(_counts(name, kind) for name, kind in kinds.items() if kind.held),
        "\n## Not held\n",
        _not_held(kinds),
    ]
    return "\n".join(parts) + "\n"


def _row(name: str, kind: Kind) -> str:
    held, lost = sum(kind.held.values()), len(kind.not_held)
    files = f"{(held + lost) * kind.files:,}" if kind.files > 1 else ""
    text = " ".join(inspect.getdoc(kind.trial).split())
    return f"| {name} | {text} | {held + lost:,} | {files} | {held:,} | {lost:,} |"


def _counts(name: str, kind: Kind) -> str:
    return f"- {name}, held: " + ", ".join(f"{what} {count:,}" for what, count in sorted(kind.held.items())) + "."


def _not_held(kinds: Mapping[str, Kind]) -> str:
    found = [(name, seed, text.splitlines()[0][:200]) for name, kind in kinds.items() for seed, text in kind.not_held]
    if not found:
        return "Nothing."
    rows = [f"| {name} | {seed} | {text.replace('|', '/')} |" for name, seed, text in found]
    return "\n".join(["| kind | number | what was found |", "|---|---|---|", *rows])
