"""Folders at a URL: sent in an order that holds, fetched by others, written by one at a time."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

from tiltflow.errors import NotSent, UserError
from tiltflow.processes.lease import leased
from tiltflow.processes.locks import PATIENCE, locked
from tiltflow.remote_folder import LEASE, Mirror, discard, mirror_of, open_mirror

KINDS = ("memory", "file")


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    place = tmp_path / "bucket" / "run"
    yield f"{request.param}://{place}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes this process one on another machine, by its number."""

    def move(number: int) -> None:
        monkeypatch.setenv("TILTFLOW_SCRATCH", str(tmp_path / f"machine-{number}"))

    move(0)
    return move


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if "/." not in f"/{name}"}


def age_lease(mirror: Mirror, seconds: float) -> None:
    """As if its owner had not been heard of for so long."""
    lease = json.loads(mirror.store.get(LEASE))
    mirror.store.put(LEASE, json.dumps({**lease, "time": lease["time"] - seconds, "held": True}).encode())


STEP = "seeds/0/checkpoints/step-{}.ckpt"


def train_to(folder: Path, step: int) -> None:
    """What a run does at a checkpoint: log, write it, delete the one before."""
    log = folder / "seeds/0/metrics.jsonl"
    write(folder, "seeds/0/metrics.jsonl", (log.read_text() if log.exists() else "") + f"{step}\n")
    write(folder, STEP.format(step), f"state {step}")
    (folder / STEP.format(step - 1)).unlink(missing_ok=True)


def test_another_machine_goes_on_from_what_was_sent_and_the_first_one_follows_it(url, machine):
    here = open_mirror(url)
    with locked(here):
        write(here, "config.json", "{}")
        write(here, ".data/rows.npy", "large")
        train_to(here, 1)
        train_to(here, 2)
    machine(1)
    there = open_mirror(url)
    assert there != here
    assert files(there) == files(here)
    assert not (there / ".data").exists()
    with locked(there):
        train_to(there, 3)
        write(there, "result.json", "{}")
    assert files(there) == {
        "config.json": "{}", "result.json": "{}", STEP.format(3): "state 3",
        "seeds/0/metrics.jsonl": "1\n2\n3\n",
    }  # fmt: skip
    machine(0)
    train_to(here, 9)  # not sent: somebody else was the last to write there
    assert files(open_mirror(url)) == files(there)


def test_at_every_moment_of_a_sending_a_checkpoint_is_there_and_its_log_is_too(url, machine):
    here = open_mirror(url)
    mirror = mirror_of(here)

    def check() -> None:
        there = {name: mirror.store.get(name).decode() for name in mirror.store.listed()}
        steps = [int(text.removeprefix("state ")) for name, text in there.items() if name.endswith(".ckpt")]
        assert steps
        assert all(f"{step}\n" in there["seeds/0/metrics.jsonl"] for step in steps)
        assert "result.json" not in there or 3 in steps
        # An old checkpoint that goes before its turn.
        (here / STEP.format(2)).unlink(missing_ok=True)

    train_to(here, 1)
    mirror.send()
    train_to(here, 2)
    write(here, STEP.format(3), "state 3")
    write(here, "seeds/0/metrics.jsonl", "1\n2\n3\n")
    write(here, "result.json", "{}")
    mirror.send(check)
    mirror.send(check)
    assert {name for name in mirror.store.listed() if name.endswith(".ckpt")} == {STEP.format(3)}


def test_one_machine_writes_at_a_time_and_one_that_is_not_heard_of_is_replaced(url, machine, monkeypatch):
    first = Mirror(url)
    monkeypatch.setenv(PATIENCE, "0")

    def write_by_two():
        with leased(first, 0):
            write(first.folder, "log.txt", "first")
            machine(1)
            second = open_mirror(url)
            with pytest.raises(UserError, match="is training"), locked(second):
                pass
            age_lease(first, 1000)
            with locked(second):
                write(second, "log.txt", "second")

    with pytest.raises(NotSent, match="has taken over"):
        write_by_two()
    assert first.store.get("log.txt") == b"second"
    assert files(first.folder) == {"log.txt": "first"}


