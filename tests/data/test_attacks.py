"""Data of strangers: no code of theirs runs, no other file is read, no memory is asked for in vain."""

import contextlib
import json
import tracemalloc
import zipfile
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest

from tiltflow.data.arrays import read_array_file
from tiltflow.data.hdf5 import hdf5_names
from tiltflow.data.interface import stored_interface
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.data.parquet_log import list_parquet
from tiltflow.data.points import read_table
from tiltflow.data.transitions import Spec
from tiltflow.environments import make_environment
from tiltflow.errors import UserError
from tiltflow.npz import read_npz, save_npz
from tiltflow.tasks import find_task
from tiltflow.trust import trusting

TASK = find_task("minari/own/swing-v0")
SECRET = np.arange(40, dtype=np.float32)


@pytest.fixture
def data_set(recorded, tmp_path):
    """Makes a copy of it with other metadata (None: left out)."""

    def make(**changes) -> Path:
        folder = tmp_path / "set"
        folder.mkdir()
        (folder / "main_data.hdf5").write_bytes((recorded / "main_data.hdf5").read_bytes())
        metadata = json.loads((recorded / "metadata.json").read_text()) | changes
        metadata = {key: value for key, value in metadata.items() if value is not None}
        (folder / "metadata.json").write_text(json.dumps(metadata))
        return folder

    return make


def spec(**changes) -> str:
    """An environment's specification in JSON, as Gymnasium writes it."""
    fields = {
        "id": "Pendulum-v1", "entry_point": "gymnasium.envs.classic_control:PendulumEnv", "kwargs": {},
        "max_episode_steps": 5, "additional_wrappers": [], "reward_threshold": None,
        "nondeterministic": False, "disable_env_checker": False, "vector_entry_point": None,
    }  # fmt: skip
    return json.dumps(fields | changes)


def test_an_honest_minari_data_set_gives_its_data_and_environment(data_set):
    folder = data_set(env_spec=spec(kwargs={"g": 5.0}))
    assert len(load_dataset(TASK, folder).train) == 5
    assert audit_path(folder) == []
    environment = make_environment(TASK, folder)
    assert environment._environment.unwrapped.g == 5.0


def test_an_entry_point_of_a_data_set_is_not_called(data_set, tmp_path):
    command = f"touch {tmp_path / 'ran'}"
    evil = spec(id="Evil-v0", entry_point="os:system", kwargs={"command": command})
    folder = data_set(env_spec=evil)
    load_dataset(TASK, folder)
    (finding,) = audit_path(folder)
    assert "'Evil-v0', which no installed package has registered" in finding.text
    with pytest.raises(UserError, match=r"'Evil-v0', which no installed package has registered.*--trust"):
        make_environment(TASK, folder)
    assert not (tmp_path / "ran").exists()
    with trusting(), contextlib.suppress(Exception):
        make_environment(TASK, folder)
    assert (tmp_path / "ran").exists()


def test_a_data_set_without_spaces_is_not_opened(data_set, tmp_path):
    """Minari would ask the environment for them."""
    command = f"touch {tmp_path / 'ran'}"
    evil = spec(id="Evil-v0", entry_point="os:system", kwargs={"command": command})
    folder = data_set(env_spec=evil, action_space=None)
    for use in (audit_path, lambda path: load_dataset(TASK, path), lambda path: make_environment(TASK, path)):
        with pytest.raises(UserError, match=r"has no 'action_space'.*--trust"):
            use(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"id": "antigravity:Pendulum-v1"}, "no installed package has registered"),
        ({"kwargs": {"xml_file": "/etc/passwd"}}, "xml_file = '/etc/passwd'"),
        ({"kwargs": {"maze": [["os:system"]]}}, "may name a file or code"),
    ],
)
def test_what_an_environment_is_built_with_is_plain(data_set, changes, text):
    folder = data_set(env_spec=spec(**changes))
    with pytest.raises(UserError, match=text):
        make_environment(TASK, folder)


