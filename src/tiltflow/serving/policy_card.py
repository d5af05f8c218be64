"""What whoever calls a policy has to know: entries, their order, bounds, and what it was made of."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from tiltflow.errors import UserError


@dataclass(frozen=True)
class PolicyCard:
    """Entries of observations and actions by name, in order; actions lie between `low` and `high`."""

    algorithm: str
    task: str
    seed: int
    step: int
    """Gradient steps that it was trained for."""
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    noise: float | None = None
    """The noise temperature where it is not the run's own."""
    best_of: int | None = None
    """Of how many actions the one of highest Q is taken; None: none are compared, or as the run does."""
    deterministic: bool = False
    """Whether a state has one action, whatever the seed."""

    @property
    def observation_size(self) -> int:
        return len(self.observation_names)

    @property
    def action_size(self) -> int:
        return len(self.action_names)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON has it: lists for tuples."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def read_card(record: Any, source: str) -> PolicyCard:
    """The inverse of `to_json`. Raises UserError naming `source` where the record is no card."""
    keys = {field.name for field in fields(PolicyCard)}
    if not isinstance(record, dict) or record.keys() != keys:
        raise UserError(f"{source} holds no card of a policy that this version of tiltflow reads.")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return PolicyCard(**values)


def entries_of(data: dict[str, Any]) -> dict[str, Any]:
    """Names and bounds, from what a run folder's environment.json says of the "data".

    Data that name no entries have numbered ones; actions without bounds lie in [−1, 1].
    """
    names = {
        f"{kind}_names": tuple(
            data.get(f"{kind}_names") or (f"{kind}_{i}" for i in range(data[f"{kind}_size"]))
        )
        for kind in ("observation", "action")
    }
    low, high = (
        tuple(map(float, data.get(key) or [bound] * data["action_size"]))
        for key, bound in (("low", -1.0), ("high", 1.0))
    )
    return {**names, "low": low, "high": high}
