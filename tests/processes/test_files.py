"""Files and locks: whose they are, and what is left of the dead."""

import os
import platform
import stat
from threading import Thread

import pytest

from tiltflow.errors import UserError
from tiltflow.files import append_line, atomic_file, write_text
from tiltflow.processes.locks import LOCK, locked


def test_files_have_the_rights_that_the_user_gives_new_ones(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        append_line(tmp_path / "b", "x")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"} == {0o640}


def test_what_a_dead_writer_has_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / ".step.ckpt.0123abcd.writing").write_bytes(b"half")
    with atomic_file(tmp_path / "report.html") as file:
        file.write(b"x")
        with locked(tmp_path):
            assert len(list(tmp_path.rglob("*.writing"))) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"seeds", "report.html", LOCK}


def test_who_holds_a_lock_is_said(tmp_path):
    owner = rf"{os.getpid()} on {platform.node()}, since 0 min"
    with locked(tmp_path), pytest.raises(UserError, match=owner), locked(tmp_path):
        pass
    with locked(tmp_path):  # and then it is free
        pass


def test_a_lock_that_goes_with_its_folder_is_never_more_than_taken(tmp_path):
    inside, faults = [], []

    def train():
        for _ in range(100):
            try:
                with locked(tmp_path / "run"):
                    inside.append(1)
                    faults.extend(["two at once"] if len(inside) > 1 else [])
                    inside.pop()
            except UserError as error:
                faults.extend([] if "is training" in str(error) else [str(error)])

    threads = [Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert not (tmp_path / "run").exists()
