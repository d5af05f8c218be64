"""Data converted to a folder that is mapped into memory are what they were, and need little of it."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from test_load import hopper, same
from test_own_logs import CHOICE, NAMES, TASK, rows, write_csv

from tiltflow.cli.main import main
from tiltflow.data import hdf5_log, npz_log, row_pieces
from tiltflow.data.arrays import write_hdf5, write_npz
from tiltflow.data.columns import column_choice
from tiltflow.data.held_out import hold_out
from tiltflow.data.load import Dataset, audit_path, load_dataset
from tiltflow.data.moments import observation_moments
from tiltflow.data.shard import shard
from tiltflow.data.transitions import ChosenRows
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

OFFICIAL = Path(__file__).parent / "official"
MEDIUM_EXPERT = find_task("d4rl/hopper-medium-expert-v2")


def alike(mapped: Dataset, loaded: Dataset) -> None:
    same(mapped.train, loaded.train)
    assert {column.dtype for column in mapped.train.columns().values()} == {np.dtype("f4"), np.dtype(bool)}
    assert mapped.train.mapped
    assert not loaded.train.mapped
    assert (mapped.checksum, mapped.rewarded) == (loaded.checksum, loaded.rewarded)
    assert mapped.interface == loaded.interface
    kinds = [
        {(one.level, one.key) for one in which.findings if "no checksums" not in one.text}
        for which in (mapped, loaded)
    ]
    assert kinds[0] == kinds[1]
    np.testing.assert_array_equal(mapped.moments, observation_moments(loaded.train.observations))


@pytest.fixture
def logs(tmp_path):
    """Three CSV files in own units, without bounds."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(3):
        write_csv(folder / f"episode_{number}.csv", rows(20 + number, seed=number))
    return folder


def test_own_logs_are_converted_to_what_they_are_loaded_as(logs, tmp_path):
    """Bounds come from all files, here."""
    told = []
    mapped = shard(TASK, logs, tmp_path / "out", CHOICE, lambda *words: told.append(words))
    alike(mapped, load_dataset(TASK, logs, CHOICE))
    assert [finding.level for finding in mapped.findings].count("warning") == 1
    assert told[:3] == [("reading", number, 3) for number in (1, 2, 3)]
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "out"}
    record = json.loads((tmp_path / "out/data.json").read_text())
    assert (record["rows"], record["task"]) == (60, TASK.name)


