"""Points and columns from npy, npz, csv and tsv."""

import numpy as np
import pytest

from tiltflow.data.points import read_table
from tiltflow.errors import UserError

VALUES = np.arange(12.0).reshape(4, 3)


def test_every_format_gives_the_same_points(tmp_path):
    np.save(tmp_path / "a.npy", VALUES.astype(np.float32))
    np.savez(tmp_path / "a.npz", x=VALUES[:, :2], y=VALUES[:, 2])
    np.savetxt(tmp_path / "a.csv", VALUES, delimiter=",")
    np.savetxt(tmp_path / "named.csv", VALUES, delimiter=",", header="a,b,c", comments="")
    np.savetxt(tmp_path / "a.tsv", VALUES, delimiter="\t")
    for name in ("a.npy", "a.npz", "a.csv", "named.csv", "a.tsv"):
        np.testing.assert_array_equal(read_table(tmp_path / name).join(), VALUES)


@pytest.mark.parametrize(
    ("file", "column"), [("a.npz", "y"), ("named.csv", "c"), ("a.npy", "2"), ("a.csv", "2")]
)
def test_a_column_is_taken_out_by_its_name_or_number(tmp_path, file, column):
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "a.npz", x=VALUES[:, :2], y=VALUES[:, 2])
    np.savetxt(tmp_path / "a.csv", VALUES, delimiter=",")
    np.savetxt(tmp_path / "named.csv", VALUES, delimiter=",", header="a,b,c", comments="")
    taken, rest = read_table(tmp_path / file).take(column)
    np.testing.assert_array_equal(taken[:, 0], VALUES[:, 2])
    np.testing.assert_array_equal(rest.join(), VALUES[:, :2])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffa,b\n1,2\n".encode())
    assert list(read_table(tmp_path / "a.csv").blocks) == ["a", "b"]


def test_numbers_may_stand_between_quotation_marks(tmp_path):
    (tmp_path / "a.csv").write_text('"a","b"\n"1","2"\n3,4\n')
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv").join(), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"a,a\n1,2\n", "same name"),
        ("a.csv", b"1,2\n3,x\n", "'x'"),
        ("a.csv", b"1,2\n3\n", "a.csv cannot be read"),
        ("a.npy", b"not an array", "a.npy cannot be read"),
        ("a.npz", b"PK not an archive", "a.npz cannot be read"),
        ("a.txt", b"1,2\n", "is none of .npy"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=text):
        read_table(tmp_path / name)


def test_an_array_that_cannot_be_points_is_named(tmp_path):
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "uneven.npz", x=np.zeros(3), y=np.zeros(4))
    for name, text in (("cube", "shape"), ("text", "dtype"), ("objects", "plain numbers")):
        with pytest.raises(UserError, match=text):
            read_table(tmp_path / f"{name}.npy")
    with pytest.raises(UserError, match="differ in rows: x 3, y 4"):
        read_table(tmp_path / "uneven.npz").join()
    with pytest.raises(UserError, match="has no column 'z'"):
        read_table(tmp_path / "uneven.npz").take("z")
