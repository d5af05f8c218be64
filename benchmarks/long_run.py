"""A long training with evaluations and checkpoints all the time, interrupted again and again: what is kept?

    python benchmarks/long_run.py OUT [--minutes 30] [--interrupts 20]

Trains bc-flow and records, four times a minute, the memory (PSS) and the open files of all its processes, and
the files and bytes of its folder less the logs, which grow by a line a chunk. It is interrupted (SIGINT) so
often, at equal spaces, and resumed. In the second half of each space, memory, open files, files and bytes of
the last third may be at most a tenth above those of the first third, and ten seconds after each interrupt no
process may be left. Exit code 1 otherwise.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from faults import MARK, alone, processes_of
from small_runs import small, write_data

SECONDS = 15.0
"""Between two records."""
SLACK = 1.1
LOGS = (".jsonl", ".log")


def record(run: Path, began: float) -> dict[str, float]:
    """What a run keeps now."""
    processes = processes_of(run)
    memory, files = 0.0, 0
    for number in processes:
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            memory += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
            files += len(list(Path(f"/proc/{number}/fd").iterdir()))
        except OSError:
            continue
    kept = [path for path in run.rglob("*") if path.is_file() and path.suffix not in LOGS]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "processes": len(processes),
        "memory_mb": round(memory, 1),
        "open_files": files,
        "files": len(kept),
        "bytes": sum(path.stat().st_size for path in kept if path.exists()),
    }


def last_step(run: Path) -> int:
    lines = [path.read_text().splitlines() for path in run.glob("seeds/*/metrics.jsonl")]
    return max((json.loads(of[-1])["step"] for of in lines if of), default=0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Watch what a long training keeps.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--interrupts", type=int, default=20)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    out = given.out.resolve()
    write_data(out / "data.npz")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "cache"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    from tiltflow.files import write_json
    from tiltflow.train_config import to_dict

    run, length = out / "run", given.minutes * 60 / (given.interrupts + 1)
    run.mkdir()
    # So many steps that it is never through; an evaluation and a checkpoint every few seconds.
    steps = {"steps": 10**7, "evaluations": 5000, "chunk": 500, "checkpoint_every": 1000}
    write_json(run / "config.json", to_dict(small("bc-flow", out / "data.npz", 1, **steps)))
    command = [sys.executable, "-m", "tiltflow", "train", "--resume", str(run)]
    began, records, orphans, codes = time.monotonic(), list[dict](), 0, list[int]()
    for _ in range(given.interrupts + 1):
        started = time.monotonic()
        with (out / "log").open("ab") as log:
            process = subprocess.Popen(command, env={**os.environ, MARK: str(run)}, stdout=log, stderr=log)
        while time.monotonic() - started < length and process.poll() is None:
            time.sleep(min(SECONDS, length / 3))
            records.append(
                {**record(run, began), "since": time.monotonic() - started, "step": last_step(run)}
            )
            with (out / "records.jsonl").open("a") as file:
                file.write(json.dumps(records[-1]) + "\n")
        process.send_signal(signal.SIGINT)
        codes.append(process.wait())
        orphans += not alone(run)
    steady = [one for one in records if one["since"] > length / 2]
    third = len(steady) // 3
    faults = [f"exit codes {codes}"] * (set(codes) != {130}) + [f"{orphans} orphans"] * (orphans > 0)
    for name in ("memory_mb", "open_files", "files", "bytes"):
        early, late = (
            float(np.median([one[name] for one in part])) for part in (steady[:third], steady[-third:])
        )
        print(f"{name}: {early:,.1f} in the first third, {late:,.1f} in the last")
        faults += [name] * (late > SLACK * early)
    minutes, steps = (time.monotonic() - began) / 60, records[-1]["step"]
    verdict = f"FAULTS: {'; '.join(faults)}" if faults else "nothing grew, nothing was left"
    print(f"{len(codes)} interrupts in {minutes:.0f} min, {steps:,} steps; {verdict}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
