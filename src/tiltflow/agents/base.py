"""What an agent is: a state, stages that update it, and a policy. Everything else belongs to the loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Generator
from tiltflow.model_settings import CriticConfig, FlowConfig
from tiltflow.optimize import Columns, Update

AgentState = Any
Act = Callable[[AgentState, Float[Array, "n o"], PRNGKeyArray], Float[Array, "n a"]]
Numbers = Mapping[str, Any]
"""Numbers of the settings by dotted key: Python's, or the arguments of a compiled program."""


@dataclass(frozen=True)
class Stage:
    """Consecutive gradient steps of one kind.

    At its first step and then every `refresh_every` steps (only at the first where it is None) the loop
    calls `refresh(state, sample, key)` with a fixed-size sample of the data's rows, and then
    `precompute(state, rows, key)`, block by block of the rows that the batches up to the next refresh draw,
    to get extra columns of numbers (support actions, say) for them. `precompute` must read only what
    `update` leaves alone: a resumed run precomputes the columns again instead of storing them.
    """

    name: str
    steps: int
    batch_size: int
    update: Update
    improves_policy: bool
    """Whether the policy changes in this stage, so that evaluating it during the stage makes sense."""
    refresh: Callable[[AgentState, Columns, PRNGKeyArray], AgentState] = lambda state, sample, key: state
    refresh_every: int | None = None
    precompute: Callable[[AgentState, Columns, PRNGKeyArray], Mapping[str, Array]] | None = None
    precompute_reason: str = ""
    """What is precomputed, for the progress display."""
    owns: tuple[str, ...] = ()
    """Fields of the state that this stage alone determines; another run's may be taken over."""
    extend: Callable[[AgentState, PRNGKeyArray], Columns] | None = None
    """Rows that the stage adds at the start of each chunk, as many each time, with every column of a batch.
    They are drawn like the data's, from then on, in this stage and later ones; checkpoints hold them."""
    capacity: int = 0
    """How many added rows are kept, the newest. An agent that adds rows precomputes no columns."""
    unroll: int = 1
    """Steps that are compiled for an accelerator as one piece: where a step has few kernels, the next one
    begins while it ends. Compilation takes longer."""
    depends: Mapping[str, Any] = field(default_factory=dict)
    """What of the config those fields depend on, besides the data, the seed and the steps of this stage."""
    numbers: Numbers = field(default_factory=dict)
    """Those that programs of its functions take as arguments."""
    of_numbers: "Callable[[Numbers], Stage] | None" = None
    """The stage for other values of these."""

    def at(self, numbers: Numbers) -> "Stage":
        """The stage for these values of its numbers."""
        return self if self.of_numbers is None else self.of_numbers(numbers)


@dataclass(frozen=True)
class Parts:
    """What improvement at test time needs: the generative model, its sampler, the config of the critic."""

    flow: Generator
    sampler: FlowConfig
    critic_config: CriticConfig | None = None


@dataclass(frozen=True)
class Agent:
    """An algorithm on data of a given spec: how its state starts, its stages in order, and its policy."""

    init: Callable[[PRNGKeyArray], AgentState]
    stages: tuple[Stage, ...]
    act: Act
    """(state, observations, key) -> actions in [−1, 1]."""
    parts: Callable[[AgentState], Parts] | None = None
    """The parts of the policy, where it is a flow or a diffusion."""
    deterministic: bool = False
    """Whether the policy has one action a state, whatever the key."""
    numbers: Numbers = field(default_factory=dict)
    """Those that programs of its functions take as arguments."""
    of_numbers: "Callable[[Numbers], Agent] | None" = None
    """The agent for other values of these."""

    def at(self, numbers: Numbers) -> "Agent":
        """The agent for these values of its numbers."""
        return self if self.of_numbers is None else self.of_numbers(numbers)

    def taking(self, numbers: Numbers, of_numbers: "Callable[[Numbers], Agent]") -> "Agent":
        """The agent whose programs, and those of its stages, take these numbers as arguments."""

        def stage_of(index: int) -> Stage:
            own = self.stages[index]
            return replace(own, numbers=numbers, of_numbers=lambda given: of_numbers(given).stages[index])

        stages = tuple(map(stage_of, range(len(self.stages))))
        return replace(self, stages=stages, numbers=numbers, of_numbers=of_numbers)

    def encoded(self, encode: Callable[[Any], Array]) -> "Agent":
        """The agent of observations that `encode` turns into the features that this one sees."""

        def features(columns: Columns) -> Columns:
            names = columns.keys() & {"observations", "next_observations"}
            return {**columns, **{name: encode(columns[name]) for name in names}}

        def of_features(function: Callable | None) -> Any:
            return function and (lambda state, columns, key: function(state, features(columns), key))

        def stage(own: Stage) -> Stage:
            update, refresh, precompute = map(of_features, (own.update, own.refresh, own.precompute))
            return replace(own, update=update, refresh=refresh, precompute=precompute)

        def act(state: AgentState, observations: Any, key: PRNGKeyArray) -> Float[Array, "n a"]:
            return self.act(state, encode(observations), key)

        return replace(self, stages=tuple(map(stage, self.stages)), act=act)


def flow_parts(config: Any) -> Callable[[AgentState], Parts]:
    """The parts of a policy that is a flow: its averaged parameters, and the critic's config."""
    return lambda state: Parts(state.policy.ema, config.flow, config.critic)


def split_steps(total: int, shares: Mapping[str, float], fixed: Mapping[str, int | None]) -> dict[str, int]:
    """Steps of each stage: the fixed ones as they are, the rest of `total` in proportion to `shares`,
    but at least one each.

    Where every stage is fixed, `total` is not used. Raises UserError where the fixed stages leave nothing
    for the others.
    """
    free = {name: share for name, share in shares.items() if fixed.get(name) is None}
    steps = {name: int(fixed[name] or 0) for name in shares if name not in free}
    rest = total - sum(steps.values())
    if free and rest < len(free):
        taken = ", ".join(f"{name} = {count}" for name, count in steps.items()) or "none"
        raise UserError(
            f"--steps {total} leaves {rest} gradient steps for the stages {', '.join(free)} "
            f"(fixed: {taken}). Raise --steps or lower the fixed stages."
        )
    remaining_share = sum(free.values())
    for later, (name, share) in zip(reversed(range(len(free))), free.items(), strict=True):
        steps[name] = min(max(round(rest * share / remaining_share), 1), rest - later)
        rest -= steps[name]
        remaining_share -= share
    return {name: steps[name] for name in shares}
