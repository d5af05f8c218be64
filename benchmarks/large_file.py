"""One large file converted by `tiltflow data shard`: how much memory it takes, and how long.

    python benchmarks/large_file.py FOLDER [--gb 2] [--formats ours.hdf5 named.hdf5 ours.npz named.parquet]

Writes a synthetic file (48 observations, 8 actions) to FOLDER, converts it in a process of its own, and
deletes both. Memory is RssAnon of /proc/PID/status at its peak: pages of mapped files, which the kernel takes
back when it needs room, do not count. Needs room for four times the file.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.lib import format as npy

OBSERVATIONS, ACTIONS, EPISODE, BLOCK = 48, 8, 1000, 50_000
SIZES = {"observations": OBSERVATIONS, "actions": ACTIONS}
NAMED = {"observations": "state", "actions": "action", "rewards": "reward", "terminals": "done"}
FORMATS = ("ours.hdf5", "named.hdf5", "ours.npz", "named.parquet")


def blocks(rows: int) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        observations = random.standard_normal((count, OBSERVATIONS), np.float32)
        ends = np.arange(first + 1, first + count + 1) % EPISODE == 0
        yield {
            "observations": observations,
            "actions": np.tanh(random.standard_normal((count, ACTIONS), np.float32)),
            "rewards": -np.abs(observations[:, 0]),
            "terminals": ends,
            "timeouts": np.zeros(count, bool),
        }


def write(path: Path, rows: int) -> None:
    names = {name: name for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    names = NAMED if path.name.startswith("named") else names
    if path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            for block in blocks(rows):
                for name, column in names.items():
                    shape = block[column if column in block else name].shape[1:]
                    here = file.require_dataset(
                        column, (rows, *shape), block[name].dtype, chunks=(1000, *shape)
                    )
                    done = here.attrs.get("done", 0)
                    here[done : done + len(block[name])] = block[name]
                    here.attrs["done"] = done + len(block[name])
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    for number, block in enumerate(blocks(rows)):
                        if number == 0:
                            kind, shape = npy.dtype_to_descr(block[name].dtype), block[name].shape[1:]
                            head = {"descr": kind, "fortran_order": False, "shape": (rows, *shape)}
                            npy.write_array_header_1_0(member, head)
                        member.write(block[name].tobytes())
    else:
        writer = None
        for block in blocks(rows):
            columns = {
                names[name]: pyarrow.FixedSizeListArray.from_arrays(block[name].ravel(), SIZES[name])
                if name in SIZES
                else block[name]
                for name in names
            }
            table = pyarrow.table(columns)
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema, compression="snappy")
            writer.write_table(table)
        assert writer is not None
        writer.close()


def anonymous(pid: int) -> int:
    """Bytes that a process has for itself; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the files are written, and deleted")
    parser.add_argument("--gb", type=float, default=2.0, help="size of a file")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    arguments = parser.parse_args()
    rows = int(arguments.gb * 1e9 / (4 * (OBSERVATIONS + ACTIONS + 1) + 2)) // EPISODE * EPISODE
    found = {}
    for name in arguments.formats:
        path, out = arguments.folder / name, arguments.folder / f"{name}-converted"
        arguments.folder.mkdir(parents=True, exist_ok=True)
        try:
            write(path, rows)
            words = ["-m", "tiltflow", "data", "shard", str(path), str(out)]
            began, peak = time.monotonic(), 0
            with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as process:
                while process.poll() is None:
                    peak = max(peak, anonymous(process.pid))
                    time.sleep(0.02)
            found[name] = {
                "GB": round(path.stat().st_size / 1e9, 2),
                "RssAnon, MB": round(peak / 1e6),
                "seconds": round(time.monotonic() - began, 1),
                "exit code": process.returncode,
                "checksum": json.loads((out / "data.json").read_text())["checksum"][:16],
            }
        finally:
            path.unlink(missing_ok=True)
            shutil.rmtree(out, ignore_errors=True)
        print(name, found[name], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
