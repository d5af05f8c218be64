"""Seeds and batches over several devices: eight forced ones of the CPU, in a process of their own."""

import json
import os
import subprocess
import sys

SEVERAL = """
import json, re, sys
from dataclasses import replace
import jax, jax.numpy as jnp, numpy as np
from pathlib import Path
from tests.training.test_rows import some_transitions
from tiltflow.agents.bc import BCConfig
from tiltflow.agents.registry import build_agent
from tiltflow.errors import Interrupted, UserError
from tiltflow.model_settings import FlowConfig, NetworkConfig
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import TrainConfig
from tiltflow.training import checkpoints
from tiltflow.training.devices import Devices, devices_of, sharded
from tiltflow.training.loop import Loop
from tiltflow.training.policy import identity_scaler, init_state, of_one_seed
from tiltflow.training.prepare import prepare
from tiltflow.training.run import resume, train
from tiltflow.training.rows import DeviceRows, HostRows, row_columns
from tiltflow.training.schedule import Schedule

DATA = some_transitions()
SCALER = identity_scaler(DATA.spec)
CONFIG = BCConfig(flow=FlowConfig(network=NetworkConfig(width=8, depth=1), batch_size=16))
AGENT = build_agent("bc-flow", CONFIG, DATA.spec, 4)
SCHEDULE = Schedule(AGENT.stages, TrainConfig("bc-flow", "t", CONFIG, steps=4, chunk=4))

def trained(seeds, grid, host=False, state=None):
    rows = HostRows(DATA, SCALER) if host else DeviceRows(grid.rows(row_columns(DATA, SCALER)))
    state = state or init_state(AGENT, SCALER, seeds)
    loop = Loop(SCHEDULE, seeds, rows, state, lambda event: None, StopFlag(), devices=grid)
    for here, length in SCHEDULE.chunks(0):
        loop.run_chunk(here, length)
    return loop.state

def distance(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)

def places(state):
    leaves = [leaf for leaf in jax.tree.leaves(state.agent) if leaf.ndim > 1]
    return [len({shard.device for shard in leaf.addressable_shards if shard.index[0].start in (None, 0)})
            for leaf in leaves], [leaf.addressable_shards[0].data.shape[0] for leaf in leaves]

eight = list(range(8))
grid = sharded(8, AGENT.stages)
over_eight = trained(eight, grid)
alone = trained([3], Devices(False))
path = checkpoints.save(RunFolder(Path(sys.argv[1])), over_eight, {"step": 4, "run": {}}, keep=1)
restored, _ = checkpoints.restore(path, init_state(AGENT, SCALER, eight), {})
one, one_here = trained([3], sharded(1, AGENT.stages)), trained([3], sharded(1, AGENT.stages), host=True)
two = trained([2, 3], sharded(2, AGENT.stages))

def refused(seeds, batch):
    try:
        sharded(seeds, [replace(AGENT.stages[0], batch_size=batch)])
    except UserError as error:
        return str(error)

def text(seeds, grid):
    rows = DeviceRows(grid.rows(row_columns(DATA, SCALER)))
    state, stop = init_state(AGENT, SCALER, seeds), StopFlag()
    loop = Loop(SCHEDULE, seeds, rows, state, lambda event: None, stop, devices=grid)
    key = loop._stage_keys(0, 0)
    run = jax.jit(loop._steps(0, lambda stage: stage.update, 4))
    arguments = grid.state(loop.state.agent), rows.resident, {}, {}, None, key, jnp.int32(0), jnp.int32(4)
    return run.lower(*arguments).compile().as_text()

MESSAGES = r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
config = TrainConfig("bc-flow", "file/x", CONFIG, seeds=8, parallel="shard", steps=4)
np.savez(Path(sys.argv[1]) / "x.npz", **DATA.columns())
prepared, _ = prepare(replace(config, data=str(Path(sys.argv[1]) / "x.npz")))
grids = [devices_of(prepared, seeds).mesh for seeds in (eight, [0])]

config = replace(config, data=str(Path(sys.argv[1]) / "x.npz"), env="Pendulum-v1", play=False,
                 steps=6, chunk=2, checkpoint_every=2)
prepared, _ = prepare(config)

def trained_in(*ways):
    # The parameters of a run of which each checkpoint is followed by another way to train.
    folder = Path(sys.argv[1]) / "-".join(ways)
    for way in ways:
        now, begun = replace(config, parallel=way), folder.exists()
        def leave(event):
            if event["event"] == "checkpoint" and len(ways) > 1 and event["step"] < 6:
                raise Interrupted("on to the next one")
        try:
            if begun:
                resume(folder, leave, config=now, in_this_process=True)
            else:
                train(now, folder, leave, in_this_process=True)
        except Interrupted:
            pass
    path = RunFolder(folder).group(eight).checkpoint(6)
    return checkpoints.restore(path, prepared.init(eight), prepared.fingerprint(eight))[0].agent

crossed = distance(trained_in("vmap", "shard", "process"), trained_in("vmap"))

of_batches = text([3], sharded(1, AGENT.stages))
print(json.dumps({
    "devices": len(jax.devices()),
    "over_eight": places(over_eight),
    "alone": distance(of_one_seed(over_eight, eight, 3).agent, alone.agent),
    "restored": distance(restored.agent, over_eight.agent),
    "batches": [distance(one.agent, alone.agent), distance(one_here.agent, one.agent)],
    "pairs": [distance(of_one_seed(two, [2, 3], 1).agent, alone.agent), *map(list, places(two))],
    "talk_of_seeds": re.findall(MESSAGES, text(eight, grid)),
    "talk_of_batches": sorted(set(re.findall(MESSAGES, of_batches))),
    "grids": [dict(grids[0].shape), grids[1]],
    "refused": [refused(3, 256), refused(2, 18)],
    "crossed": crossed,
    "own_rows": "f32[2,2]" in of_batches,
}))
"""


def test_eight_devices_train_eight_seeds_to_the_bits_of_one_and_share_the_batches_of_fewer(tmp_path):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["devices"] == 8
    assert told["grids"] == [{"seeds": 8, "batch": 1}, None]
    assert set(told["over_eight"][0]) == set(told["over_eight"][1]) == {1}  # one seed on each
    assert told["alone"] == told["restored"] == 0
    assert told["talk_of_seeds"] == []
    # A seed's gradients are summed over eight parts of a batch: in another order, which is all that differs.
    assert "all-reduce" in told["talk_of_batches"]
    assert told["batches"][0] < 1e-6
    assert told["batches"][1] == 0
    assert told["pairs"][0] < 1e-6
    assert set(told["pairs"][1]) == {4}
    assert set(told["pairs"][2]) == {1}
    assert told["own_rows"]
    # A run that is begun in one way may end in another: its seeds stay together, as they began.
    assert told["crossed"] < 1e-6

    assert "3 seeds cannot be divided among 8 devices" in told["refused"][0]
    assert "Give --seeds 1, 2, 4, 8, 16, …" in told["refused"][0]
    assert "has batches of 18, which these cannot divide" in told["refused"][1]
