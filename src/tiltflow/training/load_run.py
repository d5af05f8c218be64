"""What a run has learned, read back from its folder."""

from pathlib import Path
from typing import NamedTuple

from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training.policy import RunState, of_one_seed
from tiltflow.training.prepare import Prepared, prepare_folder, seed_groups
from tiltflow.training.progress import Observe
from tiltflow.training.restore import restore_group


class LoadedRun(NamedTuple):
    """What a run has learned: the state of each seed, after `step` gradient steps."""

    prepared: Prepared
    states: list[RunState]
    step: int


def load_run(folder: Path, observe: Observe, *, to_play: bool = False) -> LoadedRun:
    """The newest checkpoints of a run; `observe` is told what is damaged or unfinished.

    Raises UserError where a seed has none, or seeds have come to different steps, and as `prepare_folder`.
    """
    run = RunFolder(folder)
    prepared = prepare_folder(run, to_play=to_play)
    states, steps = [], dict[int, int]()
    for seeds in seed_groups(prepared.config, run):
        restored = restore_group(prepared, run, seeds, prepared.init(seeds), to_train=False)
        for problem in restored.problems:
            observe({"event": "message", "level": "warning", "text": problem})
        steps |= dict.fromkeys(seeds, restored.step)
        states += [of_one_seed(restored.state, seeds, index) for index in range(len(seeds))]
    if max(steps.values()) == 0:
        raise UserError(
            f"{folder} has no checkpoint yet, and so no policy. Train it with: tiltflow train --resume "
            f"{folder}"
        )
    if len(set(steps.values())) > 1:
        reached = ", ".join(f"seed {seed}: {step:,}" for seed, step in steps.items())
        raise UserError(
            f"The policies of {folder} are not those of one training: every seed needs a checkpoint of the "
            f"same step, and the newest are of {reached}. Train to the end with: tiltflow train --resume "
            f"{folder}"
        )
    step = max(steps.values())
    if step < prepared.schedule.steps:
        total = prepared.schedule.steps
        text = f"{folder} is not finished: this is its state after step {step:,} of {total:,}."
        observe({"event": "message", "level": "warning", "text": text})
    return LoadedRun(prepared, states, step)
