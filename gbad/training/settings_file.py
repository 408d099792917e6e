"""Settings as texts: a configuration file in TOML, and assignments such as ``detector.min_steps=300``."""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sklearn.base import clone

from gbad.errors import GbadError
from gbad.phase3_gate import default_gate
from gbad.storage.reading import read_regular
from gbad.training.phase2 import make_detector, make_image_detector
from gbad.training.plain_settings import to_plain
from gbad.training.settings import GROUPS, Settings, choices, kinds, of_group, options

OBJECTS = ("detector", "image_detector", "gate")
"""Settings that have parameters of their own: a table of the file, ``detector.NAME`` in an assignment."""

_DETECTORS = OBJECTS[:2]  # those of which there are several

_KIND = "kind"  # in a table: name of the detector
_NONE = "none"  # TOML has no null


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Parameters
    ----------
    path : path-like
        TOML: settings by their names in Python; tables ``[detector]``, ``[image_detector]`` and ``[gate]`` hold
        parameters of these, and ``kind`` the name of the detector. ``"none"`` stands for None.

    Returns
    -------
    dict
        For `changed_by`.

    Raises
    ------
    GbadError
        If the file cannot be read, or names something that is no setting.
    """
    try:
        content = tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except OSError as error:
        raise GbadError(f"{path}: cannot be read ({error.strerror}). Give a TOML file of settings.") from error
    except ValueError as error:
        raise GbadError(f"{path}: not valid TOML ({error}). See `gbad train DATA --print-config`.") from error
    try:
        return _checked(content)
    except GbadError as error:
        raise GbadError(f"{path}: {error}") from error


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` and ``detector.NAME=VALUE``; values are as in TOML, or else text.

    A detector's own name chooses it, too: ``bigan.epochs=50`` is ``detector=bigan`` and ``detector.epochs=50``.

    Raises
    ------
    GbadError
        If there is no such setting, or two detectors are named.

    Examples
    --------
    >>> read_assignments(["weight_decay=1e-5", "detector.min_steps=300", "device=cpu"])
    {'weight_decay': 1e-05, 'detector': {'min_steps': 300}, 'device': 'cpu'}
    """
    found: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        owner, _, parameter = name.strip().rpartition(".")
        if not equals or not parameter:
            raise GbadError(f"--set {text}: write NAME=VALUE, such as weight_decay=1e-5 or detector.min_steps=300.")
        if owner:
            setting = next((one for one in _DETECTORS if owner in choices(one)), owner)
            more = {parameter: _value(value)} | ({} if setting == owner else {_KIND: owner})
        elif parameter in OBJECTS:
            setting, more = parameter, {_KIND: _value(value)}
        else:
            found[parameter] = _value(value)
            continue
        table = tables.setdefault(setting, {})
        if _KIND in table and more.get(_KIND, table[_KIND]) != table[_KIND]:
            raise GbadError(f"--set {text}: {setting} is {table[_KIND]} already. Name one of them.")
        table |= more
        found[setting] = table
    try:
        return _checked(found)
    except GbadError as error:
        raise GbadError(f"--set: {error}") from error


def changed_by(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with some values replaced, those of parameters of detectors and of the gate, too.

    Parameters
    ----------
    settings : Settings
    values : mapping
        As from `read_settings` and `read_assignments`.

    Raises
    ------
    GbadError
        If a name is unknown.
    """
    tables = {name: dict(value) for name, value in values.items() if isinstance(value, Mapping)}
    settings = settings.changed(**{name: value for name, value in values.items() if name not in tables})
    settings = settings.changed(**{name: table.pop(_KIND) for name, table in tables.items() if _KIND in table})
    settings.check_values()  # what is named must be there before its parameters are
    for name, parameters in tables.items():
        if parameters:
            settings = settings.changed(**{name: _with_parameters(settings, name, parameters)})
    return settings


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of values from several, of which later ones have the last word; parameters of one detector add up."""
    found: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            before = found.get(name)
            if isinstance(value, Mapping) and _KIND not in value:
                before = before if isinstance(before, Mapping) else {} if before is None else {_KIND: before}
                value = {**before, **value}
            found[name] = value
    return found


def settings_text(settings: Settings) -> str:
    """All settings as a configuration file that `read_settings` reads, each with its help."""
    plain, lines, tables = to_plain(settings), [], []
    for group, title in GROUPS.items():
        lines += ["", f"# {title}"]
        for name in of_group(group):
            help_text, value = f"{options()[name].help} {_may_be(name)}".rstrip(), plain[name]
            if isinstance(value, Mapping):
                tables += _table(name, value)
                continue
            lines += ["", *textwrap.wrap(help_text, 98, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"# {name} is not set" if value is None else f"{name} = {_toml(value)}")
    return "\n".join([*lines[1:], *tables]) + "\n"


def _table(name: str, value: Mapping[str, Any]) -> list[str]:
    parameters = {_KIND: value[_KIND], **value["params"]} if _KIND in value else dict(value)
    return ["", f"[{name}]", *(f"{key} = {_toml(_NONE if one is None else one)}" for key, one in parameters.items())]


def _toml(value: Any) -> str:
    """A number, text, flag or list as TOML, which writes them as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _may_be(name: str) -> str:
    known = ", ".join(map(str, choices(name)))
    return f"({known})" if known else ""


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _checked(content: Mapping[str, Any]) -> dict[str, Any]:
    known = options()
    if unknown := sorted(content.keys() - known.keys()):
        raise GbadError(f"unknown settings {', '.join(unknown)}; choose from {', '.join(known)}")
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            if name not in OBJECTS:
                raise GbadError(f"{name} has no parameters of its own; {', '.join(OBJECTS)} have")
            table: dict[str, Any] = {key: None if one == _NONE else _sequence(one) for key, one in value.items()}
            found[name] = table
        else:
            is_none = value == _NONE and _NONE not in choices(name) and type(None) in kinds(name)
            found[name] = None if is_none else value
    return found


def _sequence(value: Any) -> Any:
    """Constructors have their sequences as tuples."""
    return tuple(map(_sequence, value)) if isinstance(value, list) else value


def _with_parameters(settings: Settings, name: str, parameters: dict[str, Any]) -> Any:
    """The detector or the gate that the settings ask for, with other parameters."""
    given, known_names = getattr(settings, name), choices(name)
    if given is not None and given not in known_names and not hasattr(given, "get_params"):
        may_be = f"one of {', '.join(known_names)}" if known_names else "a table of parameters, such as gate.C=1"
        raise GbadError(f"{name} must be {may_be}, not {given!r}", settings=(name,))
    if name == "gate":
        made: Any = default_gate(settings.gate_fit) if settings.gate is None else clone(settings.gate)
    else:
        made = make_detector(settings) if name == "detector" else make_image_detector(settings)
    if made is None:
        raise GbadError(
            f"{name} is not set, so it has no {', '.join(parameters)}. Name one: {name}={choices(name)[0]}."
        )
    known = made.get_params()
    if unknown := sorted(parameters.keys() - known.keys()):
        raise GbadError(f"{name} has no {', '.join(unknown)}; choose from {', '.join(known)}")
    return made.set_params(**parameters)
