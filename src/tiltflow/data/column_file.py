"""What a user says of the columns of a log, in a TOML file beside it."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tiltflow.data.columns import (
    BOUNDS,
    VECTORS,
    ColumnChoice,
    checked_bounds,
    column_role,
    read_entries,
)
from tiltflow.errors import UserError

_LONGEST = 1000
FOLDER_CHOICE = "columns.toml"
"""The file beside data that says which of their columns is what; NAME.columns.toml is for the file NAME."""


def choice_file(place: Path) -> Path:
    """Where the choice of columns of a file or folder is written."""
    return place / FOLDER_CHOICE if place.is_dir() else place.with_suffix(f".{FOLDER_CHOICE}")


def common_folder(places: Sequence[Path]) -> Path:
    """The folder that all of these lie in."""
    return Path(os.path.commonpath([os.path.abspath(place.parent) for place in places]))


def stored_choice(place: Path, root: Path | None = None) -> ColumnChoice:
    """What a file beside the data, or above them up to the folder `root`, says of them; else nothing.

    Raises UserError naming the file and the key that is not one.
    """
    above = [
        folder for folder in Path(os.path.abspath(place)).parents[1:] if root and folder.is_relative_to(root)
    ]
    beside = [choice_file(place), *(folder / FOLDER_CHOICE for folder in (place.parent, *above))]
    file = next((file for file in beside if file.is_file()), None)
    if file is None:
        return ColumnChoice()
    try:
        with file.open("rb") as stream:
            record = tomllib.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as TOML: {error}") from error
    reward, low, high = (record.pop(key, None) for key in ("reward", *BOUNDS))
    if reward is not None and not isinstance(reward, str):
        raise UserError(f"{file}, key 'reward': {reward!r} is no text.")
    roles = {}
    for key, value in record.items():
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{file}, key {key!r}: {value!r} is neither a column nor a list of columns.")
        if any(len(name) > _LONGEST for name in names):  # looking for a pattern can take its length squared
            raise UserError(f"{file}, key {key!r}: a name has more than {_LONGEST:,} letters.")
        roles[column_role(key, str(file))] = tuple(names)
    if (low is None) != (high is None):
        raise UserError(f"{file} has one of {BOUNDS[0]} and {BOUNDS[1]}; it needs both or none.")
    bounds = None
    if low is not None:
        low, high = (
            read_entries(side if isinstance(side, list) else [side], str(file)) for side in (low, high)
        )
        bounds = checked_bounds(low, high, str(file))
    return ColumnChoice(roles, reward, bounds)


def choice_text(roles: Mapping[str, Sequence[str]], choice: ColumnChoice) -> str:
    """The TOML of a choice, as `stored_choice` reads it."""
    lines = ["# What the columns of these data are; see docs/data.md of tiltflow."]
    for role, names in roles.items():
        if names:
            texts = ", ".join(map(_toml_text, names))
            lines.append(f"{role} = [{texts}]" if role in VECTORS else f"{role} = {texts}")
    if choice.reward:
        lines.append(f"reward = {_toml_text(choice.reward)}")
    for key, side in zip(BOUNDS, choice.bounds or (), strict=False):
        lines.append(f"{key} = [{', '.join(map(repr, side))}]")
    return "\n".join(lines) + "\n"


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
