"""The command line that repeats a run."""

import shlex
from dataclasses import asdict, fields
from typing import Any

from tiltflow.agents.registry import preset
from tiltflow.training.config import TrainConfig


def train_command(config: dict[str, Any]) -> str:
    """The `tiltflow train` that gives the content of a config.json, without what is the default anyway."""
    agent = asdict(preset(config["algorithm"], config["task"]))
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    options = {"task": config["task"]}
    for name, default in defaults.items():
        if name not in ("algorithm", "task", "agent") and config.get(name, default) != default:
            options[name] = config[name]
    options |= _changes("set", config["agent"], agent)
    options.pop("play", None)  # when it was played changes nothing
    words = ["tiltflow", "train", config["algorithm"]]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _changes(prefix: str, values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The leaves of a nested dict that differ from the defaults, by dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _changes(f"{prefix}.{name}", value, defaults.get(name, {}))
        elif name not in defaults or defaults[name] != value:
            found[f"{prefix}.{name}"] = value
    return found
