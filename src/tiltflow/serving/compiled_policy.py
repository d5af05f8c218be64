"""A policy that is called from Python: observations in, actions out, in one compiled call."""

import os
from collections.abc import Callable, Mapping
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from numpy.typing import ArrayLike

from tiltflow.errors import UserError
from tiltflow.serving.policy_card import PolicyCard

Program = Callable[[Float[Array, "n o"], UInt32[Array, ""]], Float[Array, "n a"]]
"""Actions in the units of the robot at observations in theirs; the number seeds the drawing."""


@final
class CompiledPolicy:
    """policy(observation) -> action, numpy arrays in the units of the data.

    Each number of rows, rounded up to a power of two, is compiled once, at its first call (`warm_up`). An
    action is a function of the observation, its row and the seed.
    """

    def __init__(self, card: PolicyCard, build: Callable[[float | None, int | None], Program]):
        """`build(noise, best_of)` gives the program of these settings; None stands for those of the card."""
        self.card = card
        self._names = card.observation_names
        self._build = build
        self._programs: dict[tuple, Program] = {}
        self._compiled: dict[tuple, Callable[..., Any]] = {}
        self._next_seed = int.from_bytes(os.urandom(4), "little")

    def __call__(
        self,
        observations: ArrayLike | Mapping[str, ArrayLike],
        *,
        seed: int | None = None,
        noise: float | None = None,
        best_of: int | None = None,
    ) -> Float[np.ndarray, "*n a"]:
        """Actions [a] or [n, a] at observations [o] or [n, o], or at a map from their columns' names.

        The same `seed` draws the same; without one each call draws anew. `noise` is the noise temperature τ
        (actions start from τz, z ~ N(0, I)), `best_of` the N of best-of-N by the policy's own critic, where
        they are not the policy's own. Raises UserError for observations of another shape or with an entry
        that is not finite, and for settings that the policy does not have.
        """
        asked = self.checked(observations)
        rows = 1 if asked.ndim == 1 else len(asked)
        padded = 1 << (rows - 1).bit_length()
        if padded != rows:
            asked = np.concatenate([asked, np.zeros((padded - rows, asked.shape[1]), np.float32)])
        call = self._compiled.get((asked.shape, noise, best_of)) or self._compile(asked.shape, noise, best_of)
        if seed is None:
            seed = self._next_seed = (self._next_seed + 1) % 2**32
        actions = np.array(call(asked, np.uint32(seed)))
        return actions if padded == rows else actions[:rows]

    def warm_up(self, rows: int | None = None) -> "CompiledPolicy":
        """Compile the call for one observation [o], or for `rows` of them [n, o]; returns the policy."""
        shape = () if rows is None else (rows,)
        self(np.zeros((*shape, len(self._names)), np.float32), seed=0)
        return self

    def checked(self, observations: ArrayLike | Mapping[str, ArrayLike]) -> Float[np.ndarray, "*n o"]:
        """The observations as float32, a map's columns joined. Raises UserError saying what is wrong."""
        names = self._names
        try:
            if isinstance(observations, Mapping):
                observations = self.card.interface.join(dict(observations))
            array = np.asarray(observations, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"The observation is no array of numbers: {error}") from error
        if array.ndim not in (1, 2) or array.shape[-1] != len(names) or not len(array):
            raise UserError(
                f"The observation has shape {array.shape}, but must be [{len(names)}], or [n, {len(names)}] "
                f"with n from 1 up. Its entries: {_listed(names)}."
            )
        if not np.isfinite(array).all():
            *row, entry = np.argwhere(~np.isfinite(array))[0]
            where = f"row {row[0]}, " if row else ""
            raise UserError(
                f"The observation has {array[(*row, entry)]} at {where}entry {entry} ({names[entry]}): "
                "every entry must be a finite number."
            )
        return array

    def _compile(self, shape: tuple[int, ...], noise: float | None, best_of: int | None) -> Callable:
        settings = (noise, best_of)
        if settings not in self._programs:
            self._programs[settings] = self._build(*settings)
        program = self._programs[settings]

        def call(observations: Array, seed: Array) -> Array:
            actions = program(observations.reshape(-1, shape[-1]), seed)
            return actions.reshape(*shape[:-1], -1)

        arguments = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.uint32)
        compiled = jax.jit(call).lower(*arguments).compile()
        self._compiled[shape, noise, best_of] = compiled
        return compiled


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