def test_a_foreign_wrapper_is_left_out_and_named(data_set, tmp_path):
    evil = {"name": "W", "entry_point": "os:system", "kwargs": {"command": f"touch {tmp_path / 'ran'}"}}
    name = "gymnasium.wrappers.stateful_observation:TimeAwareObservation"
    own = {"name": "T", "entry_point": name, "kwargs": {}}
    folder = data_set(env_spec=spec(additional_wrappers=[evil, own]))
    (finding,) = audit_path(folder)
    assert (finding.level, "os:system" in finding.text) == ("warning", True)
    environment = make_environment(TASK, folder)._environment
    assert isinstance(environment, gymnasium.wrappers.TimeAwareObservation)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data_format": "arrow"}, "only hdf5 is read"),
        ({"observation_space": json.dumps({"type": "Box", "shape": [10**5, 10**5]})}, "more than 1,000,000"),
        ({"observation_space": json.dumps({"type": "Box", "dtype": "uint8", "shape": [9, 9, 3]})}, "images"),
        ({"observation_space": "[" * 100_000}, "no JSON text"),
    ],
)
def test_metadata_that_ask_for_too_much_are_refused(data_set, changes, text):
    with pytest.raises(UserError, match=text):
        load_dataset(TASK, data_set(**changes))


def external_storage(file, secret):
    file.create_dataset("observations", (40, 1), "f4", external=[(str(secret), 0, 160)])


def external_link(file, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["x"] = SECRET[:, None]
    file["observations"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/x")


def soft_link(file, secret):
    file["observations"] = h5py.SoftLink("/actions")


def virtual(file, secret):
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["x"] = SECRET
    layout = h5py.VirtualLayout((40, 1), "f4")
    layout[:, 0] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "x", (40,))
    file.create_virtual_dataset("observations", layout)


DOORS = [(external_storage, "stored in the file"), (external_link, "link into the file"),
         (soft_link, "is a link to"), (virtual, "view of the file")]  # fmt: skip


@pytest.mark.parametrize(("door", "text"), DOORS)
def test_an_hdf5_file_that_leads_out_of_itself_is_refused(tmp_path, door, text):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET.tobytes())
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["actions"] = np.zeros((40, 1), np.float32)
        door(file, secret)
    columns, findings = read_array_file(tmp_path / "x.hdf5")
    assert "observations" not in columns
    assert [(finding.key, finding.level) for finding in findings] == [("observations", "error")]
    assert text in findings[0].text


def test_a_part_that_is_shorter_than_its_checksum_is_refused(tmp_path):
    """The HDF5 library reads beyond its memory for it."""
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        column = file.create_dataset("observations", (40, 1), "f4", chunks=(40, 1), fletcher32=True)
        column.id.write_direct_chunk((0, 0), b"\0\0")
    columns, (finding,) = read_array_file(tmp_path / "x.hdf5")
    assert (columns, finding.key) == ({}, "observations")
    assert "shorter than its checksum" in finding.text


@pytest.mark.parametrize(("door", "text"), DOORS)
def test_a_minari_file_that_leads_out_of_itself_is_refused(data_set, tmp_path, door, text):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET.tobytes())
    folder = data_set()
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        group = file["episode_0"]
        del group["observations"]
        door(group, secret)
    with pytest.raises(UserError, match=f"/episode_0/observations, which .*{text}"):
        load_dataset(TASK, folder)


def test_groups_of_a_minari_file_that_hold_each_other_end(data_set):
    folder = data_set()
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        file["episode_0/again"] = file["episode_0"]
    assert len(load_dataset(TASK, folder).train) == 5


