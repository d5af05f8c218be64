"""A disk that is full, or read-only, while a training writes: what is said, and are the bits the same later?

    python benchmarks/disk_faults.py OUT [--agent qipo-ot] [--how full read-only]

Needs to be root: every run lies on a file system of its own of 8 MB in memory (tmpfs). It is filled to the
last byte, or made read-only, at a chunk (the next line of metrics, or checkpoint), at an evaluation, at a
checkpoint, or when the last chunk is done (actions, result, page). Then the room is given back, and the run
is resumed. The command must end with exit code 2, or where only the page is missing with 0 and a warning, and
name a file of the run; the resumed run must have the bits of one that nothing disturbed. Exit code 1
otherwise.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

from small_runs import STEPS, record_of, small, write_data

MOMENTS = {"chunk": "chunk", "evaluating": "activity", "checkpoint": "checkpoint", "end": "chunk"}
FILLER = "filler"


def fill(place: Path) -> None:
    """Take every byte that is left."""
    with (place / FILLER).open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def mount(place: Path, *words: str) -> None:
    subprocess.run(["mount", *words, str(place)], check=True)


def make_read_only(place: Path) -> None:
    """Lay a read-only view over the folder: it itself cannot become so while files are open."""
    mount(place, "--bind", str(place))
    mount(place, "-o", "remount,bind,ro")


def train_there(config_file: Path, run: Path, how: str, moment: str) -> int:
    """Train, or go on, with the fault at that moment; returns the exit code of the command line."""
    from tiltflow.cli.failures import exit_code, paragraph
    from tiltflow.files import read_json
    from tiltflow.train_config import from_dict
    from tiltflow.training.run import resume, train

    done = how == "never"

    def observe(event: dict) -> None:
        nonlocal done
        if event["event"] == "message" and event["level"] == "warning":
            print(event["text"], file=sys.stderr)
        late = event.get("step", 0) >= (STEPS if moment == "end" else STEPS // 2) or "fraction" in event
        if not done and event["event"] == MOMENTS[moment] and late:
            done = True
            fill(run.parent) if how == "full" else make_read_only(run.parent)

    try:
        if (run / "config.json").exists():
            resume(run, observe)
        else:
            train(from_dict(read_json(config_file), str(config_file)), run, observe)
    except BaseException as error:
        print(paragraph(error), file=sys.stderr)
        return exit_code(error)
    return 0


def once(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, __file__, "once", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def try_fault(config: Path, whole: Path, place: Path, how: str, moment: str) -> dict:
    """One run with that fault, and what became of it."""
    place.mkdir()
    mount(place, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    run = place / "run"
    try:
        first = once(str(config), str(run), how, moment)
        if how == "read-only":
            subprocess.run(["umount", str(place)], check=True)
        (place / FILLER).unlink(missing_ok=True)
        said = " ".join(first.stderr.split())
        kept = [path.name for path in place.rglob("*.writing")]
        second = once(str(config), str(run), "never", moment)
        same = second.returncode == 0 and record_of(run) == record_of(whole)
        finished = (run / "result.json").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(place)
    good = same and finished and first.returncode in (0, 2) and str(run) in said
    return {
        "how": how,
        "moment": moment,
        "exit": first.returncode,
        "said": said[:300],
        "left": kept,
        "same": same,
        "good": good,
        "error": second.stderr[-300:] if second.returncode else "",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Take the disk from trainings, and give it back.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--agent", default="qipo-ot")
    parser.add_argument("--how", nargs="+", default=["full", "read-only"])
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    out = given.out.resolve()
    write_data(out / "data.npz")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "cache"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    from tiltflow.files import write_json
    from tiltflow.train_config import to_dict

    config, whole = out / "config.json", out / "whole"
    write_json(config, to_dict(small(given.agent, out / "data.npz", 1)))
    done = once(str(config), str(whole), "never", "chunk")
    assert done.returncode == 0, done.stderr
    records = []
    for how, moment in product(given.how, MOMENTS):
        records.append(try_fault(config, whole, out / f"{how}-{moment}", how, moment))
        print(json.dumps(records[-1]), flush=True)
    bad = sum(not record["good"] for record in records)
    print(f"{len(records)} faults, {bad} of them with a wrong end")
    return int(bad > 0)


if __name__ == "__main__":
    if sys.argv[1] == "once":
        config, run, how, moment = sys.argv[2:]
        sys.exit(train_there(Path(config), Path(run), how, moment))
    sys.exit(main())
