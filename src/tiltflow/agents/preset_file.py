"""A preset as a file: what `tiltflow tune` writes and `--preset FILE` takes. Standard library only."""

from pathlib import Path
from typing import Any

from tiltflow.agents.presets import Preset
from tiltflow.errors import UserError
from tiltflow.files import read_object, write_json

_SUFFIX = ".json"


def is_preset_file(name: str) -> bool:
    """Whether `--preset` names a file: it ends in .json."""
    return name.endswith(_SUFFIX)


def write_preset_file(path: Path, preset: Preset) -> None:
    """Write the algorithm, the task, the settings that differ from its defaults, and their source."""
    record = {
        "algorithm": preset.algorithm,
        "task": preset.tasks,
        "source": preset.source,
        "steps": preset.steps,
    }
    write_json(path, {**record, "settings": dict(preset.rows)})


def read_preset_file(path: Path, algorithm: str, default: Any) -> Preset:
    """The preset of a file, for any task of this algorithm, whose default settings are given.

    Raises UserError that names the file and the key where it is of another algorithm or does not fit.
    """
    record = read_object(path, "algorithm", "source", "settings")
    if record["algorithm"] != algorithm:
        raise UserError(f"The preset {path} is of {record['algorithm']}, not of {algorithm}.")
    steps = record.get("steps")
    if not isinstance(record["settings"], dict) or not (
        steps is None or (isinstance(steps, int) and steps > 0)
    ):
        raise UserError(
            f"{path} is damaged: 'settings' must be a JSON object, 'steps' a whole number or null."
        )
    preset = Preset(algorithm, "", default, record["settings"], str(record["source"]), steps)
    try:
        _ = preset.config
    except UserError as error:
        raise UserError(f"The preset {path}: {error}") from error
    return preset
