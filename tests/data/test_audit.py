"""Every fault of a data set is found and named by file, key and row. One file per fault."""

import zipfile

import h5py
import numpy as np
import pytest

from tiltflow.data.arrays import write_hdf5, write_npz
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

TASK = find_task("file/arm", "Pendulum-v1")


def sound(n=20):
    random = np.random.default_rng(0)
    return {
        "observations": random.normal(size=(n, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, (n, 2)).astype(np.float32),
        "rewards": random.normal(size=n).astype(np.float32),
        "next_observations": random.normal(size=(n, 3)).astype(np.float32),
        "terminals": np.arange(n) == n - 1,
        "timeouts": np.zeros(n, bool),
    }


def with_value(key, row, value):
    columns = sound()
    columns[key][row] = value
    return columns


def without(key):
    columns = sound()
    del columns[key]
    return columns


ERRORS = {
    "nan reward": (with_value("rewards", 7, np.nan), "rewards", 7, "nan"),
    "infinite observation": (with_value("observations", 3, np.inf), "observations", 3, "inf"),
    "infinite successor": (with_value("next_observations", 5, -np.inf), "next_observations", 5, "-inf"),
    "flag that is none": (sound() | {"terminals": np.arange(20)}, "terminals", 2, "only 0 and 1"),
    "short rewards": (sound() | {"rewards": np.ones(13, np.float32)}, "rewards", 13, "13 rows"),
    "long actions": (sound() | {"actions": np.zeros((25, 2), np.float32)}, "actions", 20, "25 rows"),
    "no actions": (without("actions"), "actions", None, "is missing"),
    "images": (sound() | {"observations": np.zeros((20, 8, 8, 3))}, "observations", None, "shape"),
    "other successors": (
        sound() | {"next_observations": np.zeros((20, 4))}, "next_observations", None, "4 columns",
    ),
    "no rows": ({key: column[:0] for key, column in sound().items()}, "observations", None, "no rows"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ERRORS)
@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
def test_errors_name_file_key_and_row_and_stop_the_load(tmp_path, fault, suffix):
    columns, key, row, text = ERRORS[fault]
    path = tmp_path / f"arm{suffix}"
    (write_npz if suffix == ".npz" else write_hdf5)(path, columns)
    errors = [finding for finding in audit_path(path) if finding.level == "error"]
    assert [(finding.file, finding.key, finding.row) for finding in errors] == [(str(path), key, row)]
    assert text in errors[0].text
    with pytest.raises(UserError) as error:
        load_dataset(TASK, path)
    for part in (str(path), repr(key), text, *([f"row {row}"] if row is not None else [])):
        assert part in str(error.value)


WARNINGS = {
    "zero rewards": (sound() | {"rewards": np.zeros(20, np.float32)}, "rewards", None, "all rewards are 0"),
    "equal rewards": (sound() | {"rewards": np.full(20, 2.5, np.float32)}, "rewards", None, "are 2.5"),
    "action out of bounds": (with_value("actions", 11, -1.7), "actions", None, "taken from the data, -1.8"),
    "no rewards": (without("rewards"), "rewards", None, "bc-diffusion, which clone"),
    "rounded action": (with_value("actions", 4, 1.0002), "actions", 4, "clipped"),
    "no ends": (sound() | {"terminals": np.zeros(20, bool)}, "terminals", None, "no row ends"),
    "unfinished episode": (
        sound() | {"terminals": np.arange(20) == 9}, "terminals", 19, "the last episode has no end",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WARNINGS)
def test_warnings_are_kept_with_the_data(tmp_path, fault):
    columns, key, row, text = WARNINGS[fault]
    write_npz(tmp_path / "arm.npz", columns)
    dataset = load_dataset(TASK, tmp_path / "arm.npz")
    assert [(finding.level, finding.key, finding.row) for finding in dataset.findings] == [
        ("warning", key, row)
    ]
    assert text in dataset.findings[0].text
    assert np.abs(dataset.train.actions).max() <= 1
    assert dataset.train.ends[-1]


def test_sound_data_have_no_findings(tmp_path):
    write_npz(tmp_path / "arm.npz", sound() | {"timeouts": np.arange(20) == 9})
    assert audit_path(tmp_path / "arm.npz") == []
    assert load_dataset(TASK, tmp_path).findings == ()


def test_one_episode_cannot_be_scored_without_a_simulator_and_one_of_one_row_not_learned_from(tmp_path):
    write_npz(tmp_path / "arm.npz", sound())
    (finding,) = audit_path(tmp_path / "arm.npz")
    assert finding.level == "warning"
    assert "cannot be scored without a simulator" in finding.text
    columns = without("next_observations") | {
        "terminals": np.zeros(20, bool),
        "timeouts": np.isin(np.arange(20), (0, 9, 19)),
    }
    write_npz(tmp_path / "arm.npz", columns)  # the first episode is one row
    (finding,) = load_dataset(TASK, tmp_path / "arm.npz").findings
    assert (finding.row, finding.text[:21]) == (0, "1 episode of one row,")
    write_npz(tmp_path / "arm.npz", columns | {"timeouts": np.ones(20, bool)})
    with pytest.raises(UserError, match="every episode is one row, which has no next one"):
        load_dataset(TASK, tmp_path / "arm.npz")


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("kind", [int, bool, np.int8])
def test_whole_numbers_and_booleans_are_numbers_of_any_column(tmp_path, suffix, kind):
    write = write_npz if suffix == ".npz" else write_hdf5
    whole = {
        key: np.arange(20).reshape(20, 1) % 2 for key in ("observations", "actions", "next_observations")
    }
    columns = sound() | whole | {"rewards": np.arange(20) % 2, "timeouts": np.arange(20) == 9}
    write(tmp_path / f"a{suffix}", {key: column.astype(kind) for key, column in columns.items()})
    in_floats = {key: column.astype(np.float32) for key, column in columns.items()}
    write(tmp_path / f"b{suffix}", in_floats | {"actions": in_floats["actions"][:, 0]})  # one number a row
    loaded = [load_dataset(TASK, tmp_path / f"{name}{suffix}") for name in "ab"]
    assert loaded[0].checksum == loaded[1].checksum
    assert "labels of discrete actions" in "".join(map(str, loaded[0].findings))


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_files(tmp_path, suffix, share):
    path = tmp_path / f"arm{suffix}"
    (write_npz if suffix == ".npz" else write_hdf5)(path, sound(2000))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"{path}.*cut off or damaged"):
        load_dataset(TASK, path)


def test_damage_inside_an_npz_names_the_key(tmp_path):
    path = tmp_path / "arm.npz"
    write_npz(path, sound(2000))
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("rewards.npy")
    content = bytearray(path.read_bytes())
    middle = member.header_offset + 60 + member.compress_size // 2
    content[middle : middle + 8] = b"\0" * 8
    path.write_bytes(content)
    (finding,) = audit_path(path)
    assert (finding.level, finding.key) == ("error", "rewards")
    assert "damaged" in finding.text


def test_a_key_that_is_there_twice(tmp_path):
    path = tmp_path / "arm.npz"
    write_npz(path, sound())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("actions.npy", archive.read("actions.npy"))
    (finding,) = audit_path(path)
    assert (finding.key, "2 times" in finding.text) == ("actions", True)


def test_objects_are_refused_and_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "arm.npz", **(sound() | {"rewards": np.array([Trap()] * 20, object)}))
    with pytest.raises(UserError, match=r"arm\.npz, key 'rewards': cannot be read"):
        load_dataset(TASK, tmp_path / "arm.npz")
    assert not (tmp_path / "sprung").exists()


def test_text_is_refused(tmp_path):
    np.savez(tmp_path / "arm.npz", **(sound() | {"rewards": np.array(["1"] * 20)}))
    assert [finding.key for finding in audit_path(tmp_path / "arm.npz")] == ["rewards"]
    with h5py.File(tmp_path / "arm.hdf5", "w") as file:
        for key, column in sound().items():
            file[key] = column if key != "rewards" else ["1"] * 20
    assert [finding.key for finding in audit_path(tmp_path / "arm.hdf5")] == ["rewards"]


def test_a_group_in_the_place_of_an_array(tmp_path):
    write_hdf5(tmp_path / "arm.hdf5", without("rewards"))
    with h5py.File(tmp_path / "arm.hdf5", "a") as file:
        file.create_group("rewards")
    (finding,) = audit_path(tmp_path / "arm.hdf5")
    assert (finding.key, "group" in finding.text) == ("rewards", True)


def test_other_files(tmp_path):
    (tmp_path / "arm.npz").write_text("observations, actions")
    with pytest.raises(UserError, match="neither an npz nor an HDF5 file"):
        load_dataset(TASK, tmp_path / "arm.npz")
    with pytest.raises(UserError, match="There is no file"):
        load_dataset(TASK, tmp_path / "leg.npz")
    (tmp_path / "empty").mkdir()
    assert [finding.level for finding in audit_path(tmp_path / "empty")] == ["error"]


def test_several_errors_are_counted(tmp_path):
    columns = with_value("rewards", 7, np.nan)
    columns["observations"][2] = np.nan
    write_npz(tmp_path / "arm.npz", columns)
    with pytest.raises(UserError, match=r"row 2: .*1 more: see `tiltflow data audit`"):
        load_dataset(TASK, tmp_path / "arm.npz")
