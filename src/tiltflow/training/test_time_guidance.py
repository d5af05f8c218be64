"""Runs whose policies are improved at test time: the critic, the unit of Q, and the choice of a setting."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Parts
from tiltflow.agents.q_guidance import Improved, crossed_value, improved_actions, q_unit
from tiltflow.critics import Critic
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.model_settings import CriticConfig
from tiltflow.settings import GuidanceName
from tiltflow.training.load_run import LoadedRun, load_run
from tiltflow.training.policy import CHOOSE, UNIT, ObservationScaler, RunState, seed_keys
from tiltflow.training.prepare import load_data
from tiltflow.training.progress import Observe

STATES = 500
_ALIKE = 0.01


@dataclass(frozen=True)
class Guidance:
    """What is asked for: the kind, one setting or several to choose from, and whose critic."""

    kind: GuidanceName
    settings: tuple[float, ...]
    """N of best-of-n, or strengths in units of the spread of Q."""
    critic: Path | None = None
    """The run whose critic is used; without it the policy's own."""


def guide(loaded: LoadedRun, guidance: Guidance, observe: Observe) -> tuple[LoadedRun, dict[str, Any]]:
    """The run with the agent that plays improved actions, and what is to be recorded of it.

    The unit of Q is measured at states of the training data. Of several settings the one of highest
    `crossed_value` at states of the validation data is taken, the same for all seeds: no episode is played
    for it. Raises UserError where the policy is no flow, has no critic, or where nothing can be chosen by.
    """
    prepared = loaded.prepared
    config, spec = prepared.config, prepared.spec
    _refuse_no_flow(loaded)
    critics, critic_config = _critics(loaded, guidance.critic, observe)
    dataset = load_data(config, prepared.task)
    if dataset.checksum != prepared.checksum:
        raise UserError(
            f"{dataset.source} is not what the policy was trained on: its checksum is {dataset.checksum}, "
            f"that of the run's data {prepared.checksum}. Q would be measured in another unit."
        )

    act = _improver(loaded, guidance.kind, critic_config)
    parts = _parts_with(loaded, critic_config)

    @jax.jit
    def unit_of(agent: Any, critic: Critic, observations: Array, key: PRNGKeyArray) -> Float[Array, ""]:
        return q_unit(parts(agent), critic, observations, key, spec)

    states = []
    keys = seed_keys(config.seed_numbers, UNIT)
    for state, critic, key in zip(loaded.states, critics, keys, strict=True):
        unit = unit_of(state.agent, critic, _some(dataset.train, state), key)
        states.append(state._replace(agent=Improved(state.agent, critic, unit)))

    settings, values = guidance.settings, []
    if len(settings) > 1:
        if dataset.validation is None or critic_config.ensemble < 2:
            lacking = "validation data" if dataset.validation is None else "a second member of the critic"
            raise UserError(
                f"Choosing among {len(settings)} settings needs {lacking}, by which settings are compared "
                "without playing: give one setting alone."
            )
        values = [
            _value(act(setting), states, dataset.validation, config.seed_numbers) for setting in settings
        ]
    setting = best_setting(settings, values) if values else settings[0]
    record = {
        "guidance": guidance.kind,
        "setting": setting,
        "critic": str(guidance.critic) if guidance.critic else "own",
        "q_unit": [float(state.agent.unit) for state in states],
        "crossed_values": dict(zip(map(str, settings), values, strict=True)) if values else None,
    }
    agent = replace(prepared.agent, act=act(setting), parts=None, of_numbers=None)
    return loaded._replace(prepared=replace(prepared, agent=agent), states=states), record


def with_best_of(loaded: LoadedRun, count: int, critic: Path | None, observe: Observe) -> LoadedRun:
    """The run with the agent that plays, of `count` actions, the one of highest Q: `guide` without data.

    The critic is the policy's own, or that of another run. Raises UserError as `guide` does.
    """
    _refuse_no_flow(loaded)
    critics, config = _critics(loaded, critic, observe)
    states = [
        state._replace(agent=Improved(state.agent, own, jnp.ones(())))
        for state, own in zip(loaded.states, critics, strict=True)
    ]
    act = _improver(loaded, "best-of-n", config)(count)
    agent = replace(loaded.prepared.agent, act=act, parts=None, of_numbers=None)
    return loaded._replace(prepared=replace(loaded.prepared, agent=agent), states=states)


def _refuse_no_flow(loaded: LoadedRun) -> None:
    if loaded.prepared.agent.parts is None:
        raise UserError(
            f"The policy of {loaded.prepared.config.algorithm} is not a flow or a diffusion, so that it "
            "cannot be improved at test time. Leave --guidance or --best-of out to play it as it is."
        )


