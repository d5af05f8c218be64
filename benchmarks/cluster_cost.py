"""Time and cost of OGBench's whole protocol on 1, 8 and 64 GPUs, simulated from measured speeds.

    python benchmarks/cluster_cost.py                 the table of docs/scaling.md
    python benchmarks/cluster_cost.py --measure OUT   what the command itself and the disk of OUT can do

50 tasks × 8 seeds × 14 agents, 1M gradient steps, one seed a run and one run a GPU, in the queue's order.
Speeds are of one H100 (networks of four layers of 512 units, batches of 256); an agent that was not measured
has the speed of FQL, the slowest that was, divided by `--unmeasured`. Playing and prices are assumptions.
A lost machine costs the steps since the last checkpoint, and the start.
"""

import argparse
import heapq
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STEPS, SEEDS, TASKS, CHECKPOINT = 1_000_000, 8, 50, 10_000
ALONE = {"behaviour": 10_856, "critic": 2_081, "improvement": 7_823, "fql": 1_111}
"""Steps/s of one seed on one H100."""
TOGETHER = {"behaviour": 27_409, "critic": 6_592, "improvement": 24_784, "fql": 3_516}
"""Seed-steps/s of eight seeds in one vmapped program."""
START = {"behaviour": 3.8, "critic": 9.9, "improvement": 12.3, "fql": 9.8}
"""Seconds of a first chunk, compilation among them."""
QIPO = {"behaviour": 3 / 8, "critic": 2 / 8, "improvement": 3 / 8}
AGENTS: dict[str, tuple[dict[str, float], bool]] = {
    "bc-flow": ({"behaviour": 1}, True), "bc-diffusion": ({"behaviour": 1}, True),
    "qipo-ot": (QIPO, True), "qipo-diff": (QIPO, True), "fql": ({"fql": 1}, True),
    "iql": ({"critic": 1}, False), "ifql": ({"critic": 1}, False), "idql": ({"critic": 1}, False),
    "td3-bc": ({"fql": 1}, False), "rebrac": ({"fql": 1}, False), "flowq": ({"fql": 1}, False),
    "qgpo": ({"fql": 1}, False), "flow-ql": ({"fql": 1}, False), "diffusion-ql": ({"fql": 1}, False),
}  # fmt: skip
"""The shares of the steps that go at each speed, and whether it was measured for this agent."""


@dataclass(frozen=True)
class Run:
    """Seconds of the steps of a run, of its start, and of what is lost with a machine, on average."""

    steps: float
    start: float
    between: float


def runs(arguments: argparse.Namespace) -> Iterator[Run]:
    """Every run, in the order of the queue; with --vmap all seeds of a task and agent are one."""
    speeds, count = (TOGETHER, 1) if arguments.vmap else (ALONE, SEEDS)
    for _ in range(count * TASKS):
        for shares, measured in AGENTS.values():
            seconds = sum(share * STEPS / speeds[what] for what, share in shares.items())
            seconds *= (1 if measured else arguments.unmeasured) * (SEEDS if arguments.vmap else 1)
            played = arguments.play * (SEEDS if arguments.vmap else 1)
            yield Run(
                seconds + played,
                arguments.load + sum(START[what] for what in shares),
                seconds * CHECKPOINT / STEPS,
            )


def simulate(arguments: argparse.Namespace, gpus: int) -> dict[str, float]:
    """List scheduling: whoever is free takes the next run; machines are lost at random, one GPU each."""
    random, free = np.random.default_rng(0), [(0.0, gpu) for gpu in range(gpus)]
    busy, losses, end = 0.0, 0, 0.0
    for run in runs(arguments):
        at, gpu = heapq.heappop(free)
        left, seconds = run.steps, run.start
        while (until := random.exponential(arguments.lost_every * 3600)) < run.start + left:
            losses += 1
            done = max(0.0, until - run.start)
            left -= max(0.0, done - run.between * random.uniform())
            seconds += until + run.start
        seconds += left
        busy += seconds
        end = max(end, at + seconds)
        heapq.heappush(free, (at + seconds, gpu))
    return {
        "hours": end / 3600,
        "GPU hours": busy / 3600,
        "losses": losses,
        "share at work": busy / end / gpus,
    }


