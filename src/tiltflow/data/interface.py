"""What goes into a policy and what comes out of it, in the units and by the names of the user's data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError

ActionBounds = tuple[tuple[float, ...], tuple[float, ...]]
"""The lowest and the highest value of each entry of an action."""


class Signal(NamedTuple):
    """One column of the data and how many entries it adds to the vector, with their names where known."""

    name: str
    size: int
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class PolicyInterface:
    """The columns that an observation and an action are made of, in order, and the bounds of an action.

    Inside, an action u is in [−1, 1]; outside it is a = low + (u + 1)/2 · (high − low). Without bounds the
    data are in [−1, 1] themselves, and an environment's own bounds are what ±1 means there.
    """

    observations: tuple[Signal, ...]
    actions: tuple[Signal, ...]
    bounds: ActionBounds | None = None

    def own_units(self, actions: Any) -> Any:
        """Actions [*n, a] in [−1, 1], of NumPy or JAX, in the units of the data."""
        if self.bounds is None:
            return actions
        low, high = (np.asarray(side, np.float32) for side in self.bounds)
        return (low + (actions + 1) / 2 * (high - low)).clip(low, high)  # rounding must not leave the bounds

    def with_observations(self, size: int) -> "PolicyInterface":
        """That of observations of which only the first `size` entries are kept."""
        left, kept = size, list[Signal]()
        for name, count, entries in self.observations:
            if left > 0:
                kept.append(Signal(name, min(count, left), entries[:left]))
            left -= count
        return replace(self, observations=tuple(kept))

    def join(self, parts: dict[str, Any]) -> np.ndarray:
        """The float32 vector [*n, o] of an observation given by column, as a robot's driver may have it.

        Raises UserError naming a column that is missing or of another size.
        """
        joined = []
        for name, size, _ in self.observations:
            if name not in parts:
                raise UserError(
                    f"The observation has no {name!r}. It is made of {_sizes(self.observations)}."
                )
            part = np.asarray(parts[name], np.float32)
            part = part[..., None] if size == 1 and part.shape[-1:] != (1,) else np.atleast_1d(part)
            if part.shape[-1] != size:
                raise UserError(f"{name!r} has {part.shape[-1]} entries; the policy was trained on {size}.")
            joined.append(part)
        rows = max(part.ndim for part in joined)  # [1] beside [1, o] is one row, and not one entry
        return np.concatenate([part if part.ndim == rows else part[..., None] for part in joined], axis=-1)

    def record(self) -> dict[str, Any]:
        """The interface as JSON-compatible values, for environment.json."""
        low, high = self.bounds or (None, None)
        return {
            "observations": [signal._asdict() for signal in self.observations],
            "actions": [signal._asdict() for signal in self.actions],
            "action_low": low,
            "action_high": high,
        }


def entry_names(signals: Sequence[Signal]) -> list[str]:
    """The names of all entries in order: their own, the column's where it has one, or numbered ones."""
    return [
        name
        for signal in signals
        for name in signal.entries
        or ([signal.name] if signal.size == 1 else [f"{signal.name}[{i}]" for i in range(signal.size)])
    ]


def entry_text(signals: Sequence[Signal], number: int) -> str:
    """`entry 2 (gripper)`, or `entry 2` where the data call it nothing else."""
    name = dict(enumerate(entry_names(signals))).get(number, "")
    alone = len(signals) == 1 and not signals[0].entries
    return f"entry {number}" if alone or not name else f"entry {number} ({name})"


def plain_interface(spec: Spec) -> PolicyInterface:
    """That of data which only say how large observations and actions are."""
    return PolicyInterface(
        (Signal("observations", spec.observation_size),), (Signal("actions", spec.action_size),)
    )


def stored_interface(data: dict[str, Any], spec: Spec, source: str) -> PolicyInterface:
    """That of a run, by the "data" of its environment.json; a run of before has the plain one.

    Raises UserError naming `source` where it is damaged.
    """
    record = data.get("interface")
    if record is None:
        return plain_interface(spec)
    try:
        observations, actions = (_signals(record[key]) for key in ("observations", "actions"))
        low, high = record["action_low"], record["action_high"]
        bounds = None if low is None else (tuple(map(float, low)), tuple(map(float, high)))
        sizes = [sum(signal.size for signal in signals) for signals in (observations, actions)]
        if sizes != [spec.observation_size, spec.action_size]:
            raise ValueError(f"its columns have {sizes[0]} and {sizes[1]} entries")
        if bounds and not len(bounds[0]) == len(bounds[1]) == spec.action_size:
            raise ValueError("its bounds have other sizes than an action")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{source} is damaged: 'interface' does not describe the policy ({error}). Restore it from a "
            "copy."
        ) from error
    return PolicyInterface(observations, actions, bounds)


def _signals(records: Any) -> tuple[Signal, ...]:
    return tuple(
        Signal(str(one["name"]), int(one["size"]), tuple(map(str, one["entries"]))) for one in records
    )


def _sizes(signals: Sequence[Signal]) -> str:
    return ", ".join(f"{signal.name} [{signal.size}]" for signal in signals)