def test_where_nobody_answers_the_work_goes_on_and_is_sent_later(tmp_path, machine, capsys):
    bucket = tmp_path / "bucket"
    url = f"file://{bucket}/run"
    here = open_mirror(url)

    def lose_it():
        with locked(here):
            train_to(here, 1)
            shutil.rmtree(bucket)
            bucket.write_text("no folder")
            train_to(here, 2)

    with pytest.raises(NotSent, match=str(here)):
        lose_it()
    assert STEP.format(2) in files(here)
    bucket.unlink()
    with locked(open_mirror(url)):
        pass
    assert files(bucket / "run") == files(here)


def test_what_somebody_deletes_at_the_url_is_sent_once_more(url, machine):
    here = open_mirror(url)
    with locked(here):
        train_to(here, 1)
    machine(1)
    there = open_mirror(url)
    with locked(there):
        train_to(there, 2)
    store = mirror_of(there).store
    before = {name: store.get(name) for name in store.listed()}
    for name in before:
        store.delete(name)
    with locked(open_mirror(url)):
        pass
    assert before.keys() == store.listed().keys()


def test_large_files_come_as_names_alone_where_pages_are_all_that_is_wanted(url, machine):
    here = open_mirror(url)
    with locked(here):
        train_to(here, 1)
        write(here, "result.json", "{}")
    machine(1)
    there = open_mirror(url, whole=False)
    assert files(there)[STEP.format(1)] == ""
    write(there, "report.html", "page")
    mirror_of(there).send()
    assert mirror_of(there).store.get(STEP.format(1)) == b"state 1"
    assert files(open_mirror(url)) == {**files(here), "report.html": "page"}


def test_a_copy_that_is_deleted_deletes_nothing_at_the_url(url, machine):
    here = open_mirror(url)
    with locked(here):
        train_to(here, 1)
    mirror = mirror_of(here)
    shutil.rmtree(here)
    with pytest.raises(UserError, match="was deleted"):
        mirror.send()
    assert STEP.format(1) in files(open_mirror(url))
    discard(here)
    assert not here.parent.exists()
    assert STEP.format(1) in files(open_mirror(url))


@pytest.mark.parametrize("whole", [True, False])
def test_a_copy_that_has_lost_files_deletes_nothing_at_the_url(url, machine, whole):
    here = open_mirror(url)
    with locked(here):
        train_to(here, 1)
        write(here, "result.json", "{}")
    sent = files(here)
    for name in (STEP.format(1), "result.json"):  # as cleaners of old files do, which leave the newer ones
        (here / name).unlink()
    there = open_mirror(url, whole=whole)
    assert (there / "result.json").read_text() == "{}"
    mirror_of(there).send()
    assert files(open_mirror(url)) == sent
    with locked(there):
        (there / "result.json").unlink()
    assert "result.json" not in mirror_of(there).store.listed()


def test_names_that_lead_elsewhere_are_not_fetched(machine):
    store = fsspec.filesystem("memory")
    store.pipe_file("/run/../../outside", b"x")
    store.pipe_file("/run/.ssh/key", b"x")
    store.pipe_file("/run/fine", b"x")
    assert files(open_mirror("memory://run")) == {"fine": "x"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/run", "pip install s3fs"),
        ("nothing://run", "nothing"),
        ("ftp://127.0.0.1:1/run", "be reached"),
    ],
)
def test_a_place_that_cannot_be_reached_is_named_with_what_to_do(url, text, machine):
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("it is installed")
    with pytest.raises(UserError, match=text) as error:
        open_mirror(url)
    assert url in str(error.value)


def test_the_folder_of_many_runs_follows_each_and_changes_none(url, machine):
    """As the command of a suite does, whose runs are trained elsewhere."""
    suite = open_mirror(url, whole=False)
    with locked(suite):
        run = open_mirror(f"{url}/run-1")
        for step in (1, 2):
            with locked(run):
                train_to(run, step)
            write(suite, "run-1/log.txt", f"its words at {step}")
            mirror_of(suite).fetch(ours=True, under="run-1/")
            names = {f"run-1/{name}" for name in files(run)} | {"run-1/log.txt"}
            assert files(suite).keys() == names
            assert files(suite)[f"run-1/{STEP.format(step)}"] == ""
    there = mirror_of(suite).store
    assert there.listed().keys() == names | {LEASE, f"run-1/{LEASE}"}
    assert there.get(f"run-1/{STEP.format(2)}") == b"state 2"
    assert there.get("run-1/log.txt") == b"its words at 2"
