"""Trainings killed at random moments: does each resume to the bits of one that nothing disturbed?

    python benchmarks/faults.py OUT [--kills 100] [--seed 0] [--agents qipo-ot flowq qgpo fql] [--seeds 2]

Every agent is trained once undisturbed on small random data with checkpoints every few steps. Then its
training is begun, killed with SIGKILL after a random time, resumed, killed again, …, three times a run, and
resumed to its end, until all runs together were killed so often. A kill falls in starting, compiling, a step,
a refresh, an evaluation, a checkpoint or the joining of logs, as chance has it; what the run had logged by
then is told. After each kill no process of it may live longer than ten seconds, and at the end the
checkpoints, metrics and evaluations must be those of the undisturbed run, and no temporary file may be left.
Exit code 1 otherwise.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from stopping import record_of

KILLS_A_RUN = 3
STEPS = (
    "--steps",
    "240",
    "--chunk",
    "10",
    "--checkpoint-every",
    "10",
    "--evaluations",
    "4",
    "--episodes",
    "2",
)


def write_data(path: Path) -> None:
    """Random transitions with the sizes of Gymnasium's pendulum."""
    draw, rows = np.random.default_rng(0), 2000
    np.savez(
        path,
        observations=draw.normal(size=(rows, 3)).astype(np.float32),
        actions=draw.uniform(-1, 1, (rows, 1)).astype(np.float32),
        rewards=draw.normal(size=rows).astype(np.float32),
        terminals=np.zeros(rows, bool),
        timeouts=np.arange(rows) % 200 == 199,
    )


def words(agent: str, data: Path, run: Path, seeds: int) -> list[str]:
    """The command that begins a run here, or goes on with it."""
    start = [sys.executable, "-m", "tiltflow", "train"]
    if (run / "config.json").exists():
        return [*start, "--resume", str(run)]
    place = ["--task", "file/random", "--env", "Pendulum-v1", "--data", str(data), "--out", str(run)]
    return [*start, agent, *place, *STEPS, "--seeds", str(seeds)]


def ended(group: int, seconds: float = 10.0) -> bool:
    """Whether every process of a group ends within so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def killed_after(command: list[str], seconds: float, log: Path) -> tuple[int, bool]:
    """The exit code of a command that is killed after so long, and whether its processes ended with it."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
    return code, ended(process.pid)


def steps_logged(run: Path) -> int:
    """The gradient steps that a run has logged, of the seed that is furthest."""
    lines = [
        line for path in run.glob("seeds/*/metrics.jsonl") for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return max((json.loads(line)["step"] for line in lines), default=0)


def try_run(
    agent: str, out: Path, number: int, seeds: int, kills: int, draw: random.Random, usual: float
) -> dict:
    """One run that is killed so often and then resumed to its end."""
    data, run, log = out / "data.npz", out / f"{agent}-{number}", out / f"{agent}-{number}.log"
    record: dict = {"agent": agent, "run": run.name, "kills": [], "orphans": 0}
    while len(record["kills"]) < kills:
        code, alone = killed_after(words(agent, data, run, seeds), draw.uniform(0.1, 0.8) * usual, log)
        record["orphans"] += not alone
        if code != -signal.SIGKILL:  # it was through before
            break
        record["kills"].append(steps_logged(run))
    last = subprocess.run(words(agent, data, run, seeds), capture_output=True, text=True, check=False)
    whole = out / f"{agent}-whole"
    record["exit"] = last.returncode
    record["same"] = last.returncode == 0 and record_of(run) == record_of(whole)
    record["left"] = [str(path.relative_to(run)) for path in run.rglob("*.writing")]
    record["error"] = last.stderr[-500:] if last.returncode else ""
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill trainings at random moments and resume them.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2, help="of each run; two are two processes")
    parser.add_argument("--agents", nargs="+", default=["qipo-ot", "flowq", "qgpo", "fql"])
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    out, draw = given.out.resolve(), random.Random(given.seed)
    write_data(out / "data.npz")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "cache"))
    usual = {}
    for agent in given.agents:
        command = words(agent, out / "data.npz", out / f"{agent}-whole", given.seeds)
        subprocess.run(command, check=True, capture_output=True)  # fills the cache of compiled programs
        began = time.monotonic()
        timed = words(agent, out / "data.npz", out / f"{agent}-again", given.seeds)
        subprocess.run(timed, check=True, capture_output=True)
        usual[agent] = time.monotonic() - began
        print(f"{agent}: {usual[agent]:.0f} s undisturbed", flush=True)
        if record_of(out / f"{agent}-again") != record_of(out / f"{agent}-whole"):
            raise SystemExit(f"{agent}: two undisturbed runs differ")
    records: list[dict] = []
    while (left := given.kills - sum(len(record["kills"]) for record in records)) > 0:
        agent = given.agents[len(records) % len(given.agents)]
        count = min(KILLS_A_RUN, left)
        records.append(try_run(agent, out, len(records), given.seeds, count, draw, usual[agent]))
        if len(records[-1]["kills"]) < count:  # it is quicker by now than it was
            usual[agent] *= 0.7
        with (out / "faults.jsonl").open("a") as file:
            file.write(json.dumps(records[-1]) + "\n")
        print(json.dumps(records[-1]), flush=True)
    kills, bad = sum(len(record["kills"]) for record in records), [r for r in records if not sound(r)]
    print(f"{kills} kills in {len(records)} runs: {len(records) - len(bad)} runs with the same bits")
    return int(bool(bad))


def sound(record: dict) -> bool:
    """Whether a run ended with the same bits, and nothing was left of its killed processes."""
    return record["same"] and not record["orphans"] and not record["left"]


if __name__ == "__main__":
    sys.exit(main())
