"""Over which devices a group of seeds trains: one, or several that share its seeds and batches.

With D devices and S seeds, the devices form a grid [s, D/s], s the smaller of both. Along its first axis lie
different seeds, which do not talk to each other: their bits are those of one device. Along the second, where
there are fewer seeds than devices, lie parts of each batch: gradients are summed over them, in another order.
The data are on each device; where they are on the host, each device gets its parts of the batches alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tiltflow.accelerators import products_in, step_options
from tiltflow.agents.base import Stage
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.optimize import Columns
from tiltflow.processes.local import available_cores
from tiltflow.settings import Precision
from tiltflow.sizes import memory
from tiltflow.train_config import TrainConfig
from tiltflow.training.prepare import Prepared

_SEEDS, _BATCH = "seeds", "batch"
_SHARE = 0.25
"""Of a device's memory: data that take more stay on the host."""


@dataclass(frozen=True)
class Devices:
    """The grid [seeds, batch] of the devices of a group; None where it is one device, JAX's own choice."""

    several_seeds: bool
    mesh: Mesh | None = None
    precision: Precision = "auto"
    """Of the matrix products that are compiled for them."""

    @property
    def of_state(self) -> NamedSharding | None:
        """How a state, or whatever has the seeds as its first axis, lies on them."""
        return self._sharding(*((_SEEDS,) if self.several_seeds else ()))

    def state(self, tree: Any) -> Any:
        """Arrays with a leading axis of the seeds, if there are several."""
        return self._placed(tree, self.of_state)

    def rows(self, tree: Any) -> Any:
        """Arrays that every seed draws from."""
        return self._placed(tree, self._sharding())

    def batches(self, tree: Any) -> Any:
        """Arrays [seeds if several, steps, batch, …]."""
        return self._placed(tree, self._sharding(*((_SEEDS,) if self.several_seeds else ()), None, _BATCH))

    def batch(self, columns: Columns) -> Columns:
        """The batch of a step of one seed, within a compiled program: each device has its part."""
        if self.mesh is None or self.mesh.shape[_BATCH] == 1:
            return columns
        part = NamedSharding(self.mesh, PartitionSpec(_BATCH))
        return {name: jax.lax.with_sharding_constraint(column, part) for name, column in columns.items()}

    def compiled(self, function: Callable, axes: tuple[int | None, ...]) -> Callable:
        """`function` of one seed for the group: vmapped over several, its results where states lie.

        `axes` has 0 for each argument that has an axis of the seeds, as the first has, None for the others.
        """
        function = self._precise(function)
        if self.mesh is None:
            lifted = jax.vmap(function, in_axes=axes) if self.several_seeds else function
            return jax.jit(lifted, compiler_options=step_options())
        if self.mesh.shape[_BATCH] == 1:
            return jax.jit(self._on_each(function, axes), compiler_options=step_options())
        vmapped = jax.vmap(function, in_axes=axes, spmd_axis_name=_SEEDS)
        lifted = vmapped if self.several_seeds else function
        return jax.jit(lifted, out_shardings=self.of_state, compiler_options=step_options())

    def _precise(self, function: Callable) -> Callable:
        def precise(*arguments: Any) -> Any:
            with products_in(self.precision):
                return function(*arguments)

        return precise

    def _on_each(self, function: Callable, axes: tuple[int | None, ...]) -> Callable:
        """On each device the program that one device would run for its seeds alone."""

        def local(*arguments: Any) -> Any:
            if jax.tree.leaves(arguments[0])[0].shape[0] > 1:
                return jax.vmap(function, in_axes=axes)(*arguments)
            alone = [
                jax.tree.map(lambda leaf: leaf[0], tree) if axis == 0 else tree
                for axis, tree in zip(axes, arguments, strict=True)
            ]
            return jax.tree.map(lambda leaf: leaf[None], function(*alone))

        of_seeds, of_all = PartitionSpec(_SEEDS), PartitionSpec()
        places = tuple(of_seeds if axis == 0 else of_all for axis in axes)
        return jax.shard_map(local, mesh=self.mesh, in_specs=places, out_specs=of_seeds, check_vma=False)

    def _sharding(self, *axes: str | None) -> NamedSharding | None:
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(*axes))

    def _placed(self, tree: Any, sharding: NamedSharding | None) -> Any:
        return tree if sharding is None else jax.device_put(tree, sharding)


def devices_of(prepared: Prepared, seeds: list[int]) -> Devices:
    """The devices of a group of seeds of a run: several, if so chosen, for all of its seeds together.

    Raises UserError as `sharded` does.
    """
    config = prepared.config
    if config.parallel == "shard" and seeds == config.seed_numbers:
        return replace(sharded(len(seeds), prepared.schedule.stages), precision=config.precision)
    return Devices(len(seeds) > 1, precision=config.precision)


def on_host(config: TrainConfig, rows: Transitions) -> bool:
    """Whether a group of seeds leaves its data on the host: as chosen, or where the device is small."""
    if config.data_on != "auto":
        return config.data_on == "host"
    return rows.nbytes > _SHARE * _share_of_memory(config)


def _share_of_memory(config: TrainConfig) -> float:
    """Bytes of memory that a group of seeds has for itself on its device."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit", inf)
    processes = 1 if config.parallel in ("vmap", "shard") else min(config.seeds, len(available_cores()))
    return memory() / processes


def sharded(seeds: int, stages: Sequence[Stage]) -> Devices:
    """All devices that JAX sees, for so many seeds; as one where there is one.

    Raises UserError where seeds, or batches, cannot be divided among them.
    """
    devices = jax.devices()
    count = len(devices)
    if count == 1:
        return Devices(seeds > 1)
    if seeds % count and count % seeds:
        fitting = [s for s in range(1, 2 * count + 1) if s % count == 0 or count % s == 0]
        raise UserError(
            f"--parallel shard: {seeds} seeds cannot be divided among {count} devices "
            f"({devices[0].device_kind}), nor these among the seeds. Give --seeds "
            f"{', '.join(map(str, fitting))}, …; show fewer devices (CUDA_VISIBLE_DEVICES=0,1); or give "
            "--parallel vmap."
        )
    rows = min(seeds, count)
    for stage in stages:
        if stage.batch_size % (count // rows):
            raise UserError(
                f"--parallel shard: {count} devices are {count // rows} for each of {seeds} seeds, and the "
                f"stage {stage.name} has batches of {stage.batch_size}, which these cannot divide. Choose a "
                f"batch size that is a multiple of {count // rows}, more seeds, or fewer devices "
                "(CUDA_VISIBLE_DEVICES=0,1)."
            )
    grid = np.array(devices).reshape(rows, count // rows)
    return Devices(seeds > 1, Mesh(grid, (_SEEDS, _BATCH)))
