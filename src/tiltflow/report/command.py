"""The command line that repeats a run."""

import shlex
from dataclasses import asdict, fields
from typing import Any

from tiltflow.agents.registry import PRESETS, has_published, named_preset
from tiltflow.settings import diff, flat
from tiltflow.train_config import TrainConfig, with_defaults


def train_command(config: dict[str, Any]) -> str:
    """The shortest `tiltflow train` that gives the content of a config.json, of those with each preset."""
    names = [name for name in PRESETS if name == PRESETS[0] or has_published(config["algorithm"])]
    complete = with_defaults(config)  # a setting that came later had its default
    commands = [_words(complete, name) for name in names]
    shortest = min(range(len(commands)), key=lambda place: len(commands[place]))
    longer = [f"tiltflow train --resume RUN --steps {steps}" for steps in complete.get("ends", [])[1:]]
    return "\n".join([shlex.join(commands[shortest]), *longer])


def _words(config: dict[str, Any], name: str) -> list[str]:
    """The command with that preset, without what is the default then."""
    preset = named_preset(config["algorithm"], config["task"], name)
    defaults = {field.name: field.default for field in fields(TrainConfig)} | {"estimate": None}
    defaults |= flat({"estimate": asdict(TrainConfig.estimate)})
    defaults["steps"] = preset.steps or TrainConfig.steps
    defaults["evaluations"] = preset.evaluations or TrainConfig.evaluations
    config = config | flat({"estimate": config["estimate"]}) | {"estimate": None}
    options = {"task": config["task"]} | ({} if name == PRESETS[0] else {"preset": name})
    for key, default in defaults.items():
        if key not in ("algorithm", "task", "agent", "ends") and config.get(key, default) != default:
            options[key] = config[key]
    options |= {f"set.{key}": value for key, (_, value) in diff(preset.config, config["agent"]).items()}
    options.pop("play", None)  # when it was played changes nothing
    words = ["tiltflow", "train", config["algorithm"]]
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return words
