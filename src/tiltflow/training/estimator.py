"""Estimating the policies of a group of seeds from recorded episodes, where there is no simulator."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.critics import q_value
from tiltflow.data.held_out import HeldOutEpisodes, episode_numbers, first_rows, whole_episodes
from tiltflow.data.transitions import Transitions
from tiltflow.evaluation.off_policy import (
    PolicyValue,
    RecordedEpisodes,
    bootstrapped,
    fitted_q_value,
    importance_value,
    mean_value,
    recorded_value,
)
from tiltflow.flow import Flow, matching_loss
from tiltflow.processes.stopping import StopFlag
from tiltflow.tasks import CLONED
from tiltflow.training.policy import EVALUATE, RunState, make_act, of_one_seed, seed_keys
from tiltflow.training.prepare import Prepared
from tiltflow.training.progress import Observe

_BLOCK = 4096
_SAMPLES = 50_000
"""Actions drawn at next states, about, but one a state at least."""
_MOST_SAMPLES = 16
_COMPARED = 2000
"""Held-out rows whose actions are compared."""
_WEIGHTED = 4000
"""Held-out rows that importance sampling takes densities of."""


@dataclass
class Estimator:
    """Estimates what the policies of a group would be worth, and how near to the data they are.

    A line of its evaluations holds, for each seed: "score", the value by fitted Q evaluation on all recorded
    episodes, or without rewards minus the distance to held-out actions; its bootstrap "replicates", and the
    share of them that is "beyond" all bounds; "recorded", for each seed alike, the discounted return of these
    episodes themselves as (value, low, high); and, of the held-out episodes, under "held_out": matching_loss
    (of a flow, as a model of the held-out actions); wasserstein and energy_distance (of each entry of an
    action: the policy's at held-out states against the recorded ones); and at the last step, as (value, low,
    high): critic_value (the critic's Q of the policy at first states, where it has the discount of the
    estimate and learned the recorded rewards) and importance_value, with importance_episodes.
    """

    prepared: Prepared
    data: HeldOutEpisodes
    seeds: list[int]
    observe: Observe
    stop: StopFlag

    def __post_init__(self) -> None:
        self.act = make_act(self.prepared.agent)
        config = self.prepared.config.estimate
        self._rows = whole_episodes(self.data.recorded, config.rows)
        self._compared = _few(self.data.rows)
        self._firsts = self._rows.observations[first_rows(self._rows)]
        self._recorded = _triple(
            recorded_value(
                self._rows.rewards, self._rows.terminations, episode_numbers(self._rows), config.discount
            )
        )

    def scheduled(self, state: RunState, step: int) -> dict[str, Any]:
        """Estimate after `step` gradient steps; its line of evaluations.jsonl. Raises Interrupted."""
        clock = time.perf_counter()
        task, schedule = self.prepared.task, self.prepared.schedule
        values, held_out = list[PolicyValue](), list[dict[str, Any]]()
        for index, key in enumerate(seed_keys(self.seeds, EVALUATE)):
            self._tell(index)
            of_seed = of_one_seed(state, self.seeds, index)
            actions = self._actions(of_seed, key, self._compared.observations, 1)[0]
            values.append(self._closeness(actions) if task.metric == CLONED else self._fitted_q(of_seed, key))
            held_out.append(self._held_out(of_seed, actions, key, last=step == schedule.steps))
        return {
            "step": step,
            "stage": schedule.stage_before(step).name,
            "metric": task.metric,
            "unit": task.unit,
            "score": [value.value for value in values],
            "replicates": [value.replicates.tolist() for value in values],
            "beyond": [value.beyond for value in values],
            **({} if task.metric == CLONED else {"recorded": [self._recorded] * len(values)}),
            "episodes": len(first_rows(self._compared) if task.metric == CLONED else self._firsts),
            "held_out": {name: [record[name] for record in held_out] for name in held_out[0]},
            "seconds": time.perf_counter() - clock,
        }

    def _tell(self, index: int) -> None:
        self.stop.check()
        event = {"event": "activity", "seeds": self.seeds, "text": "estimating"}
        self.observe({**event, "fraction": index / len(self.seeds)})

    def _actions(
        self, state: RunState, key: PRNGKeyArray, observations: Float[np.ndarray, "n o"], samples: int
    ) -> Float[np.ndarray, "m n a"]:
        """So many actions of the policy at each observation, in blocks of one size, which compile once."""
        rows = np.arange(-(-len(observations) // _BLOCK) * _BLOCK) % len(observations)
        drawn = []
        for sample in range(samples):
            for block in rows.reshape(-1, _BLOCK):
                self.stop.check()
                times = np.full(_BLOCK, sample, np.int32)
                numbers = block.astype(np.uint32)
                drawn.append(self.act(state.agent, state.scaler, observations[block], key, numbers, times))
        actions = np.asarray(jnp.concatenate(drawn)).reshape(samples, len(rows), -1)
        return actions[:, : len(observations)]

    def _samples(self, rows: int) -> int:
        return 1 if self.prepared.agent.deterministic else min(max(_SAMPLES // rows, 1), _MOST_SAMPLES)

    def _fitted_q(self, state: RunState, key: PRNGKeyArray) -> PolicyValue:
        rows, config, keys = self._rows, self.prepared.config.estimate, jax.random.split(key)

        # In the run's own units: where it cuts off outliers, so does the estimate.
        def scaled(observations: np.ndarray) -> Float[np.ndarray, "n o"]:
            return np.asarray(state.scaler(jnp.asarray(observations)))

        recorded = RecordedEpisodes(
            scaled(rows.observations),
            rows.actions,
            rows.rewards,
            scaled(rows.next_observations),
            rows.terminations.astype(np.float64),
            episode_numbers(rows),
            self._actions(state, keys[0], rows.next_observations, self._samples(len(rows))),
            scaled(self._firsts),
            self._actions(state, keys[1], self._firsts, self._samples(len(self._firsts))),
        )
        return fitted_q_value(recorded, config.discount, features=config.features)

    def _closeness(self, actions: Float[np.ndarray, "n a"]) -> PolicyValue:
        """−100·mean over entries of W₁(policy's actions, recorded actions)/2, resampled by episode."""
        from scipy.stats import wasserstein_distance  # slow to import, and most trainings play

        few, of_row = self._compared, episode_numbers(self._compared)

        def value(draws: Float[np.ndarray, " e"]) -> float:
            weights = draws[of_row]
            distances = [
                wasserstein_distance(own, theirs, weights, weights)
                for own, theirs in zip(actions.T, few.actions.T, strict=True)
            ]
            return -100.0 * float(np.mean(distances)) / 2.0

        return bootstrapped(value, int(of_row[-1]) + 1)

    def _held_out(
        self, state: RunState, actions: Float[np.ndarray, "n a"], key: PRNGKeyArray, last: bool
    ) -> dict[str, Any]:
        from scipy.stats import energy_distance, wasserstein_distance

        few = self._compared
        return {
            **self._matching_loss(state, few, key),
            "wasserstein": [
                float(wasserstein_distance(own, theirs))
                for own, theirs in zip(actions.T, few.actions.T, strict=True)
            ],
            "energy_distance": [
                float(energy_distance(own, theirs))
                for own, theirs in zip(actions.T, few.actions.T, strict=True)
            ],
            **(self._critic_value(state, key) | self._importance(state) if last else {}),
        }

    def _matching_loss(self, state: RunState, few: Transitions, key: PRNGKeyArray) -> dict[str, float]:
        flow = _flow_of(self.prepared, state)
        if flow is None:
            return {}
        draws = 16  # times and noises of each row
        actions, states = (jnp.tile(jnp.asarray(a), (draws, 1)) for a in (few.actions, few.observations))
        return {"matching_loss": float(_matching(flow, key, actions, state.scaler(states)))}

    def _critic_value(self, state: RunState, key: PRNGKeyArray) -> dict[str, list[float]]:
        critic, config = getattr(state.agent, "critic", None), self.prepared.config
        settings = getattr(config.agent, "critic", None)
        if critic is None or settings is None or settings.rewards != "recorded":
            return {}
        if settings.discount != config.estimate.discount:
            return {}
        firsts = self.data.rows.observations[first_rows(self.data.rows)]
        actions = jnp.asarray(self._actions(state, key, firsts, self._samples(len(firsts))))
        values = q_value(critic, state.scaler(jnp.asarray(firsts))[None], actions, settings).mean(axis=0)
        return {"critic_value": _triple(mean_value(np.asarray(values)))}

    def _importance(self, state: RunState) -> dict[str, Any]:
        """Where policy and behaviour are flows whose densities are known."""
        flow, behaviour = _flow_of(self.prepared, state), getattr(state.agent, "behaviour", None)
        agent = self.prepared.config.agent
        settings = getattr(agent, "flow", None)
        if flow is None or settings is None or not isinstance(behaviour, Flow):
            return {}
        if getattr(agent, "num_candidates", 1) > 1:  # the best of several has another density than one
            return {}
        if settings.play != "draw" or settings.play_noise == 0 or getattr(state.agent, "one_step", None):
            return {}
        rows = whole_episodes(self.data.rows, _WEIGHTED)
        if len(rows) > _WEIGHTED:  # a single longer episode
            return {}
        inside = jnp.asarray(np.clip(rows.actions, -1 + 1e-3, 1 - 1e-3))
        states = state.scaler(jnp.asarray(rows.observations))
        ratios = np.asarray(_log_ratios(flow, behaviour, inside, states, settings.play_noise), np.float64)
        discount = self.prepared.config.estimate.discount
        value, effective = importance_value(rows.rewards, ratios, episode_numbers(rows), discount)
        return {"importance_value": _triple(value), "importance_episodes": effective}


def _few(data: Transitions) -> Transitions:
    """At most `_COMPARED` rows, equally spaced; the last of an episode's still ends it."""
    rows = np.unique(np.linspace(0, len(data) - 1, _COMPARED).astype(int))
    of_row = episode_numbers(data)[rows]
    return replace(data.take(rows), ends=np.append(of_row[1:] != of_row[:-1], True))


def _flow_of(prepared: Prepared, state: RunState) -> Flow | None:
    """The policy, where it is a flow and nothing more."""
    parts = prepared.agent.parts
    flow = parts(state.agent).flow if parts else None
    return flow if isinstance(flow, Flow) else None


_matching: Callable[..., Array] = jax.jit(matching_loss)


@jax.jit
def _log_ratios(
    flow: Flow, behaviour: Flow, actions: Float[Array, "n a"], states: Float[Array, "n o"], noise: float
) -> Float[Array, " n"]:
    """log π(a|s) − log μ(a|s); the policy is played with noise of that temperature."""
    options = {"rtol": 1e-3, "atol": 1e-3}
    of_policy = flow.log_prob(actions, states, noise=noise, **options)
    return of_policy - behaviour.log_prob(actions, states, **options)


def _triple(value: PolicyValue) -> list[float]:
    return [value.value, *value.interval()]