def measure(out: Path) -> dict[str, float]:
    """What bounds the command, in seconds of its processor, and the disk, in seconds: of one thing each."""
    from tiltflow.benchmark.board import Board
    from tiltflow.benchmark.records import RunRecord, write_records
    from tiltflow.benchmark_file import PlannedRun
    from tiltflow.files import append_line, atomic_file

    planned = [
        PlannedRun(f"task-{t}", agent, s) for s in range(SEEDS) for t in range(TASKS) for agent in AGENTS
    ]
    records = {run: RunRecord("running") for run in planned}
    board = Board(records, dict.fromkeys(planned, STEPS), len(planned))
    started = {"event": "started", "algorithm": "a", "task": "t", "metric": "m", "unit": "%", "out": "o"}
    started |= {"stages": [{"name": "s", "steps": STEPS}], "steps": STEPS, "seeds": [0]}
    chunk = {"event": "chunk", "seeds": [0], "stage": "s", "stage_steps": STEPS, "steps_per_second": 1.0}
    chunk |= {"metrics": {"loss": [1.0], "q_mean": [1.0], "ess": [1.0]}}
    for run in planned:
        board.advance(run, {"event": "launched"}, 0.0)
        board.advance(run, started, 0.0)

    def each(what, times: int, clock=time.process_time) -> float:
        began = clock()
        for number in range(times):
            what(number)
        return (clock() - began) / times

    def event(number: int) -> None:
        board.advance(planned[number % len(planned)], {**chunk, "step": number, "stage_step": number}, number)

    def checkpoint(number: int) -> None:
        with atomic_file(out / f"{number % 10}.ckpt") as file:
            file.write(bytes(10_000_000))

    found = {
        "an event on the board": each(event, 20_000),
        "benchmark.json of 5,600 runs": each(lambda number: write_records("x", board.records, out), 5),
        "the time left, of 5,600 runs": each(lambda number: board.seconds_left(1.0), 3),
        "a line of metrics.jsonl (disk)": each(
            lambda number: append_line(out / "metrics.jsonl", json.dumps(chunk)), 300, time.perf_counter
        ),
        "a checkpoint of 10 MB (disk)": each(checkpoint, 20, time.perf_counter),
    }
    try:
        import ray
        from ray.util.queue import Queue
    except ImportError:
        return found
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    queue, count = Queue(actor_options={"num_cpus": 0}), 3_000

    def seconds_of_queue() -> float:
        return ray.get(queue.actor.__ray_call__.remote(lambda actor: time.process_time()))

    before = seconds_of_queue()
    for number in range(count):
        queue.actor.put_nowait.remote((number, 1, chunk))
    while queue.qsize() < count:
        time.sleep(0.1)
    put = (seconds_of_queue() - before) / count
    taken = each(lambda number: queue.get_nowait_batch(count), 1) / count
    ray.shutdown()
    return found | {"an event into Ray's queue": put, "an event out of Ray's queue": taken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--measure", type=Path, metavar="OUT")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--vmap", action="store_true", help="eight seeds of a task in one program")
    parser.add_argument("--unmeasured", type=float, default=1.0, help="how much slower than assumed")
    parser.add_argument("--play", type=float, default=300.0, help="seconds of a run's evaluations (assumed)")
    parser.add_argument("--load", type=float, default=20.0, help="seconds of imports and data (assumed)")
    parser.add_argument("--price", type=float, default=2.5, help="of an hour of one GPU (assumed)")
    parser.add_argument(
        "--lost-every", type=float, default=500.0, help="hours between losses of a GPU (assumed)"
    )
    arguments = parser.parse_args()
    if arguments.measure:
        arguments.measure.mkdir(parents=True, exist_ok=True)
        for what, seconds in measure(arguments.measure).items():
            print(f"{what:32} {1e3 * seconds:9.3f} ms  {1 / seconds:12,.0f} /s")
        return
    print("GPUs     days  GPU hours      cost  losses  at work")
    for gpus in arguments.gpus:
        found = simulate(arguments, gpus)
        cost = found["GPU hours"] * arguments.price
        print(
            f"{gpus:4} {found['hours'] / 24:8.2f} {found['GPU hours']:10,.0f} {cost:9,.0f} "
            f"{found['losses']:7} {100 * found['share at work']:7.0f} %"
        )


if __name__ == "__main__":
    main()
