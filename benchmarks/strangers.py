"""Files of strangers: whatever stands in them, a reader answers with data or with one clear error.

    python benchmarks/strangers.py RUN [--inputs N] [--seed S] [--only KIND …]

Real files of every format, and those of the run folder RUN, are mutated at random: bits turned, bytes put
in, taken out and copied, ends cut off; in JSON also values, keys and types. Each is read as a command reads
it. Anything but a UserError is a fault of ours and is told with the place that raised it; exit code 1 then.
Readers may take at most 8 GiB of address space more than they begin with.
"""

import argparse
import copy
import json
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tiltflow.benchmark_file import stored_runs
from tiltflow.data.load import audit_path
from tiltflow.data.points import read_table
from tiltflow.errors import ExplainedError
from tiltflow.report.run_reader import read_run
from tiltflow.run_folder import RunFolder

OFFICIAL = Path(__file__).parents[1] / "tests" / "data" / "official"
ODD = (
    None,
    True,
    -1,
    0,
    2,
    10**30,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "١",
    [],
    [[]],
    [1],
    {},
    {"a": 1},
)


class Kind(NamedTuple):
    """A file among those that are read together, and what reads them."""

    folder: Path
    file: str
    read: Callable[[Path], Any]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Another file: one to three changes of bytes, or of the tree where it is JSON."""
    if content[:1] in (b"{", b"[") and draw.random() < 0.7:
        return _mutated_json(content, draw)
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(len(content) + 1), draw.choice((1, 2, 4, 8, 50))
        before, after = content[:place], content[place:]
        match draw.randrange(7):
            case 0 if after:
                content = before + bytes([after[0] ^ 1 << draw.randrange(8)]) + after[1:]
            case 1:
                content = before
            case 2:
                content = before + draw.randbytes(length) + after
            case 3:
                content = before + after[length:]
            case 4:
                content = (
                    before
                    + draw.choice((b"\0", b"\xff", b"{", b"[", b"9", b"\n", b",")) * length
                    + after[length:]
                )
            case 5:
                other = draw.randrange(len(content) + 1)
                content = before + content[other : other + length] + after[length:]
            case _:
                content = (
                    before + draw.choice((b"[" * 99_999, b"1e999", b'"', b"\xe9", b"NaN,", b"-")) + after
                )
    return content


def _mutated_json(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines() if content.count(b"\n{") else [content.decode()]
    number = draw.randrange(len(lines))
    tree = json.loads(lines[number])
    places = list(_places(tree))
    node, key = draw.choice(places)
    match draw.randrange(5):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[draw.choice(("x", "", key + "s"))] = node.pop(key)
        case 2:
            other, name = draw.choice(places)
            node[key] = copy.deepcopy(other[name]) if isinstance(other, dict) or name < len(other) else None
        case _:
            node[key] = draw.choice(ODD)
    lines[number] = json.dumps(tree)
    return "".join(line + "\n" for line in lines).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def read_log_of(path: Path) -> None:
    audit_path(path)


def read_page(folder: Path) -> None:
    """What the page of a run asks of it, without drawing."""
    run = read_run(folder)
    _ = run.stages, run.scores, run.refreshes, run.steps, run.last_step, run.scored_betas, run.last_episodes
    for stage in run.stages:
        _ = [run.metric(stage.name, name) for name in stage.metrics], run.stage_start(stage.name)


def read_to_resume(folder: Path) -> None:
    run = RunFolder(folder)
    run.read_config()
    run.read_task()
    run.read_environment()
    run.metrics()
    run.evaluations(1)


def kinds(place: Path, run: Path, *, minari: bool = True) -> dict[str, Kind]:
    """A small file of every format in a folder of its own below `place`, and the files of a run."""
    import h5py
    import pyarrow
    from pyarrow import parquet

    found: dict[str, Kind] = {}
    draw, rows = np.random.default_rng(0), 40
    table = {
        "observations": draw.normal(size=(rows, 3)).astype(np.float32),
        "actions": draw.uniform(-1, 1, (rows, 1)).astype(np.float32),
        "rewards": draw.normal(size=rows),
        "terminals": np.arange(rows) % 10 == 9,
        "timeouts": np.zeros(rows, bool),
    }

    def add(name: str, file: str, read: Callable[[Path], Any], whole: bool = False) -> Path:
        folder = place / name
        folder.mkdir(exist_ok=True)
        found[name] = Kind(folder, file, read if not whole else lambda path: read(folder))
        return folder / file

    np.savez(add("npz", "x.npz", read_log_of), **table)
    np.savez_compressed(add("npz-packed", "x.npz", read_log_of), **table)
    own = {**table, "torque": table["actions"], "done": table["terminals"]}
    np.savez(
        add("npz-own-names", "x.npz", read_log_of), **{k: own[k] for k in ("observations", "torque", "done")}
    )
    np.save(add("npy", "x.npy", read_table), table["observations"])
    np.savez(add("npz-points", "x.npz", read_table), **table)
    lines = ["obs_0,obs_1,obs_2,action,reward,done"]
    lines += [
        ",".join(f"{value:.4g}" for value in (*o, *a, r, float(d)))
        for o, a, r, d in zip(
            *(table[key] for key in ("observations", "actions", "rewards", "terminals")), strict=True
        )
    ]
    for name, read in (("csv", read_log_of), ("csv-points", read_table)):
        add(name, "x.csv", read).write_text("\n".join(lines) + "\n")
    with h5py.File(add("hdf5", "x.hdf5", read_log_of), "w") as file:
        for key, column in table.items():
            file.create_dataset(key, data=column)
    with h5py.File(add("hdf5-packed", "x.hdf5", read_log_of), "w") as file:
        for key, column in table.items():
            file.create_dataset(key, data=column, chunks=True, compression="gzip", fletcher32=True)
    shutil.copy(OFFICIAL / "robomimic.hdf5", add("robomimic", "x.hdf5", read_log_of))
    arrow = pyarrow.table({key: column.tolist() for key, column in table.items()})
    parquet.write_table(arrow, add("parquet", "x.parquet", read_log_of))
    add("toml", "x.columns.toml", lambda path: audit_path(path.with_name("x.npz"))).write_text(
        'observations = ["observations"]\nactions = "actions"\nrewards = "rewards"\naction_low = [-2.0]\n'
        "action_high = [2.0]\n"
    )
    np.savez(place / "toml" / "x.npz", **table)
    for version in ("lerobot-v2", "lerobot-v3"):
        shutil.copytree(OFFICIAL / version, place / version)
        add(version, "meta/info.json", read_log_of, whole=True)
    if minari:
        _add_minari(place, add)
    records = (
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "evaluations.jsonl",
        "result.json",
        "time.json",
    )
    for name in filter(lambda name: (run / name).exists(), records):
        for reader in (read_page, read_to_resume):
            label = f"run {name} {reader.__name__}"
            shutil.copytree(run, place / label, ignore=shutil.ignore_patterns("seeds", "*.html", "*.hdf5"))
            add(label, name, reader, whole=True)
    for name in ("actions.npz", "episodes.npz", "film.npz"):
        if (run / name).exists():
            label = f"run {name}"
            shutil.copytree(run, place / label, ignore=shutil.ignore_patterns("seeds", "*.html"))
            add(label, name, read_page, whole=True)
    entry = {
        "task": "file/x",
        "agent": "iql",
        "seed": 0,
        "variant": "",
        "folder": "file-x/iql/seed-0",
        "seconds": 1.0,
    }
    benchmark = {"format": 1, "suite": "toy", "runs": [entry]}
    add("benchmark.json", "benchmark.json", stored_runs, whole=True).write_text(json.dumps(benchmark))
    return found


def _add_minari(place: Path, add: Callable[..., Path]) -> None:
    import os

    import gymnasium
    import minari

    os.environ["MINARI_DATASETS_PATH"] = str(place / "minari-root")
    collector = minari.DataCollector(gymnasium.make("Pendulum-v1", max_episode_steps=5))
    collector.reset(seed=0)
    while not any(collector.step(collector.action_space.sample())[2:4]):
        pass
    collector.create_dataset("own/swing-v0", algorithm_name="r", author="a", author_email="a@b.c")
    for file in ("metadata.json", "main_data.hdf5"):
        shutil.copytree(place / "minari-root/own/swing-v0/data", place / f"minari {file}")
        add(f"minari {file}", file, read_log_of, whole=True)


def fault_of(kind: Kind, path: Path) -> str:
    """What reading raised that is no clear error, and where; empty where nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(path)
    except ExplainedError:
        return ""
    except Exception as error:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/tiltflow/" in frame.filename
        ]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
        return f"{type(error).__name__} at {where}: {str(error)[:120]}"
    return ""