def fill_value(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("observations", (10**8, 8), "f4", chunks=(1000, 8), fillvalue=1.0)
    assert path.stat().st_size < 5000


def deflated(path):
    """300 MB of zeros, which pack to a thousandth."""
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("observations.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header((75_000_000, 1)))
        for _ in range(300):
            member.write(bytes(10**6))


def declared(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("observations.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header((10**12, 8)))


def header(shape):
    return {"descr": "<f4", "fortran_order": False, "shape": shape}


@pytest.mark.parametrize(
    ("bomb", "text"),
    [
        (fill_value, "declares 3.2 GB"),
        (deflated, "declares 300.0 MB"),
        (declared, "declares 32,000,000,000,000"),
    ],
)
def test_a_bomb_is_refused_before_memory_is_asked_for(tmp_path, bomb, text):
    bomb(tmp_path / "x")
    tracemalloc.start()
    columns, findings = read_array_file(tmp_path / "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not columns
    assert text in findings[0].text
    assert peak < 10e6


def test_a_minari_bomb_is_refused(data_set):
    folder = data_set()
    with h5py.File(folder / "main_data.hdf5", "a") as file:
        file["episode_0"].create_dataset("infos/x", (10**8, 8), "f4", chunks=(1000, 8), fillvalue=1.0)
    with pytest.raises(UserError, match=r"declares 3\.2 GB"):
        load_dataset(TASK, folder)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_points_that_declare_more_than_they_hold_are_refused(tmp_path, name):
    if name == "x.npz":
        declared(tmp_path / name)
    else:
        with (tmp_path / name).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header((10**12, 8)))
    with pytest.raises(UserError, match="it declares 32,000,000,000,000 bytes and holds 0"):
        read_table(tmp_path / name)


def test_repetitive_data_of_an_honest_size_are_read(tmp_path):
    """All-zero rewards pack to a thousandth, too."""
    arrays = {"observations": np.zeros((10**6, 8), np.float32), "rewards": np.zeros(10**6, np.float32)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    columns, findings = read_array_file(tmp_path / "x.npz")
    assert findings == []
    assert {key: column.shape for key, column in columns.items()} == {
        "observations": (10**6, 8),
        "rewards": (10**6,),
    }


def test_arrays_in_any_order_and_of_any_size_are_read_as_they_are(tmp_path):
    arrays = {"observations": np.asfortranarray(np.arange(12.0).reshape(4, 3)), "rewards": np.zeros(0)}
    np.savez(tmp_path / "x.npz", **arrays)
    columns, _ = read_array_file(tmp_path / "x.npz")
    for key, array in arrays.items():
        np.testing.assert_array_equal(columns[key], array)
        assert columns[key].dtype == array.dtype


@pytest.mark.parametrize("packed", [False, True])
def test_no_turned_bit_changes_or_hides_an_array_of_ours(tmp_path, packed):
    """Names stand in the archive twice, and nothing else of it guards them."""
    arrays = {
        "observations": np.arange(12.0).reshape(4, 3),
        "next_observations": np.ones((4, 3)),
        "n": np.array("é"),
    }
    with (tmp_path / "whole.npz").open("wb") as file:
        save_npz(file, arrays, packed=packed)
    content, path = (tmp_path / "whole.npz").read_bytes(), tmp_path / "x.npz"
    with np.load(tmp_path / "whole.npz") as others:
        assert {key: others[key].tolist() for key in others.files} == {
            k: a.tolist() for k, a in arrays.items()
        }
    assert read_npz(tmp_path / "whole.npz", list(arrays))[1] == []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        found, faults = read_npz(path, list(arrays))
        if not faults:  # the bit is of no matter
            assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[key], arrays[key]) for key in found)


def test_damaged_statistics_of_a_parquet_file_do_not_end_the_process():
    """The file says of a column how often its values are missing, with one level too many."""
    with pytest.raises(UserError, match=r"statistics\.parquet is cut off or damaged"):
        list_parquet([Path(__file__).parent / "damaged" / "statistics.parquet"])


def test_a_name_in_hdf5_that_is_no_text_is_passed_over(tmp_path):
    with h5py.File(tmp_path / "odd.hdf5", "w") as file:
        file[b"\xff\xfe"] = np.zeros(3)
        file["rewards"] = np.zeros(3)
    assert hdf5_names(tmp_path / "odd.hdf5") == ["rewards"]


def test_a_size_that_is_no_number_of_entries_is_an_error_of_its_file():
    signal = {"name": "x", "size": float("inf"), "entries": []}
    record = {"interface": {"observations": [signal], "actions": [], "action_low": None, "action_high": None}}
    with pytest.raises(UserError, match=r"environment\.json is damaged"):
        stored_interface(record, Spec(1, 1), "environment.json")
