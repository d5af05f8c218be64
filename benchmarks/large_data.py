"""Data larger than memory: steps/s, memory and the time to the first batch, beside data on the device.

    python benchmarks/large_data.py FOLDER [--rows 20000000] [--few 1000000] [--algorithm iql] [--keep]

Writes two synthetic data sets (48 observations, 8 actions: 422 bytes a transition) to FOLDER, as `tiltflow
data shard` would, and deletes them at the end. On the small one it trains by turns with --data-on device and
host, each in a process of its own, and compares steps/s and the bits of the final checkpoint; then on the
large one, with --data-on host. Steps/s are the median of all chunks but the first, which compiles: by the
wall clock, and by the CPU time of all threads, which other work disturbs less. Memory is RssAnon of
/proc/self/status, at its peak: what the process has for itself. Pages of mapped files, which the kernel takes
back when it needs room, are RssFile. With --cold the kernel is asked to forget the files first.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

OBSERVATIONS, ACTIONS, EPISODE, BLOCK = 48, 8, 1000, 500_000

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path, help="where the data and runs are written, some 10 GB")
parser.add_argument("--rows", type=int, default=20_000_000, help="transitions of the large data set")
parser.add_argument("--few", type=int, default=1_000_000, help="transitions of the small one")
parser.add_argument("--algorithm", default="iql", help="algorithm that is trained")
parser.add_argument("--steps", type=int, default=10_000, help="gradient steps of each training")
parser.add_argument("--chunk", type=int, default=1000, help="gradient steps of a chunk")
parser.add_argument("--repeats", type=int, default=3, help="trainings on the small data set of each kind")
parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
parser.add_argument("--cold", action="store_true", help="forget cached pages of the files first")
parser.add_argument("--keep", action="store_true", help="leave the data where they are")
parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)


def parts(rows: int) -> Iterator:
    """Random transitions in episodes of one length."""
    import numpy as np

    from tiltflow.data.transitions import Transitions

    random = np.random.default_rng(0)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        observations = random.standard_normal((count + 1, OBSERVATIONS), np.float32)
        actions = np.tanh(random.standard_normal((count, ACTIONS), np.float32))
        ends = (np.arange(first, first + count) + 1) % EPISODE == 0
        ends[-1] = True
        rewards = -np.abs(observations[1:, 0])
        yield Transitions(observations[:-1], actions, rewards, observations[1:], np.zeros(count, bool), ends)


def make(folder: Path, rows: int) -> None:
    """Write a data set, block by block."""
    from tiltflow.data.shard import shard_parts
    from tiltflow.tasks import find_task

    began = time.perf_counter()
    shard_parts(find_task("file/large"), folder, parts(rows), f"{rows:,} synthetic transitions")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {rows:,} rows, {size / 1e9:.2f} GB, written in {time.perf_counter() - began:.0f} s")


def status(name: str) -> int:
    """A number of bytes of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def train_here(data: Path, place: str, options: argparse.Namespace) -> None:
    """Train, and print one line of JSON."""
    began, peak = float(os.environ["BEGAN"]), {"RssAnon": 0, "RssFile": 0}

    def watch() -> None:
        while True:
            peak.update({name: max(known, status(name)) for name, known in peak.items()})
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    from tiltflow.agents.registry import preset
    from tiltflow.run_folder import RunFolder
    from tiltflow.settings import override
    from tiltflow.train_config import TrainConfig
    from tiltflow.training import checkpoints
    from tiltflow.training.gather import Gatherer
    from tiltflow.training.run import train

    chunks: list[tuple[float, float, float]] = []
    gathered: list[tuple[float, float]] = []
    gather = Gatherer._batches

    def noted(*arguments):
        found = gather(*arguments)
        gathered.append((time.time() - began, time.process_time()))
        return found

    Gatherer._batches = noted

    def observe(event: dict) -> None:
        if event["event"] == "chunk":
            chunks.append((time.time() - began, event["steps_per_second"], time.process_time()))

    values = {key: json.loads(value) for key, value in (pair.split("=") for pair in options.set)}
    config = TrainConfig(
        options.algorithm, "file/large", override(preset(options.algorithm, "file/large"), values),
        data=str(data), data_on=place, steps=options.steps, chunk=options.chunk, evaluations=1, play=False,
        env="Pendulum-v1", checkpoint_every=10**9, parallel="vmap",
    )  # fmt: skip
    run = train(config, options.folder / f"run-{os.getpid()}", observe, in_this_process=True)
    _, body = checkpoints.read(RunFolder(run).group([0]).checkpoints()[-1])
    record = {
        "batch": gathered[0] if gathered else None, "chunk": chunks[0][0],
        "wall": median(speed for _, speed, _ in chunks[1:]),
        "cpu": median(options.chunk / (after[2] - before[2]) for before, after in pairwise(chunks)),
        **peak, "body": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    print(json.dumps(record))
    shutil.rmtree(run)


def trained(data: Path, place: str, options: argparse.Namespace) -> dict:
    """Train in a new process; its record."""
    for path in data.glob("*.npy") if options.cold else ():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    words = [sys.executable, __file__, *sys.argv[1:], "--train", str(data), place]
    environment = {**os.environ, "BEGAN": str(time.time())}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    record = json.loads(done.stdout.splitlines()[-1])
    batch = "first batch after {:.1f} s ({:.1f} of CPU), ".format(*record["batch"]) if record["batch"] else ""
    print(
        f"{data.name} data, {place}: {record['wall']:.0f} steps/s, {record['cpu']:.0f} a CPU second; {batch}"
        f"first chunk after {record['chunk']:.1f} s; RssAnon {record['RssAnon'] / 1e9:.2f} GB, RssFile "
        f"{record['RssFile'] / 1e9:.2f} GB; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return record


def main(options: argparse.Namespace) -> None:
    """Make the data, train, compare."""
    if options.train:
        train_here(Path(options.train[0]), options.train[1], options)
        return
    few, large = options.folder / "small", options.folder / "large"
    try:
        for folder, rows in ((few, options.few), (large, options.rows)):
            if not folder.exists():
                make(folder, rows)
        pairs = [
            [trained(few, place, options) for place in ("device", "host")] for _ in range(options.repeats)
        ]
        for clock in ("wall", "cpu"):
            shares = sorted(host[clock] / device[clock] for device, host in pairs)
            print(f"host over device, {clock} time: {', '.join(f'{100 * share:.0f} %' for share in shares)}")
        print(f"equal bits: {all(host['body'] == device['body'] for device, host in pairs)}")
        trained(large, "host", options)
    finally:
        for folder in () if options.keep else (few, large):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(parser.parse_args())
