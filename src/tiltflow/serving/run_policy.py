"""The policies of a run folder: their programs, with settings of play that are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Array, Float

from tiltflow.errors import UserError
from tiltflow.serving.policy_card import PolicyCard
from tiltflow.training.evaluate import with_noise
from tiltflow.training.load_run import LoadedRun, load_run
from tiltflow.training.progress import Observe, ignore_event
from tiltflow.training.test_time_guidance import with_best_of

ActionProgram = Callable[[Float[Array, "n o"], Any], Float[Array, "n a"]]
"""Actions in own units, of observations in theirs, and a key or given noise."""


@dataclass(frozen=True)
class PlayedRun:
    """The policies of a run as they are to be played."""

    folder: Path
    loaded: LoadedRun
    noise: float | None = None
    best_of: int | None = None
    critic: Path | None = None
    """The run whose critic chooses among `best_of` actions; None: its own."""

    def card(self, seed: int | None = None) -> PolicyCard:
        """What is to be known of the policy of a seed."""
        config = self.loaded.prepared.config
        return PolicyCard(
            config.algorithm,
            config.task,
            config.seed_numbers[self.index(seed)],
            self.loaded.step,
            self.loaded.prepared.interface,
            noise=self.noise,
            best_of=self.best_of,
            deterministic=self.loaded.prepared.agent.deterministic,
        )

    def index(self, seed: int | None) -> int:
        """The place of a seed among those of the run, the first one without. Raises UserError for others."""
        seeds = self.loaded.prepared.config.seed_numbers
        if seed is not None and seed not in seeds:
            raise UserError(f"{self.folder} has no seed {seed}: its seeds are {', '.join(map(str, seeds))}.")
        return 0 if seed is None else seeds.index(seed)

    def actions(self, seed: int | None = None) -> ActionProgram:
        """The program of the policy of a seed."""
        state, agent = self.loaded.states[self.index(seed)], self.loaded.prepared.agent
        interface = self.loaded.prepared.interface

        def actions(observations: Array, key: Any) -> Array:
            return interface.own_units(agent.act(state.agent, state.scaler(observations), key))

        return actions


def load_played(
    folder: Path,
    *,
    noise: float | None = None,
    best_of: int | None = None,
    critic: Path | None = None,
    observe: Observe = ignore_event,
) -> PlayedRun:
    """The newest policies of a run, with another noise temperature, or the best of so many actions by Q.

    Raises UserError where `folder` is no run folder or has no checkpoint, and for settings that its policy
    does not have: noise where none is drawn, best-of-N without a flow or a critic.
    """
    return with_settings(PlayedRun(folder, load_run(folder, observe)), noise, best_of, critic, observe)


def with_settings(
    run: PlayedRun,
    noise: float | None,
    best_of: int | None,
    critic: Path | None = None,
    observe: Observe = ignore_event,
) -> PlayedRun:
    """The run, of own settings, with those that are given. Raises UserError as `load_played` does."""
    loaded = run.loaded
    if noise is not None:
        if not 0 <= noise < float("inf"):
            raise UserError(f"noise is {noise}, but must be a number from 0 up.")
        loaded = with_noise(loaded, noise, flow_plays=best_of is not None)
    if best_of is not None:
        if best_of < 1:
            raise UserError(f"best_of is {best_of}, but must be at least 1.")
        loaded = with_best_of(loaded, best_of, critic, observe)
    elif critic is not None:
        raise UserError("critic is what best_of takes Q from: give best_of too.")
    return PlayedRun(run.folder, loaded, noise, best_of, critic)
