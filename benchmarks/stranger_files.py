"""Files that strangers could send: one of every format, and those of a run, with what reads each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tiltflow.benchmark_file import stored_runs
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.data.points import read_table
from tiltflow.data.shard import shard
from tiltflow.report.run_reader import read_run
from tiltflow.run_folder import RunFolder
from tiltflow.serving.policy_files import read_policy
from tiltflow.tasks import find_task

OFFICIAL = Path(__file__).parents[1] / "tests" / "data" / "official"


class Kind(NamedTuple):
    """A file among those that are read together, and what reads them."""

    folder: Path
    file: str
    read: Callable[[Path], Any]


def read_log_of(path: Path) -> None:
    audit_path(path)


def read_shard(folder: Path) -> None:
    audit_path(folder)
    load_dataset(find_task("file/x"), folder)


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
    for file in ("data.json", "rewards.npy"):
        folder = place / f"shard {file}"
        shard(find_task("file/x"), place / "npz" / "x.npz", folder)
        add(folder.name, file, read_shard, whole=True)
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
    for exported in sorted(run.glob("policy-*.npz"))[:1]:
        shutil.copy(exported, add("export", exported.name, read_policy))
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