def try_kind(kind: Kind, inputs: int, draw: random.Random, *, keep: Path | None = None) -> Counter[str]:
    """Mutate and read so many times; how often each fault was met. The file is restored at the end."""
    path = kind.folder / kind.file
    whole, faults = path.read_bytes(), Counter[str]()
    assert not (fault := fault_of(kind, path)), fault
    for _ in range(inputs):
        content = mutated(whole, draw)
        path.write_bytes(content)
        if fault := fault_of(kind, path):
            if keep is not None and fault.partition(":")[0] not in {f.partition(":")[0] for f in faults}:
                keep.mkdir(exist_ok=True, parents=True)
                (keep / f"{kind.folder.name}-{len(faults)}-{path.name}").write_bytes(content)
            faults[fault] += 1
    path.write_bytes(whole)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds whose names begin so")
    parser.add_argument("--keep", type=Path, help="folder for an input of each fault")
    given = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**30, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as place:
        tried, total = kinds(Path(place), given.run), 0
        chosen = [name for name in tried if not given.only or name.startswith(tuple(given.only))]
        for name in chosen:
            count = -(-given.inputs // len(chosen))
            faults = try_kind(tried[name], count, random.Random(f"{given.seed} {name}"), keep=given.keep)
            total += sum(faults.values())
            print(f"{name}: {count:,} inputs, {sum(faults.values()):,} faults", flush=True)
            for fault, number in faults.most_common(12):
                print(f"  {number:>6} × {fault}", flush=True)
    print(f"{count * len(chosen):,} inputs, {total:,} faults")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
