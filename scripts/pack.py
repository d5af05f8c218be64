"""Pack tiltflow's source, the data of a suite and the command that trains it into one folder.

    python scripts/pack.py PACK --data FOLDER [--max-mib 60] -- SUITE [options of `tiltflow benchmark`]

For a machine with an accelerator and no simulator: copy PACK there and run `OUT=where PACK/run.sh`, which
needs Python 3.11 or later with tiltflow's dependencies (jax, numpy, scipy, optax, equinox, diffrax,
flatbuffers, jaxtyping, tyro, rich) and no installation. It trains with `--no-play` into OUT/bench and goes on
there when called again. Back home, the command that PACK/README.md names plays what was kept.

Of the data only the arrays that training reads are packed: float32 where they are real numbers, int8 where
rewards are small integers, one bit's worth for flags, all compressed; of OGBench data instead of positions
the rewards of each task, which the ogbench package computes here, and no validation data. Training converts
to float32 in any case, so nothing is lost: the script refuses to write a pack whose transitions do not have
the checksum of the originals. PACK must be new, and is not written where it would be larger than --max-mib.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiltflow.cli.benchmark import Benchmark
from tiltflow.cli.benchmark import parse as parse_benchmark
from tiltflow.cli.failures import exit_code, paragraph
from tiltflow.data.arrays import write_npz
from tiltflow.data.audit import FLAGS, refuse_errors
from tiltflow.data.formats import REQUIRED, FileColumns, layout_of
from tiltflow.data.load import load_dataset, read_recording
from tiltflow.data.locate import packed_name
from tiltflow.errors import ExplainedError, UserError
from tiltflow.tasks import Task, find_task

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tiltflow"
MIB = 2**20

RUN = """\
#!/bin/sh
# Trains without a simulator, into $OUT/bench; called again it goes on. Options may follow (--processes 2).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/src${{PYTHONPATH:+:$PYTHONPATH}}"
exec "${{PYTHON:-python3}}" -P -m tiltflow benchmark {words} \\
    --no-play --data "$here/data" --out "${{OUT:-$here/out}}/bench" "$@"
"""

README = """\
# A packed suite of tiltflow

On the machine that trains, which needs no simulator:

    OUT=out ./run.sh

It may be stopped and called again. Then take `out/bench` home, to where tiltflow is installed with its
simulators and the original data lie in {data}, and play what was trained, one process a core:

    tiltflow benchmark {words} --data {data} --out bench

That writes the scores and the page that compares the runs. A single run is played without any data by

    tiltflow evaluate bench/TASK/AGENT/seed-S
"""


def small(key: str, column: np.ndarray) -> np.ndarray:
    """The column in the smallest type that gives the same float32 (or flags) when it is loaded."""
    if key in FLAGS:
        return column.astype(bool)
    real = np.asarray(column, np.float32)
    if key == "rewards":
        with np.errstate(invalid="ignore"):
            whole = real.astype(np.int8)
        if whole.astype(np.float32).tobytes() == real.tobytes():
            return whole
    return real


def columns_of(task: Task, file: Path) -> FileColumns:
    """What training reads of a file; of an OGBench file with the rewards of the task."""
    states = task.source.states
    recording, findings = read_recording(file, states)
    refuse_errors(findings)
    columns = recording.columns
    if states:
        task.source.complete(task, [recording])
        return {key: columns[key] for key in (*REQUIRED["states"], "rewards", "terminations")}
    kept = {*REQUIRED[layout_of(columns)], "timeouts", "next_observations"}
    return {key: column for key, column in columns.items() if key in kept}


def pack_data(task: Task, data: Path, folder: Path) -> None:
    """Write the data of a task to the folder. Raises UserError where they would be others than before."""
    (file,) = task.source.locate(task, data)
    if file.is_dir():
        raise UserError(
            f"The data of {task.name} cannot be packed: Minari reads them, and it needs Gymnasium."
        )
    path = folder / f"{packed_name(task) if task.source.states else task.dataset}.npz"
    write_npz(path, {key: small(key, column) for key, column in columns_of(task, file).items()})
    if load_dataset(task, folder).checksum != load_dataset(task, data).checksum:
        raise UserError(f"{file} cannot be packed without loss: its packed transitions are not the same.")


def pack(out: Path, data: Path, words: Sequence[str], max_mib: float) -> int:
    """Write the pack; returns its size in bytes. Raises UserError where it would be too large."""
    benchmark: Benchmark = parse_benchmark([*words, "--out", "bench", "--data", str(data)])
    if out.exists():
        raise UserError(f"{out} exists already: name a new folder.")
    from tiltflow.benchmark.suites import find_suite

    plan = benchmark.plan(find_suite(benchmark.suite))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}-") as place:
        made = Path(place) / "pack"
        shutil.copytree(SOURCE, made / "src" / "tiltflow", ignore=shutil.ignore_patterns("__pycache__"))
        (made / "data").mkdir()
        for name in plan.tasks:
            pack_data(find_task(name), data, made / "data")
        text = shlex.join(words)
        (made / "run.sh").write_text(RUN.format(words=text))
        (made / "run.sh").chmod(0o755)
        (made / "README.md").write_text(README.format(words=text, data=shlex.quote(str(data))))
        sizes = {path: path.stat().st_size for path in made.rglob("*") if path.is_file()}
        total = sum(sizes.values())
        if total > max_mib * MIB:
            parts = ", ".join(
                f"{path.name} {size / MIB:.1f}" for path, size in sizes.items() if path.parent.name == "data"
            )
            raise UserError(
                f"The pack would have {total / MIB:.1f} MiB, more than --max-mib {max_mib:g} (MiB of data: "
                f"{parts}). Pack fewer tasks (--tasks), smaller data sets, or allow more. Nothing is written."
            )
        made.rename(out)
    return total


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="PACK", help="the new folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data of all tasks")
    parser.add_argument("--max-mib", type=float, default=60.0, help="largest size of the folder, in MiB")
    parser.add_argument("words", nargs="+", metavar="SUITE …", help="what follows `tiltflow benchmark`")
    given = parser.parse_args(arguments)
    try:
        size = pack(given.out, given.data, given.words, given.max_mib)
    except ExplainedError as error:
        print(paragraph(error), file=sys.stderr)
        return exit_code(error)
    print(
        f"{given.out}: {size / MIB:.1f} MiB. There: OUT=out {given.out}/run.sh. Then: {given.out}/README.md"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
