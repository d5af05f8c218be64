"""What a run has learned, read back from its folder."""

from pathlib import Path
from typing import NamedTuple

from tiltflow.agents.base import Agent
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError
from tiltflow.files import read_json
from tiltflow.training.config import TrainConfig
from tiltflow.training.evaluator import of_one_seed
from tiltflow.training.group import make_agent, read_config, restore_group, seed_groups
from tiltflow.training.loop import INIT, seed_keys
from tiltflow.training.policy import RunState, identity_units, init_state


class Learned(NamedTuple):
    """What a run has learned: its agent, and the state of each seed, after `step` gradient steps."""

    config: TrainConfig
    agent: Agent
    spec: Spec
    checksum: str
    states: list[RunState]
    step: int


def read_learned(run: Path) -> Learned:
    """The newest checkpoints of a run. Raises UserError where it has none."""
    config = read_config(run)
    provenance = read_json(run / "environment.json")["data"]
    checksum, spec = provenance["checksum"], Spec(provenance["observation_size"], provenance["action_size"])
    agent, _ = make_agent(config, spec)
    states, step = [], 0
    for seeds in seed_groups(config):
        fresh = init_state(agent, identity_units(spec), seed_keys(seeds, INIT))
        state, step, _, _ = restore_group(config, run, seeds, checksum, fresh)
        if step == 0:
            raise UserError(f"{run} has no checkpoint of seed {seeds[0]} yet: nothing to evaluate.")
        states += [of_one_seed(state, seeds, index) for index in range(len(seeds))]
    return Learned(config, agent, spec, checksum, states, step)