def test_files_of_several_sizes_are_refused_as_they_are_in_memory(tmp_path):
    for entries in (2, 3):
        arrays = {
            "observations": np.ones((5, entries)),
            "actions": np.zeros((5, 1)),
            "rewards": np.arange(5.0),
        }
        arrays |= {"rewards": np.arange(5.0), "terminals": np.arange(5) == 4, "timeouts": np.zeros(5)}
        np.savez(tmp_path / f"{entries}.npz", **arrays)
    for convert in (load_dataset, lambda task, files: shard(task, files, tmp_path / "out")):
        with pytest.raises(UserError, match=r"do not go together: .* of 2 and 1; 3 and 1 entries"):
            convert(MEDIUM_EXPERT, Path(f"{tmp_path}/2.npz,{tmp_path}/3.npz"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["lerobot-v2", "lerobot-v3"])
def test_a_lerobot_data_set_is_converted_file_by_file(name, tmp_path):
    choice = column_choice(None, None, "-2 2")
    alike(shard(TASK, OFFICIAL / name, tmp_path / "out", choice), load_dataset(TASK, OFFICIAL / name, choice))


def test_files_of_a_lerobot_data_set_are_taken_by_their_episodes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "meta").mkdir()
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    features = {"action": {"dtype": "float32", "shape": [1]}, "observation.state": {"dtype": "float32"}}
    info = {"codebase_version": "v3.0", "features": features}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    random = np.random.default_rng(0)

    def write(number: int, episodes: list[int]) -> None:
        index, frame = np.repeat(episodes, 5), np.tile(np.arange(5), len(episodes))
        states = pyarrow.FixedSizeListArray.from_arrays(random.normal(size=2 * len(index)), 2)
        columns = {"observation.state": states, "episode_index": index, "frame_index": frame}
        columns["action"], columns["next.reward"] = random.uniform(-1, 1, (2, len(index)))
        parquet.write_table(pyarrow.table(columns), tmp_path / f"data/chunk-000/file-{number:03d}.parquet")

    write(0, [3, 2])
    write(1, [0, 1])
    alike(shard(TASK, tmp_path, tmp_path / "out"), load_dataset(TASK, tmp_path))
    write(1, [0, 4])
    with pytest.raises(UserError, match="in between each other's"):
        shard(TASK, tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_equal_parts_of_two_files_and_the_task_that_they_are_for(tmp_path):
    write_hdf5(tmp_path / "medium.hdf5", hopper(30))
    write_hdf5(tmp_path / "expert.hdf5", hopper(50, seed=1))
    path = Path(f"{tmp_path}/medium.hdf5,{tmp_path}/expert.hdf5")
    out = tmp_path / "out"
    alike(shard(MEDIUM_EXPERT, path, out), load_dataset(MEDIUM_EXPERT, path))
    with pytest.raises(UserError, match=r"holds the data of d4rl/hopper-medium-expert-v2, not of d4rl/hop"):
        load_dataset(find_task("d4rl/hopper-medium-v2"), out)
    assert len(load_dataset(TASK, out).train) == 60


def test_a_data_set_of_many_numbered_files_is_one(tmp_path):
    for number in (0, 1, 10):
        write_npz(tmp_path / f"hopper-medium-v2-{number:03d}.npz", hopper(20, seed=number))
    write_npz(tmp_path / "hopper-medium-v2-000-val.npz", hopper(20, seed=9))
    task = find_task("d4rl/hopper-medium-v2")
    rewards = np.concatenate([hopper(20, seed=number)["rewards"] for number in (0, 1, 10)])
    np.testing.assert_array_equal(load_dataset(task, tmp_path).train.rewards, rewards)
    alike(shard(task, tmp_path, tmp_path / "out"), load_dataset(task, tmp_path))


def test_the_memory_that_is_needed_is_that_of_a_file_not_of_all(tmp_path):
    def peak(files: int) -> int:
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            write_npz(folder / f"{number}.npz", hopper(20_000, seed=number))
        tracemalloc.start()
        shard(TASK, folder, tmp_path / f"out-{files}")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    size = sum(array.nbytes for array in hopper(20_000).values())
    assert peak(6) - peak(2) < size


def test_rows_held_out_of_mapped_data_are_those_of_loaded_data(logs, tmp_path):
    loaded = load_dataset(TASK, logs, CHOICE).train
    mapped = shard(TASK, logs, tmp_path / "out", CHOICE).train
    for ours, theirs in zip(hold_out(mapped, 0.3), hold_out(loaded, 0.3), strict=True):
        ours, theirs = (one if hasattr(one, "take") else one.rows for one in (ours, theirs))
        assert isinstance(ours.observations, ChosenRows)
        same(ours, theirs)
        assert ours.nbytes == theirs.nbytes
        np.testing.assert_array_equal(ours.following_actions()[0], theirs.following_actions()[0])
        np.testing.assert_array_equal(ours.observations[3:1:-1], theirs.observations[3:1:-1])
        moments = observation_moments(ours.observations), observation_moments(theirs.observations)
        np.testing.assert_array_equal(*moments)


def test_moments_of_a_file_of_many_blocks_are_numpys_to_the_bit(tmp_path):
    for size in (1, 5):
        numbers = np.random.default_rng(0).normal(3, 10, (20_001, size)).astype(np.float32)
        np.save(tmp_path / f"{size}.npy", numbers)
        found = observation_moments(np.load(tmp_path / f"{size}.npy", mmap_mode="r"))
        np.testing.assert_array_equal(found.mean, numbers.mean(axis=0, dtype=np.float64))
        np.testing.assert_array_equal(found.std, numbers.std(axis=0, dtype=np.float64))


def test_the_verb_converts_and_what_it_wrote_is_described_and_verified(logs, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["data", "shard", str(logs), str(out), "--columns", NAMES]
    assert main([*words, "--action-bounds", "-2", "2"]) == 0
    assert "60 transitions of file/logs" in capsys.readouterr().out
    assert main(["data", "info", str(out)]) == 0
    assert f"{logs}, as file/logs" in capsys.readouterr().out
    assert main(["data", "audit", str(out)]) == 0
    capsys.readouterr()
    assert main(words) == 2
    assert "not an empty folder" in capsys.readouterr().err
    rewards = out / "rewards.npy"
    content = bytearray(rewards.read_bytes())
    content[-1] ^= 1
    rewards.write_bytes(content)
    (finding,) = [one for one in audit_path(out) if one.level == "error"]
    assert (finding.file, finding.key) == (str(rewards), "rewards")
    with pytest.raises(UserError, match=r"rewards\.npy.* has changed since it was written"):
        load_dataset(TASK, out)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda out: os.truncate(out / "rewards.npy", 300), "rewards.npy cannot be read"),
        (lambda out: (out / "actions.npy").unlink(), "actions.npy"),
        (lambda out: np.save(out / "ends.npy", np.zeros(60)), "holds float64"),
        (lambda out: np.save(out / "ends.npy", np.zeros(59, bool)), r"has the shape \(59,\), not \(60,\)"),
        (lambda out: (out / "data.json").write_text('{"format": 1}'), "has no 'rows'"),
        (lambda out: change(out / "data.json", format=9), "has format 9"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(logs, tmp_path, harm, says):
    out = tmp_path / "out"
    shard(TASK, logs, out, CHOICE)
    harm(out)
    with pytest.raises(UserError, match=says):
        load_dataset(TASK, out)


def test_what_was_said_when_it_was_converted_is_not_said_again(logs, tmp_path):
    out = tmp_path / "out"
    shard(TASK, logs, out, CHOICE)
    with pytest.raises(UserError, match="were said to `tiltflow data shard`"):
        load_dataset(TASK, out, CHOICE)
    with pytest.raises(UserError, match="is converted already"):
        shard(TASK, out, tmp_path / "again")


def test_bad_data_leave_nothing_behind(logs, tmp_path):
    write_csv(logs / "episode_3.csv", rows(5) | {"score": np.full(5, np.nan)})
    with pytest.raises(UserError, match=r"episode_3\.csv, key 'rewards', row 0: is nan"):
        shard(TASK, logs, tmp_path / "out", CHOICE)
    assert {path.name for path in tmp_path.iterdir()} == {"logs"}
    shutil.rmtree(logs)


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def one_file(kind: str, path: Path) -> str | None:
    """Write a file of sixty episodes of ten rows; what is to be said of its columns."""
    ours, length = hopper(600), 10
    if kind == "groups.hdf5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            for number in range(60):
                for name in ("observations", "actions", "rewards"):
                    part = ours[name][number * length : number * length + length]
                    file[f"data/demo_{number}/{name}"] = part
        return None
    if kind == "ours.npz":
        np.savez(path, **ours)
        return None
    if kind == "ours.hdf5":
        write_hdf5(path, ours)
        return None
    ours |= {"state": ours.pop("observations"), "act": 3 * ours.pop("actions")}
    del ours["next_observations"], ours["timeouts"]
    if kind == "lengths.npz":
        del ours["terminals"]
        np.savez(path, **ours, episode_ends=np.arange(length, 601, length))
    elif kind == "named.hdf5":
        write_hdf5(path, ours)
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        lists = {
            name: pyarrow.FixedSizeListArray.from_arrays(ours[name].ravel(), ours[name].shape[1])
            for name in ("state", "act")
        }
        parquet.write_table(pyarrow.table({**ours, **lists}), path, row_group_size=70)
    return "observations=state,actions=act"


@pytest.mark.parametrize(
    "kind", ["ours.npz", "ours.hdf5", "groups.hdf5", "lengths.npz", "named.hdf5", "named.parquet"]
)
def test_one_large_file_is_converted_piece_by_piece_to_what_it_is_loaded_as(kind, tmp_path, monkeypatch):
    for module in (row_pieces, npz_log, hdf5_log):
        monkeypatch.setattr(module, "PIECE_BYTES", 5000)
    path = tmp_path / kind
    choice = column_choice(one_file(kind, path), None, None)
    told = []
    mapped = shard(TASK, path, tmp_path / "out", choice, lambda *words: told.append(words))
    alike(mapped, load_dataset(TASK, path, choice))
    assert len([words for words in told if words[0] == "writing"]) > 5


def test_a_large_file_that_is_damaged_is_named_as_one_that_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(row_pieces, "PIECE_BYTES", 5000)
    monkeypatch.setattr(npz_log, "PIECE_BYTES", 5000)
    np.savez(tmp_path / "x.npz", **hopper(600))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npz, key 'observations': is cut off or damaged"):
        shard(TASK, tmp_path / "x.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
