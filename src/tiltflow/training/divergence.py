"""What was in the batch of a step whose losses or values went astray."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from tiltflow.optimize import draw_rows
from tiltflow.training.rows import DataRows

_SHOWN = 5


def batch_text(rows: DataRows, keys: PRNGKeyArray, seed_index: int, step: int, batch_size: int) -> str:
    """The rows of a seed's batch in a step of its stage, and which of them are the largest.

    `keys` are those of the stage, of each seed where there are several. Rows that were added are left out.
    """
    key = keys[seed_index] if jnp.ndim(jax.random.key_data(keys)) > 1 else keys
    numbers = np.asarray(draw_rows(key, jnp.int32(step), batch_size, rows.count)[0])
    batch = rows.take(numbers)
    shown = ", ".join(map(str, numbers[:_SHOWN].tolist())) + (", …" if len(numbers) > _SHOWN else "")
    told = [f"Its batch has the rows {shown} of those that are trained on"]
    for name, what in (
        ("rewards", "reward"),
        ("observations", "entry of an observation, as the networks see it,"),
    ):
        sizes = np.abs(np.asarray(batch[name])).reshape(len(numbers), -1).max(axis=1)
        worst = int(sizes.argmax())
        told.append(f"the largest {what} is {sizes[worst]:.4g} in size, in row {numbers[worst]}")
    return "; ".join(told) + "."
