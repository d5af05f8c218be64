"""The files of a run folder: each one's name, and how it is read and written. Free of JAX and NumPy.

A group of seeds has a folder of its own, RUN/seeds/FIRST or RUN/seeds/FIRST-LAST. Its logs and actions have
the format of the run's, which are their join.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, final

from tiltflow.data.locate import listed_paths
from tiltflow.errors import UserError
from tiltflow.evaluation.lines import Line, read_evaluations, read_log, read_metrics
from tiltflow.files import (
    append_line,
    atomic_file,
    read_json,
    write_json,
    write_json_lines,
)
from tiltflow.json_records import checked_record
from tiltflow.processes.locks import LOCK
from tiltflow.remote_folder import MIRROR
from tiltflow.tasks import Task, find_task, without_rewards
from tiltflow.train_config import TrainConfig, from_dict, to_dict

if TYPE_CHECKING:
    import numpy as np


PATH_ARRAYS = ("positions", "goals", "seeds", "successes")
"""The arrays of episodes.npz that have a row for each episode."""


def checkpoint_name(step: int) -> str:
    """The file name of the checkpoint after `step` gradient steps."""
    return f"step-{step:010d}.ckpt"


class _TaskRecord(TypedDict):
    task: str
    env: NotRequired[str | None]


class _DataRecord(TypedDict):
    checksum: NotRequired[str]
    source: NotRequired[str]
    transitions: NotRequired[int]
    observation_size: NotRequired[int]
    action_size: NotRequired[int]
    rewarded: NotRequired[bool]
    held_out_episodes: NotRequired[list[int]]


class _Environment(TypedDict):
    data: _DataRecord
    packages: NotRequired[dict[str, str]]


@final
class RunFolder:
    """The folder of a run, or that of a group of its seeds."""

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "config.json"
        self.environment_file = path / "environment.json"
        self.result_file = path / "result.json"
        self.report_file = path / "report.html"
        self.metrics_file = path / "metrics.jsonl"
        self.evaluations_file = path / "evaluations.jsonl"
        self.time_file = path / "time.json"
        self.actions_file = path / "actions.npz"
        self.episodes_file = path / "episodes.npz"
        self.film_file = path / "film.npz"
        self.checkpoint_folder = path / "checkpoints"
        self.worker_log = path / "worker.log"
        self.shared_data = path / ".data"

    def group(self, seeds: list[int]) -> "RunFolder":
        """Where a group of seeds keeps its logs and its checkpoints."""
        label = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
        return RunFolder(self.path / "seeds" / label)

    def exported_policy(self, seed: int, suffix: str) -> Path:
        """The file of a policy that is taken elsewhere."""
        return self.path / f"policy-{seed}.{suffix}"

    @property
    def holds_run(self) -> bool:
        """Whether a training has begun here."""
        return self.config_file.is_file()

    @property
    def finished(self) -> bool:
        """Whether a run here is trained and played to its end."""
        return self.result_file.exists()

    @property
    def trained(self) -> bool:
        """Whether a run here is trained to its end and still to be played."""
        return self.actions_file.exists() and not read_json(self.config_file).get("play", True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here, but perhaps the lock of a training that begins, or what a copy knows."""
        if not self.path.exists():
            return True
        return self.path.is_dir() and all(path.name in (LOCK, MIRROR) for path in self.path.iterdir())

    def refuse_no_run(self) -> None:
        """Raise UserError where this is no run folder."""
        if not self.holds_run:
            what = "has no config.json" if self.path.is_dir() else "is not a folder"
            raise UserError(
                f"{self.path} is no run folder: it {what}. Give the folder that `tiltflow train` wrote "
                "(its --out)."
            )

    def refuse_run(self) -> None:
        """Raise UserError where this is a run folder already."""
        if self.holds_run:
            raise UserError(
                f"{self.path} already holds a run. Continue it with: tiltflow train --resume {self.path}\n"
                "or choose another folder with --out."
            )

    def read_config(self) -> TrainConfig:
        """The config of the run. Raises UserError where there is none, or none that this version reads."""
        self.refuse_no_run()
        return from_dict(read_json(self.config_file), str(self.config_file))

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json; its paths hold from whatever folder the run is continued."""
        record = to_dict(config)
        if config.data is not None:
            parts = listed_paths(Path(config.data))
            if not all(part.exists() for part in parts):  # a pattern may have a comma in it, too
                parts = [Path(config.data)]
            record["data"] = ",".join(str(part.absolute()) for part in parts)
        if config.reuse is not None:
            record["reuse"] = str(Path(config.reuse).absolute())
        write_json(self.config_file, record)

    def read_environment(self) -> dict[str, Any]:
        """What the run ran on, and from which "data": their source, checksum, transitions and sizes.

        Raises UserError where the file is missing or damaged.
        """
        return dict(checked_record(self.environment_file, _Environment))

    def read_task(self) -> Task:
        """The task of the run. Raises UserError as the files that say it."""
        config = checked_record(self.config_file, _TaskRecord)
        task = find_task(config["task"], config.get("env"))
        data = self.read_environment()["data"] if self.environment_file.exists() else {}
        return task if data.get("rewarded", True) else without_rewards(task)

    def write_evaluation(self, name: str, record: dict[str, Any]) -> Path:
        """Write NAME.json, a run's policies played once more."""
        path = self.path / f"{name}.json"
        write_json(path, record)
        return path

    def checkpoint(self, step: int) -> Path:
        """The file of the checkpoint after `step` gradient steps."""
        return self.checkpoint_folder / checkpoint_name(step)

    def checkpoints(self) -> list[Path]:
        """The checkpoints of a group of seeds, oldest first."""
        if not self.checkpoint_folder.is_dir():
            return []
        found = self.checkpoint_folder.iterdir()
        return sorted(path for path in found if re.fullmatch(r"step-\d{10}\.ckpt", path.name))

    def steps_kept(self) -> int:
        """Gradient steps of the newest checkpoint of any group; 0 where nothing is worth keeping."""
        groups = [RunFolder(path) for path in self.path.glob("seeds/*")]
        return max((int(path.stem[5:]) for group in groups for path in group.checkpoints()), default=0)

    def evaluations(self, seeds: int) -> list[Line]:
        """The lines of evaluations.jsonl, each with the episodes of so many seeds; UserError where not."""
        return read_evaluations(self.evaluations_file, seeds)

    def metrics(self) -> list[Line]:
        """The lines of metrics.jsonl. Raises UserError naming one that is damaged."""
        return read_metrics(self.metrics_file)

    def log_metrics(self, line: Line) -> None:
        """Add a line to metrics.jsonl, on the disk before any checkpoint that follows it."""
        append_line(self.metrics_file, json.dumps(line))

    def log_evaluation(self, line: Line) -> None:
        """Add a line to evaluations.jsonl, likewise."""
        append_line(self.evaluations_file, json.dumps(line))

    def write_evaluations(self, lines: list[Line]) -> None:
        """Write evaluations.jsonl anew."""
        write_json_lines(self.evaluations_file, lines)

    def cut_logs(self, step: int) -> None:
        """Forget what was logged after `step`: a resumed run will log it again."""
        for path in (self.metrics_file, self.evaluations_file):
            write_json_lines(path, [line for line in read_log(path) if line["step"] <= step])

    def read_time(self) -> dict[str, float]:
        """Seconds of the training by what they were spent on; empty where that is not known."""
        return checked_record(self.time_file, dict[str, float]) if self.time_file.exists() else {}

    def write_time(self, seconds: Mapping[str, float]) -> None:
        """Write time.json."""
        write_json(self.time_file, {name: round(value, 3) for name, value in seconds.items()})

    def read_actions(self) -> "dict[str, np.ndarray]":
        """Actions at the same states: `data` [n, a], and `policy` [seeds, n, a]."""
        from tiltflow.npz import load_npz

        return load_npz(self.actions_file, "data", "policy")

    def write_actions(self, data: "np.ndarray", policy: "np.ndarray") -> None:
        """Write actions.npz."""
        from tiltflow.npz import save_npz

        with atomic_file(self.actions_file) as file:
            save_npz(file, {"data": data, "policy": policy})

    def reopen(self) -> None:
        """Take back that a run here is trained and played to its end."""
        for file in (self.result_file, self.actions_file):
            file.unlink(missing_ok=True)

    def write_episodes(self, arrays: "dict[str, np.ndarray]") -> None:
        """Write episodes.npz: see `training.tracks.maze_paths`."""
        self._write_arrays(self.episodes_file, arrays)

    def write_film(self, arrays: "dict[str, np.ndarray]") -> None:
        """Write film.npz: see `training.film`."""
        self._write_arrays(self.film_file, arrays)

    def _write_arrays(self, path: Path, arrays: "dict[str, np.ndarray]") -> None:
        from tiltflow.npz import save_npz

        with atomic_file(path) as file:
            save_npz(file, arrays, packed=True)

    def clear(self) -> None:
        """Remove what is left of an attempt that came to no checkpoint: it may be of other settings."""
        shutil.rmtree(self.path / "seeds", ignore_errors=True)
        logs = (self.metrics_file, self.evaluations_file, self.time_file)
        for file in (self.config_file, self.environment_file, *logs):
            file.unlink(missing_ok=True)
