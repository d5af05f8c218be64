"""Runs at a URL: are their bits those of runs in a folder, whatever is lost?

    python benchmarks/remote_runs.py OUT [--url s3://bucket/tiltflow] [--steps 4000]

Trains a run in a folder and one at the URL (by default OUT/bucket, as file://…), which is killed with SIGKILL
after its first checkpoint is there. Then the copy of that machine is deleted, and another one goes on: it has
to wait until nobody has heard of the first for a while. Last a small suite, at home and at the URL. Prints
seconds, and whether the bits are the same.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bits import digest, flags, pendulum

from tiltflow.remote_folder import open_mirror
from tiltflow.remote_store import Store

SMALL = {"flow.network.width": 32, "flow.network.depth": 2, "flow.num-steps": 4}


def on_machine(out: Path, name: str) -> dict[str, str]:
    """The environment variables of a process on a machine of that name, with a disk of its own."""
    return {**os.environ, "TILTFLOW_SCRATCH": str(out / f"machine-{name}")}


def tiltflow(environment: dict[str, str], log: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tiltflow", *words]
    with log.open("a") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)


def timed(process: subprocess.Popen) -> float:
    began = time.monotonic()
    if process.wait():
        raise RuntimeError(f"{process.args}: exit code {process.returncode}")
    return round(time.monotonic() - began, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    out.mkdir(parents=True)
    url = arguments.url or f"file://{out}/bucket"
    data, log, found = out / "data" / "pendulum.npz", out / "log.txt", {}
    data.parent.mkdir()
    pendulum(data)
    words = ["--task", "file/pendulum", "--data", str(data), "--env", "Pendulum-v1", "--steps"]
    words += [str(arguments.steps), "--chunk", "200", "--checkpoint-every", "400", "--evaluations", "4"]
    words = ["train", "bc-flow", *words, "--episodes", "2", *flags("bc-flow", SMALL, dict(os.environ))]

    home = on_machine(out, "home")
    found["at home"] = {"seconds": timed(tiltflow(home, log, *words, "--out", str(out / "run")))}
    found["at home"]["bits"] = digest(out / "run")

    began, store = time.monotonic(), Store(f"{url}/run")
    lost = tiltflow(on_machine(out, "lost"), log, *words, "--out", f"{url}/run")
    while not any(name.endswith(".ckpt") for name in store.listed()):
        if lost.poll() is not None:
            raise RuntimeError(f"it ended before its first checkpoint was sent: see {log}")
        time.sleep(0.05)
    os.killpg(lost.pid, signal.SIGKILL)
    lost.wait()
    steps = [name[-15:-5] for name in store.listed() if name.endswith(".ckpt")]
    shutil.rmtree(out / "machine-lost")
    found["killed"] = {"seconds": round(time.monotonic() - began, 1), "steps there": sorted(map(int, steps))}
    other = {**on_machine(out, "other"), "TILTFLOW_PATIENCE": "120"}
    found["elsewhere"] = {"seconds": timed(tiltflow(other, log, "train", "--resume", f"{url}/run"))}
    os.environ["TILTFLOW_SCRATCH"] = str(out / "machine-reader")
    found["elsewhere"]["bits"] = digest(open_mirror(f"{url}/run"))

    suite = [
        "benchmark",
        "own",
        "--data",
        str(data),
        "--env",
        "Pendulum-v1",
        "--agents",
        "bc-flow",
        "--seeds",
    ]
    suite += [
        "2",
        "--steps",
        str(arguments.steps),
        "--network",
        "32x2",
        "--evaluations",
        "2",
        "--episodes",
        "2",
    ]
    found["suite at home"] = {"seconds": timed(tiltflow(home, log, *suite, "--out", str(out / "suite")))}
    found["suite at the URL"] = {"seconds": timed(tiltflow(home, log, *suite, "--out", f"{url}/suite"))}
    there = {str(path.parent.relative_to(out / "suite")) for path in (out / "suite").rglob("result.json")}
    for run in sorted(there):
        found["suite at home"][run] = digest(out / "suite" / run)
        found["suite at the URL"][run] = digest(open_mirror(f"{url}/suite/{run}"))
    left = [str(path) for path in (out / "machine-home").glob("*/seed-*")]
    found["copies of runs left where the suite ran"] = left
    print(json.dumps(found, indent=1))
    (out / "remote_runs.json").write_text(json.dumps(found, indent=1) + "\n")
    same = found["at home"]["bits"] == found["elsewhere"]["bits"]
    same &= all(found["suite at home"][run] == found["suite at the URL"][run] for run in there)
    print("the same bits" if same and there else "other bits")
    return 0 if same and there else 1


if __name__ == "__main__":
    sys.exit(main())
