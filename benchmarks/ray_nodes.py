"""A suite on two nodes of Ray, both on this machine: are its bits those at home, whatever is killed?

    python benchmarks/ray_nodes.py OUT                  the suite at home, on Ray, and while being killed
    python benchmarks/ray_nodes.py OUT --only overhead  one longer run at home and on Ray, one after the other

Two raylets of one core each are started (`ray start`), and stopped at the end. In the suite that is disturbed
a training process gets SIGKILL, then the worker of Ray above another one, then the second raylet, each after
its run has a checkpoint; and the command gets Ctrl-C and is called again. Needs the extra `ray`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bits import digest

PORT = 6399
TIMES = {"pace": 0.2, "patience": 600}
RAY = str(Path(sys.executable).with_name("ray"))


def command(out: Path, data: Path, arguments: argparse.Namespace, *more: str) -> list[str]:
    words = ["benchmark", "toy", "--agents", *arguments.agents, "--steps", str(arguments.steps)]
    words += ["--seeds", "1", "--evaluations", "2", "--episodes", "2", "--network", "64x2"]
    return [sys.executable, "-m", "tiltflow", *words, "--data", str(data), "--out", str(out), *more]


@contextmanager
def node(*words: str) -> Iterator[subprocess.Popen]:
    """A node of Ray with one core; its processes are gone at the end."""
    start = [RAY, "start", *words, "--num-cpus", "1", "--disable-usage-stats", "--block"]
    process = subprocess.Popen(
        start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        for pid in [process.pid, *below(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


@contextmanager
def two_nodes() -> Iterator[tuple[subprocess.Popen, subprocess.Popen]]:
    with node("--head", "--port", str(PORT), "--include-dashboard", "false") as head:
        wait(
            lambda: (
                subprocess.run(["bash", "-c", f"echo > /dev/tcp/127.0.0.1/{PORT}"], stderr=-3).returncode == 0
            )
        )
        time.sleep(5)
        with node("--address", f"127.0.0.1:{PORT}") as second:
            time.sleep(10)
            yield head, second


def wait(there: Callable[[], object]) -> None:
    late = time.monotonic() + TIMES["patience"]
    while not there():
        if time.monotonic() > late:
            raise TimeoutError("it did not happen")
        time.sleep(TIMES["pace"])


def below(pid: int) -> list[int]:
    """Every process that this one has started, however far below."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents.setdefault(int((entry / "stat").read_text().rpartition(")")[2].split()[1]), []).append(
                int(entry.name)
            )
        except OSError:
            continue
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, [])]
        found += new
    return found


def words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def trainer(root: int, out: Path) -> int | None:
    """A process below that trains a run of `out` which has a checkpoint and is not at its end."""
    for pid in below(root):
        if "tiltflow.processes.worker" not in words_of(pid):
            continue
        try:
            run = Path(os.readlink(f"/proc/{pid}/fd/2")).parent
        except OSError:
            continue
        kept = list(run.glob("seeds/*/checkpoints/*.ckpt"))
        if run.is_relative_to(out) and kept and not (run / "result.json").exists():
            return pid
    return None


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def disturb(process: subprocess.Popen, out: Path, head: int, second: int) -> list[str]:
    """Kill what there is, one after the other, while the suite goes on; returns what was killed."""
    done = []

    def kill(what: str, find: Callable[[], int | None]) -> None:
        wait(lambda: process.poll() is not None or find())
        if process.poll() is None and (pid := find()):
            os.kill(pid, signal.SIGKILL)
            done.append(f"{what}: {words_of(pid)[:60] or pid}")
            print(f"  killed {done[-1]}", flush=True)
            time.sleep(2)

    kill("a training process", lambda: trainer(head, out))
    kill("a worker of Ray", lambda: (pid := trainer(head, out)) and parent(pid))
    raylet = next(pid for pid in below(second) if "raylet/raylet" in words_of(pid).split(" ")[0])
    kill("the second raylet", lambda: raylet if trainer(second, out) else None)
    return done


def suite(name: str, arguments: argparse.Namespace, *more: str, during=lambda process, out: None) -> dict:
    out = (arguments.out / name).absolute()
    environment = {**os.environ, "RAY_ADDRESS": f"127.0.0.1:{PORT}"}
    began = time.monotonic()
    with (arguments.out / f"{name}.log").open("w") as log:
        words = command(out, arguments.out.absolute() / "data", arguments, *more)
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        happened = during(process, out)
        code = process.wait()
    runs = {
        str(path.parent.relative_to(out)): digest(path.parent) for path in sorted(out.rglob("result.json"))
    }
    states = {
        entry["folder"]: entry["state"] for entry in json.loads((out / "benchmark.json").read_text())["runs"]
    }
    found = {"exit code": code, "seconds": round(time.monotonic() - began, 1), "bits": runs, "states": states}
    print(name, {key: value for key, value in found.items() if key != "bits"}, flush=True)
    return found | {"killed": happened}


def interrupt(process: subprocess.Popen, out: Path) -> str:
    """Ctrl-C, after the first checkpoint."""
    wait(lambda: process.poll() is not None or any(out.rglob("*.ckpt")))
    process.send_signal(signal.SIGINT)
    return "Ctrl-C"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--agents", nargs="+", default=["bc-flow", "iql"])
    parser.add_argument("--only", choices=["bits", "overhead"], default="bits")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex * 2}
    found = {}
    if arguments.only == "overhead":
        arguments.agents = arguments.agents[:1]
        for turn in range(2):
            task = ("--tasks", "pointmaze/umaze-v0", "--processes", "1")
            found[f"local {turn}"] = suite(f"local-{turn}", arguments, *task)
            with two_nodes():
                found[f"ray {turn}"] = suite(f"ray-{turn}", arguments, *task, "--executor", "ray")
    else:
        found["local"] = suite("local", arguments)
        with two_nodes() as (head, second):
            found["ray"] = suite("ray", arguments, "--executor", "ray")
            ray = ("--executor", "ray")
            found["stopped"] = suite("again", arguments, *ray, during=interrupt)
            found["again"] = suite("again", arguments, *ray)
            found["disturbed"] = suite(
                "disturbed", arguments, *ray, during=lambda p, out: disturb(p, out, head.pid, second.pid)
            )
            left = [pid for pid in below(second.pid) if "tiltflow" in words_of(pid)]
            print(f"training processes left on the node that was killed: {len(left)}")
    (arguments.out / "ray_nodes.json").write_text(json.dumps(found, indent=1) + "\n")
    ended = {name: record["bits"] for name, record in found.items() if name != "stopped"}
    first = next(iter(ended.values()))
    others = [name for name, bits in ended.items() if bits != first]
    print("the same bits" if not others else f"other bits: {', '.join(others)}")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
