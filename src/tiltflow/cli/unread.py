"""Settings of a critic that the chosen kind of critic does not read: refused, where they are given."""

from collections.abc import Collection
from typing import Any

from tiltflow.errors import UserError
from tiltflow.model_settings import CriticConfig

_READ_BY = {
    "expectile": {"kind": "expectile"},
    "beta": {"kind": "in-support-softmax"},
    "num_support_actions": {"kind": "in-support-softmax"},
    "pessimism": {"aggregate": "pessimistic"},
}


def refuse_unread(agent: Any, given: Collection[str]) -> None:
    """Raise UserError for a given option of the critic that has no effect, with those that have one."""
    critic = getattr(agent, "critic", None)
    if not isinstance(critic, CriticConfig):
        return
    for setting, needed in _READ_BY.items():
        option = f"--set.critic.{setting.replace('_', '-')}"
        key, value = next(iter(needed.items()))
        chosen = getattr(critic, key)
        # A critic that goes on learning in the improvement does so by the softmax, whatever its kind.
        learns_on = key == "kind" and getattr(agent, "continue_critic", False)
        if option not in given or chosen == value or learns_on:
            continue
        read = [name for name, by in _READ_BY.items() if by == {key: chosen}]
        instead = " ".join(f"--set.critic.{name.replace('_', '-')}" for name in read)
        raise UserError(
            f"{option}: a critic with {key} = {chosen} does not read it"
            + (f"; it reads {instead}" if read else "")
            + f". Leave it out, or choose --set.critic.{key} {value}."
        )
