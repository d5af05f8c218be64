"""Seconds per 10⁴ gradient steps of the policy against the steps K of its sampler (FlowQ's figure 3a).

    python benchmarks/policy_step.py --out OUT [--width 256] [--depth 3] [--batch 256] [--core 0]

flowq         its actor step: matching of the velocity guided by ∇Q, without a sample of the policy
flowq path    the same for its reading `path`, which takes a Hessian-vector product
qipo          its improvement step, of `--batch` actions in all, on support actions that were drawn before
qipo, drawn   that step and its share of drawing M support actions for all `--rows` states by K Euler steps
              at every refresh
flow-ql       its actor step, which differentiates Q of a sampled action through the K Euler steps

The critic's step is no part of any: with `critic.kind="policy"` flowq's critic samples an action by K steps
for every row, too. Each time is the median of repeated calls of one compiled scan, after one that compiles;
CPU seconds of this process, which other work on the machine disturbs little, and wall seconds, which are
plotted where JAX runs on an accelerator. The rounds go over all methods and K in turn, so that a slow spell
of the machine hits all alike. Writes policy_step.json and policy_step.png.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", type=Path, required=True, help="folder of the numbers and the plot")
parser.add_argument("--width", type=int, default=256, help="units of each hidden layer")
parser.add_argument("--depth", type=int, default=3, help="hidden layers")
parser.add_argument("--batch", type=int, default=256, help="actions of one gradient step")
parser.add_argument("--observation-size", type=int, default=11, help="entries of an observation")
parser.add_argument("--action-size", type=int, default=3, help="entries of an action")
parser.add_argument("--rows", type=int, default=100_000, help="states for which qipo draws support actions")
parser.add_argument("--refresh-every", type=int, default=5_000, help="steps between two refreshes of them")
parser.add_argument("--steps", type=int, default=200, help="gradient steps of one timed call")
parser.add_argument("--repeats", type=int, default=5, help="timed calls of each method and K")
parser.add_argument("--sampler-steps", type=int, nargs="+", default=[1, 5, 10, 20, 50], help="values of K")
parser.add_argument("--core", type=int, default=None, help="the core to run on; without it any")
arguments = parser.parse_args()
if arguments.core is not None and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {arguments.core})  # before JAX starts its threads

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from tiltflow.agents import flow_ql, flowq, qipo  # noqa: E402
from tiltflow.agents.actor_critic import policy_optimizer  # noqa: E402
from tiltflow.agents.flow_ql import FlowQLConfig  # noqa: E402
from tiltflow.agents.flowq_settings import FlowQConfig  # noqa: E402
from tiltflow.agents.qipo_settings import QIPOConfig  # noqa: E402
from tiltflow.agents.sampling import sample_support  # noqa: E402
from tiltflow.data.transitions import Spec  # noqa: E402
from tiltflow.files import atomic_file, write_json  # noqa: E402
from tiltflow.model_settings import CriticConfig, FlowConfig, NetworkConfig  # noqa: E402
from tiltflow.optimize import run_steps  # noqa: E402

SPEC = Spec(arguments.observation_size, arguments.action_size)
CLOCK = "CPU" if jax.default_backend() == "cpu" else "wall"
M = 16
BLOCK = 1024
STEPS = 10_000
STYLES = {
    "flowq": ("-", "o"),
    "flowq path": ("-", "^"),
    "qipo": ("-", "s"),
    "qipo, drawn": ("--", "s"),
    "flow-ql": ("-", "x"),
}


def configs(k: int) -> tuple[FlowQConfig, FlowQConfig, QIPOConfig, FlowQLConfig]:
    network = NetworkConfig(width=arguments.width, depth=arguments.depth)
    flow = FlowConfig(network=network, batch_size=arguments.batch, solver="euler", num_steps=k)
    hidden = replace(CriticConfig().network, width=arguments.width, depth=arguments.depth)
    critic = CriticConfig(kind="policy", network=hidden, batch_size=arguments.batch)
    velocity = FlowQConfig(flow=flow, critic=critic, next_action_steps=k)
    improved = QIPOConfig(
        flow=flow,
        critic=replace(critic, kind="expectile"),
        num_support_actions=M,
        improvement_batch_size=arguments.batch,
    )
    return velocity, replace(velocity, reading="path"), improved, FlowQLConfig(flow=flow, critic=critic)


def columns() -> dict[str, jax.Array]:
    """Random transitions; how many does not change the time of a step."""
    rows, keys = 4096, jax.random.split(jax.random.key(1), 4)
    return {
        "observations": jax.random.normal(keys[0], (rows, SPEC.observation_size)),
        "actions": jax.random.uniform(keys[1], (rows, SPEC.action_size), minval=-1),
        "support_actions": jax.random.uniform(keys[2], (rows, M + 1, SPEC.action_size), minval=-1),
        "support_energies": jax.random.normal(keys[3], (rows, M + 1)),
    }


def steps_of(update, state, batch_size: int, needed: tuple[str, ...] = ("observations", "actions")):
    """A call that runs the gradient steps of one measurement on the columns that they need."""
    data = {name: column for name, column in columns().items() if name in needed}
    compiled = jax.jit(
        lambda state, data: run_steps(
            update, state, data, jax.random.key(2), jnp.int32(0),
            num_steps=arguments.steps, batch_size=batch_size,
        )
    )  # fmt: skip
    return lambda: compiled(state, data)


def work(k: int) -> dict[str, tuple]:
    """By name: what is timed, and how many seconds per 10⁴ steps one second of it is."""
    velocity, path, improved, through = configs(k)
    per_call = STEPS / arguments.steps
    made = {}
    for name, config in (("flowq", velocity), ("flowq path", path)):
        state = flowq.build(config, SPEC, 1000).init(jax.random.key(0))

        def actor(policy, batch, key, config=config, critic=state.critic):
            schedule = flowq.schedule_of(None, config)
            return flowq.match_guided(
                policy, critic, schedule, batch, key, config, policy_optimizer(config.flow, 1000)
            )

        made[name] = steps_of(actor, state.policy, config.flow.batch_size), per_call

    agent = qipo.build(improved, SPEC, 1000)
    begun = agent.init(jax.random.key(0))._replace(refreshes=jnp.float32(1.0))
    stage = agent.stages[-1]
    made["qipo"] = steps_of(stage.update, begun, stage.batch_size, tuple(columns())), per_call
    observations = columns()["observations"][:BLOCK]
    drawn = jax.jit(
        lambda flow, key: sample_support(flow, observations, key, M, SPEC, improved.flow)
    )  # every block costs the same
    blocks = arguments.rows / BLOCK * STEPS / arguments.refresh_every
    made["drawing"] = (lambda: drawn(begun.behaviour, jax.random.key(3))), blocks

    state = flow_ql.build(through, SPEC, 1000).init(jax.random.key(0))

    def differentiated(policy, batch, key, critic=state.critic):
        optimizer = policy_optimizer(through.flow, 1000)
        return flow_ql.clone_and_climb(policy, critic, batch, key, SPEC, through, optimizer)

    made["flow-ql"] = steps_of(differentiated, state.policy, through.flow.batch_size), per_call
    return made


def measure(call) -> tuple[float, float]:
    """CPU and wall seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    jobs = {(name, k): job for k in arguments.sampler_steps for name, job in work(k).items()}
    for call, _ in jobs.values():
        jax.block_until_ready(call())
    rounds = [{job: measure(call) for job, (call, _) in jobs.items()} for _ in range(arguments.repeats)]
    records = []
    for name in STYLES:
        for k in arguments.sampler_steps:
            parts = ["qipo", "drawing"] if name == "qipo, drawn" else [name]
            cpu, wall = (
                sum(statistics.median(r[p, k][clock] for r in rounds) * jobs[p, k][1] for p in parts)
                for clock in (0, 1)
            )
            records.append({"method": name, "sampler_steps": k, "CPU": cpu, "wall": wall})
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(arguments).items() if name not in ("out", "core")}
    device = jax.devices()[0].device_kind
    record = {"unit": "s per 10⁴ gradient steps", "device": device, "settings": settings, "times": records}
    write_json(arguments.out / "policy_step.json", record)
    plot(records)
    report(records)


