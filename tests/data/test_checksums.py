"""The checksum of a data set is in its runs' checkpoints: equal files give the same one in every version."""

import shutil

import h5py
import numpy as np
import pytest

from tiltflow.data.arrays import write_npz
from tiltflow.data.load import load_dataset
from tiltflow.tasks import find_task

N = 2500


def columns(width, actions):
    """Rows that no library computes: integers, divided by powers of two."""
    numbers = np.arange(N * width, dtype=np.int64).reshape(N, width) * 7919 % 1009
    observations = (numbers / 64 - 8).astype(np.float32)
    pushes = np.arange(N * actions, dtype=np.int64).reshape(N, actions) * 104729 % 257 / 128 - 1
    return {
        "observations": observations,
        "next_observations": np.roll(observations, -1, axis=0),
        "actions": pushes.astype(np.float64),
        "rewards": (numbers[:, 0] % 17 - 8).astype(np.int64),
        "terminals": np.arange(N) % 400 == 399,
        "timeouts": np.arange(N) % 300 == 299,
    }


def without(table, *keys):
    return {key: column for key, column in table.items() if key not in keys}


def own(table):
    flags = {"terminations": table["terminals"], "ends": table["terminals"] | table["timeouts"]}
    return without(table, "terminals", "timeouts") | flags


def packed(table):
    kept = without(table, "next_observations", "timeouts")
    return kept | {"terminations": table["rewards"] == 0, "rewards": -np.abs(table["rewards"])}


def ant(table):
    wide = {key: np.pad(table[key], ((0, 0), (0, 84))) for key in ("observations", "next_observations")}
    return table | wide


CASES = {
    "pointmaze": ("pointmaze/umaze-v0", own(columns(4, 2))),
    "ogbench": ("ogbench/cube-single-play-singletask-task2-v0", packed(columns(28, 5))),
    "d4rl": ("d4rl/hopper-medium-v2", columns(11, 3)),
    "d4rl, successors from the next row": (
        "d4rl/hopper-medium-v2", without(columns(11, 3), "next_observations"),
    ),
    "d4rl, cut at the horizon": (
        "d4rl/door-human-v1", without(columns(39, 28), "next_observations", "timeouts"),
    ),
    "d4rl, ants without contact forces": ("d4rl/ant-medium-v2", ant(columns(27, 8))),
    "file, our columns": ("file/arm", own(columns(5, 2))),
    "file, d4rl's columns": ("file/arm", without(columns(5, 2), "timeouts")),
}  # fmt: skip


CHECKSUMS = {
    "pointmaze": "3b71a07b923435f46031a2617bd2d724fef4792e745f89cbbf9c59f2ab08a024",
    "ogbench": "bb6ccb9ae25a66c707206d6570318d438c2efa0c3faa30ad3720fb22e79d1f7f",
    "d4rl": "8a3c1898b0d6cf841ee1347262b081a8feee69663bd6e7dff3fa07fb33bbb701",
    "d4rl, successors from the next row": "34ec0022908a4f5a8979277ca621761c719e909760756db6d21e50393b44e9cc",
    "d4rl, cut at the horizon": "11ee2ba10414c5ae9e56d68c8dd36bef2d543c3615619556cd5362ac7a1b3bdf",
    "d4rl, ants without contact forces": "2115a4f8b3fc8048a61d81db96f034b890613de0d343f872cb607d3497d21b4f",
    "file, our columns": "eeca5ff1c79225ff0acd1f974fe3c07b7e578649b5d7c4d7af54c1ad06c40ab6",
    "file, d4rl's columns": "ff3bb992f63d5701b970dfc4eb2dd8e18468a8120e95461c8ee62eb941dcd133",
    "minari": "929d88245fb977fe51baa74c7e0be4c0c12e6e61aa8bddf6b2032b866411fd22",
    "two files": "b68a58fad741186d9c5e7417b7541fa96bf7eb870eae9bf39139d8617989a667",
}


@pytest.mark.parametrize("case", CASES)
def test_a_checksum_stays_what_it_was(tmp_path, case):
    name, table = CASES[case]
    write_npz(tmp_path / "data.npz", table)
    assert load_dataset(find_task(name), tmp_path / "data.npz").checksum == CHECKSUMS[case]


def test_the_checksum_of_two_files_joined_equally(tmp_path):
    table = columns(11, 3)
    write_npz(tmp_path / "a.npz", table)
    write_npz(tmp_path / "b.npz", {key: column[:700] for key, column in table.items()})
    dataset = load_dataset(find_task("d4rl/hopper-medium-expert-v2"), tmp_path / f"a.npz,{tmp_path}/b.npz")
    assert dataset.checksum == CHECKSUMS["two files"]


def test_the_checksum_of_a_minari_data_set(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "swing")
    table = columns(3, 1)
    with h5py.File(tmp_path / "swing/main_data.hdf5", "a") as file:
        episode = file["episode_0"]
        episode["observations"][:] = table["observations"][:6]
        episode["actions"][:] = 2 * table["actions"][:5]
        episode["rewards"][:] = table["rewards"][:5]
    dataset = load_dataset(find_task("minari/own/swing-v0"), tmp_path / "swing")
    assert dataset.checksum == CHECKSUMS["minari"]
