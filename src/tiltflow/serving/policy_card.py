"""What whoever calls a policy has to know: its entries, their order and bounds, and what it was made of."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from tiltflow.data.interface import PolicyInterface, entry_names, stored_interface
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError


@dataclass(frozen=True)
class PolicyCard:
    """A policy as it is called, in the units of the data."""

    algorithm: str
    task: str
    seed: int
    step: int
    """Gradient steps that it was trained for."""
    interface: PolicyInterface
    noise: float | None = None
    """The noise temperature where it is not the run's own."""
    best_of: int | None = None
    """Of how many actions the one of highest Q is taken; None: none are compared, or as the run does."""
    deterministic: bool = False
    """Whether a state has one action, whatever the seed."""

    @property
    def observation_names(self) -> list[str]:
        return entry_names(self.interface.observations)

    @property
    def action_names(self) -> list[str]:
        return entry_names(self.interface.actions)

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """The lowest and the highest value of each entry of an action."""
        size = len(self.action_names)
        low, high = self.interface.bounds or ([-1.0] * size, [1.0] * size)
        return list(low), list(high)

    @property
    def half_range(self) -> Float[np.ndarray, " a"]:
        """Half of the distance between the bounds: the unit of errors; 1 of an entry that has one value."""
        low, high = map(np.asarray, self.bounds)
        return np.where(high > low, (high - low) / 2, 1.0)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON has it, with every entry's name."""
        low, high = self.bounds
        return {
            **{key: value for key, value in asdict(self).items() if key != "interface"},
            "observation_names": self.observation_names,
            "action_names": self.action_names,
            **self.interface.record(),
            "action_low": low,
            "action_high": high,
        }


def read_card(record: Any, source: str) -> PolicyCard:
    """The inverse of `to_json`. Raises UserError naming `source` where the record is no card."""
    keys = {field.name for field in fields(PolicyCard)} - {"interface"}
    if not isinstance(record, dict) or not record.keys() > keys | {"observation_names", "action_names"}:
        raise UserError(f"{source} holds no card of a policy that this version of tiltflow reads.")
    spec = Spec(len(record["observation_names"]), len(record["action_names"]))
    interface = stored_interface({"interface": record}, spec, source)
    return PolicyCard(**{key: record[key] for key in keys}, interface=interface)
