"""Trainings killed at random moments: does each resume to the bits of one that nothing disturbed?

    python benchmarks/faults.py OUT [--kills 100] [--seed 0] [--agents qipo-ot flowq qgpo fql] [--seeds 1 2]
    python benchmarks/faults.py once CONFIG RUN MOMENT WHO STEP DELAY      a training that is killed once

Every agent is trained once undisturbed, with one seed and with two, which are two processes. Then trainings
are begun, killed with SIGKILL, resumed, killed again, …, three times a run, and resumed to their end, until
all runs together were killed so often. MOMENT is `starting`, a `chunk` of training, `drawing` actions at a
refresh, `evaluating`, writing a `checkpoint`, joining the `logs` of the seeds, or `concluding` the run, the
first one after STEP gradient steps and DELAY seconds; WHO is killed is the `parent`, one `child`, or `all`.

After each kill no process of the run may live longer than ten seconds. At the end the checkpoints, metrics
and evaluations must be those of the undisturbed run, and no temporary file may be left. Exit code 1
otherwise.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from small_runs import STEPS, children, record_of, small, write_data

KILLS_A_RUN = 3
MOMENTS = ("starting", "chunk", "drawing", "evaluating", "checkpoint", "logs", "concluding")
WRITTEN = {
    "checkpoint": ("seeds/*/checkpoints/.step-*.writing",),
    "logs": (".metrics.jsonl.*.writing", ".evaluations.jsonl.*.writing"),
    "concluding": (".actions.npz.*.writing", ".time.json.*.writing", ".result.json.*.writing", ".report*"),
}
"""The temporary files by which the last three moments are known."""
MARK = "TILTFLOW_FAULTS"
"""The environment variable by which the processes of a run are found."""


class Killer:
    """Kills once, at the first moment of its kind after so many steps; says so in a file before."""

    def __init__(self, run: Path, moment: str, who: str, step: int, delay: float):
        self.run, self.moment, self.who, self.step, self.delay = run, moment, who, step, delay
        self.reached, self.stage, self.lock = 0, "", threading.Lock()

    def __call__(self, event: dict) -> None:
        """Watch the events of a training."""
        if event["event"] == "chunk":
            self.reached, self.stage = max(self.reached, event["step"]), event["stage"]
        if self.reached < self.step:
            return
        what = event.get("text", "")
        met = {
            "chunk": event["event"] == "chunk",
            "drawing": event["event"] == "activity" and "drawing" in what,
            "evaluating": event["event"] == "activity" and "evaluating" in what,
        }
        if met.get(self.moment):
            threading.Timer(self.delay, self.kill).start()

    def watch(self) -> None:
        """Watch the files of a training, or the clock, from a thread."""
        time.sleep(self.delay if self.moment == "starting" else 0)
        while self.moment == "starting":
            self.kill()
            time.sleep(0.05)
        while self.moment in WRITTEN:
            if self.reached >= self.step and any(
                next(self.run.glob(name), None) for name in WRITTEN[self.moment]
            ):
                self.kill()
            time.sleep(0.0003)

    def kill(self) -> None:
        with self.lock:
            targets = {"parent": [os.getpid()], "child": children()[:1]}.get(
                self.who, [*children(), os.getpid()]
            )
            if not targets or self.moment == "done":  # between two children, or killed already
                return
            said = {"moment": self.moment, "who": self.who, "step": self.reached, "stage": self.stage}
            with kills_file(self.run).open("a") as file:
                file.write(json.dumps(said) + "\n")
            for target in targets:
                os.kill(target, signal.SIGKILL)
            self.moment = "done"


def kills_file(run: Path) -> Path:
    return run.with_name(f"{run.name}-kills.jsonl")


def train_once(config_file: Path, run: Path, killer: Killer) -> int:
    """Begin a training or go on with it, and return the exit code of the command line."""
    threading.Thread(target=killer.watch, daemon=True).start()
    from tiltflow.cli.failures import exit_code
    from tiltflow.files import read_json
    from tiltflow.train_config import from_dict
    from tiltflow.training.run import resume, train

    try:
        if (run / "config.json").exists():
            resume(run, killer)
        else:
            train(from_dict(read_json(config_file), str(config_file)), run, killer)
    except Exception as error:
        print(error, file=sys.stderr)
        return exit_code(error)
    return 0


def processes_of(run: Path) -> list[int]:
    """The processes that carry the mark of a run."""
    found, mark = [], f"{MARK}={run}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def command(config: Path, run: Path, *words: str) -> subprocess.CompletedProcess:
    """`once` with these words; the default is a training that nothing disturbs."""
    words = words or ("never", "parent", "0", "0")
    given = [sys.executable, __file__, "once", str(config), str(run), *words]
    return subprocess.run(
        given, env={**os.environ, MARK: str(run)}, capture_output=True, text=True, check=False
    )


def alone(run: Path, seconds: float = 10.0) -> bool:
    """Whether every process of a run ends within so long."""
    end = time.monotonic() + seconds
    while processes_of(run):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def steps_kept(run: Path) -> int:
    found = [int(path.stem[5:]) for path in run.glob("seeds/*/checkpoints/step-*.ckpt")]
    return max(found, default=0)


def kill_and_resume(config: Path, whole: Path, run: Path, moments: list[str], draw: random.Random) -> dict:
    """One run that is killed at these moments and then resumed to its end."""
    record: dict = {"run": run.name, "kills": [], "orphans": 0}
    for moment in moments:
        if (run / "result.json").exists():
            break
        who = draw.choice(("parent", "child", "all"))
        step = draw.randint(steps_kept(run), STEPS * 3 // 4) if steps_kept(run) < STEPS * 3 // 4 else 0
        delay = draw.uniform(0.5, 5.0) if moment == "starting" else draw.uniform(0, 0.03)
        before = len(kills_of(run))
        command(config, run, moment, who, str(step), str(delay))
        record["orphans"] += not alone(run)
        for kill in kills_of(run)[before:]:
            kill["left"] = sorted(path.name.split(".")[1] for path in run.rglob(".*.writing"))
            record["kills"].append(kill)
    last = command(config, run)
    record["exit"] = last.returncode
    record["same"] = last.returncode == 0 and record_of(run) == record_of(whole)
    record["left"] = [str(path.relative_to(run)) for path in run.rglob("*.writing")]
    record["error"] = last.stderr[-500:] if last.returncode else ""
    return record


def kills_of(run: Path) -> list[dict]:
    file = kills_file(run)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def sound(record: dict) -> bool:
    """Whether a run ended with the same bits, and nothing was left of its killed processes."""
    return record["same"] and not record["orphans"] and not record["left"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill trainings at random moments and resume them.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2], help="of each run; two are two processes"
    )
    parser.add_argument("--agents", nargs="+", default=["qipo-ot", "flowq", "qgpo", "fql"])
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    out, draw = given.out.resolve(), random.Random(given.seed)
    write_data(out / "data.npz")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "cache"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    from tiltflow.files import write_json
    from tiltflow.train_config import to_dict

    kinds, deck, records = [(a, s) for s in given.seeds for a in given.agents], list[str](), list[dict]()
    for agent, seeds in kinds:
        config, whole = out / f"{agent}-{seeds}.json", out / f"{agent}-{seeds}-whole"
        write_json(config, to_dict(small(agent, out / "data.npz", seeds)))
        began, done = time.monotonic(), command(config, whole)
        print(f"{whole.name}: {time.monotonic() - began:.0f} s, exit code {done.returncode}", flush=True)
        assert done.returncode == 0, done.stderr
    while (left := given.kills - sum(len(record["kills"]) for record in records)) > 0:
        agent, seeds = kinds[len(records) % len(kinds)]
        while len(deck) < KILLS_A_RUN:
            deck += draw.sample(MOMENTS, len(MOMENTS))
        taken = [deck.pop(0) for _ in range(min(KILLS_A_RUN, left))]
        moments = sorted(taken, key=MOMENTS.index)
        config, whole = out / f"{agent}-{seeds}.json", out / f"{agent}-{seeds}-whole"
        run = out / f"{agent}-{seeds}-{len(records)}"
        records.append(kill_and_resume(config, whole, run, moments, draw))
        with (out / "faults.jsonl").open("a") as file:
            file.write(json.dumps(records[-1]) + "\n")
        print(json.dumps(records[-1]), flush=True)
    kills, bad = (
        [kill for record in records for kill in record["kills"]],
        [r for r in records if not sound(r)],
    )
    for key in ("moment", "who", "stage"):
        print(f"by {key}: {dict(Counter(kill[key] for kill in kills))}")
    written = sum(bool(kill["left"]) for kill in kills)
    print(f"{len(kills)} kills ({written} while a file was written) in {len(records)} runs: "
          f"{len(records) - len(bad)} runs with the same bits")  # fmt: skip
    return int(bool(bad))


if __name__ == "__main__":
    if sys.argv[1] == "once":
        config, run, moment, who, step, delay = sys.argv[2:]
        sys.exit(train_once(Path(config), Path(run), Killer(Path(run), moment, who, int(step), float(delay))))
    sys.exit(main())
