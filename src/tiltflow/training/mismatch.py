"""What a run's data say that its environment, or the episodes that it is judged by, contradict."""

import numpy as np

from tiltflow import words
from tiltflow.data.audit import Finding
from tiltflow.data.held_out import shared_episodes
from tiltflow.data.load import Dataset
from tiltflow.environments import Environment

_BEYOND = 0.01
"""Of the range of an environment's actions: how far the data's may reach beyond it, by rounding."""


def audit_overlap(dataset: Dataset) -> list[Finding]:
    """Warn of episodes that are trained on and validated on; data larger than the memory are not searched."""
    held = dataset.validation
    if held is None or dataset.train.mapped or not (count := shared_episodes(dataset.train, held)):
        return []
    text = (
        f"{words.plural(count, 'episode')} of {int(held.ends.sum())} that are kept to judge policies by "
        f"{'is' if count == 1 else 'are'} trained on too: the same episodes are in the data twice. Leave one "
        "of each out."
    )
    return [Finding("warning", dataset.source, None, None, text)]


def audit_bounds(dataset: Dataset, environment: Environment, name: str) -> list[Finding]:
    """Warn of actions of own data that the environment cannot take, and of bounds that nobody has said."""
    interface, own = dataset.interface, np.array(environment.own_bounds)
    said = None if interface is None else interface.bounds
    if said is None:
        shown = "; ".join(f"{low:.4g} to {high:.4g}" for low, high in own.T)
        text = (
            f"are in [−1, 1], and no bounds are said: ±1 is taken for those of {name}, {shown}. Where they "
            "are in its units already, say --action-bounds LOW HIGH."
        )
        plain = np.allclose(own, [[-1.0], [1.0]])
        return [] if plain else [Finding("warning", dataset.source, "actions", None, text)]
    if dataset.train.mapped:  # to read them all would take long
        return []
    (low, high), actions = np.array(said), dataset.train.actions
    reached = np.array([side(axis=0) for side in (actions.min, actions.max)], np.float64)
    reached = low + (reached + 1) / 2 * (high - low)
    beyond = np.maximum(own[0] - reached[0], reached[1] - own[1])
    if not (beyond > _BEYOND * np.maximum(own[1] - own[0], _BEYOND)).any():
        return []
    entry = int(beyond.argmax())
    text = (
        f"entry {entry} goes from {reached[0, entry]:.4g} to {reached[1, entry]:.4g}, and {name} takes "
        f"{own[0, entry]:.4g} to {own[1, entry]:.4g}: what lies beyond is cut off where policies are played. "
        "Name the environment of these data, or clip the actions to its bounds."
    )
    return [Finding("warning", dataset.source, "actions", None, text)]
