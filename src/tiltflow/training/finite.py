"""Whether what a training computes stays finite, and its losses within all measure."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tiltflow.agents.base import Stage
from tiltflow.errors import TrainingDiverged
from tiltflow.training.progress import Observe
from tiltflow.training.schedule import Position

_EXPLODED = 1e6
_Batch = Callable[[int, int], str]


@dataclass
class Finite:
    """Looks at the metrics [seeds, steps] of each chunk of a group of seeds."""

    seeds: list[int]
    observe: Observe
    given_up: set[int] = field(default_factory=set)
    """Seeds that have diverged and are carried along, by their places."""
    _first: dict[tuple[str, str], float] = field(default_factory=dict)
    """What each loss of a stage was at first, 1 at least."""

    def check(self, values: dict[str, np.ndarray], stage: Stage, here: Position, batch: _Batch) -> None:
        """Raise TrainingDiverged for a metric that is not finite, warn of a loss or value that is huge.

        `batch` says what was in the batch of a seed, by its place, and of a step of the chunk.
        """
        for name, metric in values.items():
            wrong = np.argwhere(~np.isfinite(metric))
            wrong = wrong[~np.isin(wrong[:, 0], list(self.given_up))]
            if len(wrong):
                row, column = wrong[wrong[:, 1].argmin()]
                raise TrainingDiverged(
                    f"Training diverged: {name} became {metric[row, column]} at step "
                    f"{here.stage_step + column + 1} of stage {stage.name} (step {here.step + column + 1} of "
                    f"the run, seed {self.seeds[row]}). {batch(row, column)}The last good checkpoint is "
                    "kept. Lower the learning rate or beta, or look at the scale of rewards and "
                    "observations.",
                    int(row),
                )
        self._warn(values, stage, here, batch)

    def _warn(self, values: dict[str, np.ndarray], stage: Stage, here: Position, batch: _Batch) -> None:
        """Say once that a loss or value has grown beyond all measure since the stage was begun or resumed."""
        for name, metric in values.items():
            if "loss" not in name and not name.startswith(("q_", "target")):
                continue
            sizes, key = np.abs(metric[:, -1]), (stage.name, name)
            now, seed = float(sizes.max()), int(sizes.argmax())
            first = self._first.setdefault(key, max(1.0, float(np.abs(metric[:, 0]).max())))
            if now > _EXPLODED * first:
                self._first[key] = np.inf
                text = (
                    f"{name} is {now:.3g} at step {here.stage_step + metric.shape[1]} of stage {stage.name}, "
                    f"where it was {first:.3g}: it explodes, though it is finite. "
                    f"{batch(seed, metric.shape[1] - 1)}Lower the learning rate or beta, or look at the "
                    "scale of rewards and observations."
                )
                self.observe({"event": "message", "level": "warning", "text": text})