def _parts_with(loaded: LoadedRun, critic_config: CriticConfig) -> Callable[[Any], Parts]:
    """The parts of a policy, with the config of the critic that improves it."""
    parts_of = loaded.prepared.agent.parts
    assert parts_of is not None
    return lambda agent: replace(parts_of(agent), critic_config=critic_config)


def _improver(
    loaded: LoadedRun, kind: GuidanceName, critic_config: CriticConfig
) -> Callable[[float], Callable[[Improved, Array, PRNGKeyArray], Array]]:
    """The policy of each setting."""
    parts, spec = _parts_with(loaded, critic_config), loaded.prepared.spec

    def act(setting: float) -> Callable[[Improved, Array, PRNGKeyArray], Array]:
        def improved(state: Improved, observations: Array, key: PRNGKeyArray) -> Float[Array, "n a"]:
            policy = parts(state.agent)
            return improved_actions(policy, state.critic, state.unit, kind, setting, observations, key, spec)

        return improved

    return act


def best_setting(settings: tuple[float, ...], values: list[float]) -> float:
    """The setting of the highest value that is a number. Raises UserError where none is."""
    finite = [(value, setting) for value, setting in zip(values, settings, strict=True) if np.isfinite(value)]
    if not finite:
        raise UserError(f"The actions of every setting ({', '.join(map(str, settings))}) are not finite.")
    return max(finite, key=lambda pair: pair[0])[1]


def _critics(
    loaded: LoadedRun, other_run: Path | None, observe: Observe
) -> tuple[list[Critic], CriticConfig]:
    """The critic of each seed, the policy's own or another run's, and its config."""
    ours = theirs = loaded.prepared
    scaler = loaded.states[0].scaler
    if other_run is not None:
        loaded = load_run(other_run, observe)
        theirs = loaded.prepared
        for what, our, their in (
            ("data checksum", ours.checksum, theirs.checksum),
            ("task", ours.task.name, theirs.task.name),
            ("seeds", ours.config.seed_numbers, theirs.config.seed_numbers),
            (
                "normalize_observations",
                ours.config.normalize_observations,
                theirs.config.normalize_observations,
            ),
        ):
            if our != their:
                raise UserError(
                    f"The critic of {other_run} does not suit this policy: its {what} is {their}, not "
                    f"{our}. Train it as the policy was, or name another run by --critic."
                )
        if not same_units(scaler, loaded.states[0].scaler):
            raise UserError(
                f"The critic of {other_run} scales observations otherwise than this policy: it has learned "
                "from other rows of the data. Train it with the same --estimate.held-out, as the policy with "
                "a simulator or without, or name another run by --critic."
            )
    critics = [getattr(state.agent, "critic", None) for state in loaded.states]
    if critics[0] is None:
        raise UserError(
            f"{theirs.config.algorithm} has no critic: name a run that has one, with the same seeds, by "
            "--critic RUN."
        )
    schedule = theirs.schedule
    for index, stage in enumerate(schedule.stages):
        finished = schedule.begin(index + 1)
        if "critic" in stage.owns and loaded.step < finished:
            raise UserError(
                f"The critic of {other_run or 'this run'} is not trained: it is finished after step "
                f"{finished:,}, and the newest checkpoint is of step {loaded.step:,}. Go on with: tiltflow "
                "train --resume RUN"
            )
    return critics, theirs.config.agent.critic  # type: ignore[union-attr, return-value]


def same_units(one: ObservationScaler, other: ObservationScaler) -> bool:
    """Whether both scale observations alike, to a hundredth of a unit."""
    shift, stretch = (other.mean - one.mean) / one.std, other.std / one.std - 1
    return bool(jnp.all((jnp.abs(shift) < _ALIKE) & (jnp.abs(stretch) < _ALIKE)))


def _some(data: Transitions, state: RunState) -> Float[Array, "n o"]:
    """At most STATES observations, equally spaced, in the run's units."""
    rows = np.linspace(0, len(data) - 1, min(STATES, len(data))).astype(int)
    return state.scaler(jnp.asarray(data.observations[rows]))


def _value(act: Callable, states: list[RunState], validation: Transitions, seeds: list[int]) -> float:
    """Mean over seeds of the crossed value at states of the validation data."""

    @jax.jit
    def of_seed(improved: Improved, observations: Array, key: PRNGKeyArray) -> Float[Array, ""]:
        def by(critic: Critic) -> Float[Array, "n a"]:
            return act(improved._replace(critic=critic), observations, key)

        return crossed_value(by, improved.critic, observations)

    keys = seed_keys(seeds, CHOOSE)
    return float(
        np.mean([of_seed(s.agent, _some(validation, s), k) for s, k in zip(states, keys, strict=True)])
    )
