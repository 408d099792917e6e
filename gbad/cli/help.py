"""The help of a command: options in panels, each with all that is known of it, and nothing cut at 80 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from gbad.training.settings import GROUPS

FIRST = "What matters first"
"""Panel of the options that most calls need. It stands before all others."""

_OTHERS = "Other options"
_NARROW = 34  # columns for the names of options: the longest of them fit, and so do the longest words of the help


class Command(TyperCommand):
    """A command whose help has a line for each name of an option beside its text; typer's own has six columns."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """How the command is called, behind its name: what a message about a wrong call shows."""
        named = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return ["[OPTIONS]", *map(_argument, named)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help: how the command is called, what it does, and a panel for each group of its options."""
        console = Console()
        console.print(Text(" ".join(["\nUsage:", ctx.command_path, *self.collect_usage_pieces(ctx)]) + "\n"))
        console.print(Text(f"{(self.help or '').strip()}\n"))
        panels: dict[str, list[Any]] = {title: [] for title in ("Arguments", FIRST, *GROUPS.values())}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            title = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or _OTHERS
            panels.setdefault(title, []).append(parameter)
        panels[_OTHERS if panels[FIRST] else "Options"] = panels.pop(_OTHERS, [])
        for title, parameters in panels.items():
            if parameters:
                console.print(_panel(title, parameters, ctx))


def _panel(title: str, parameters: list[Any], ctx: Any) -> Panel:
    table = Table(show_header=False, box=None, expand=True, pad_edge=False)
    table.add_column(
        width=min(_NARROW, max(len(line) for one in parameters for line in _names(one, ctx))), style="cyan"
    )
    table.add_column(ratio=1, overflow="fold")
    for parameter in parameters:
        table.add_row(Text("\n".join(_names(parameter, ctx))), escape(_text(parameter)))
    return Panel(table, title=title, title_align="left", box=box.ROUNDED, border_style="dim")


def _names(parameter: Any, ctx: Any) -> list[str]:
    """Names of a parameter, and what its value is, one a line."""
    if parameter.param_type_name == "argument":
        return [_argument(parameter)]
    kind = "" if parameter.secondary_opts or parameter.is_flag else _kind(parameter, ctx)
    shortest_last = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    return [f"{shortest_last} {kind}".rstrip(), *parameter.secondary_opts]


def _argument(parameter: Any) -> str:
    return f"{parameter.metavar or parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}"


def _kind(parameter: Any, ctx: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    shown = parameter.display_type(ctx) if hasattr(parameter, "display_type") else parameter.type.name
    return str(shown or "").split(" range")[0].strip("<>").join("<>")


def _text(parameter: Any) -> str:
    """What a parameter is, its range, and its default."""
    holder = parameter if hasattr(parameter, "min") else getattr(parameter, "type", None)
    low, high = getattr(holder, "min", None), getattr(holder, "max", None)
    parts = [f"from {low:g}"] if low is not None else []
    parts += [f"at most {high:g}"] if high is not None else []
    notes = [" and ".join(parts)] if parts else []
    if parameter.required:
        notes.append("required")
    elif getattr(parameter, "secondary_opts", None):
        if parameter.default is not None:
            notes.append(f"default: {(parameter.opts if parameter.default else parameter.secondary_opts)[0][2:]}")
    elif parameter.default is not None and not getattr(parameter, "is_flag", False):
        notes.append(f"default: {parameter.default}")
    return " ".join([parameter.help or "", *(f"[{note}]" for note in notes)])