def report(records: list[dict]) -> None:
    """The table, and the two claims it can bear out."""
    ks = arguments.sampler_steps
    seconds = {(r["method"], r["sampler_steps"]): r[CLOCK] for r in records}
    print(f"{CLOCK} seconds per 10⁴ gradient steps of the policy, by K")
    print(f"{'':12} " + " ".join(f"{k:>9}" for k in ks))
    for name in STYLES:
        print(f"{name:12} " + " ".join(f"{seconds[name, k]:9.1f}" for k in ks))
    change = seconds["flowq", ks[-1]] / seconds["flowq", ks[0]] - 1
    print(f"flowq from K = {ks[0]} to {ks[-1]}: {change:+.1%}")
    for k in ks:
        print(f"K = {k}: flow-ql / flowq = {seconds['flow-ql', k] / seconds['flowq', k]:.2f}")


def plot(records: list[dict]) -> None:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, (line, marker) in STYLES.items():
        mine = [r for r in records if r["method"] == name]
        axes.plot(
            [r["sampler_steps"] for r in mine],
            [r[CLOCK] for r in mine],
            line,
            marker=marker,
            color="black",
            markerfacecolor="white" if line == "--" else "black",
            label=name,
        )
    axes.set_yscale("log")
    axes.set_xlabel("steps K of the policy's sampler")
    axes.set_ylabel(f"{CLOCK} seconds per 10⁴ gradient steps of the policy")
    axes.set_xticks(arguments.sampler_steps)
    axes.grid(alpha=0.3, which="both")
    axes.set_title(
        f"{arguments.depth} hidden layers of {arguments.width}, {arguments.batch} actions a step", fontsize=9
    )
    axes.legend(frameon=False)
    with atomic_file(arguments.out / "policy_step.png") as file:
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
