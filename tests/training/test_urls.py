"""Runs at a URL: trained, lost and gone on with elsewhere, read by every verb, as if they lay here."""

import json
from pathlib import PurePosixPath

import fsspec
import pytest
from tests.training.test_resume import final_bodies, logged

import tiltflow
from tiltflow.cli.main import main
from tiltflow.remote_folder import LEASE, mirror_of, open_mirror
from tiltflow.training.run import resume, train

RUN, LOST = "memory://runs/whole", "memory://runs/lost"


@pytest.fixture(scope="module")
def states(small_config, tmp_path_factory):
    """The copy of a run at a URL, and what was there at each checkpoint and at its end: objects by name."""
    store, found = fsspec.filesystem("memory").store, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILTFLOW_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        folder = open_mirror(RUN, new=True)

        def keep(event):
            if event["event"] == "checkpoint":
                mirror_of(folder).send()
                found.append({name: file.getvalue() for name, file in store.items()})

        config = small_config("bc-flow", steps=60, chunk=10, evaluations=1, episodes=1)
        train(config, folder, keep, in_this_process=True)
        found.append({name: file.getvalue() for name, file in store.items()})
    store.clear()
    return folder, found


@pytest.fixture
def put(states, monkeypatch, tmp_path):
    """Puts one of these states to a URL, and makes this process one on another machine."""
    monkeypatch.setenv("TILTFLOW_SCRATCH", str(tmp_path / "scratch"))
    memory = fsspec.filesystem("memory")

    def put(index: int, url: str) -> None:
        for name, body in states[1][index].items():
            place = PurePosixPath(name).relative_to(RUN.replace("memory:/", ""))
            if place.name == LEASE:  # nobody has heard of its owner for long
                body = json.dumps({**json.loads(body), "time": 0.0}).encode()
            memory.pipe_file(f"{url}/{place}", body)

    yield put
    memory.store.clear()


def test_a_run_whose_machine_is_lost_goes_on_elsewhere_to_the_same_bits(states, put):
    whole, found = states
    put(len(found) // 2 - 1, LOST)
    folder = open_mirror(LOST)
    assert not (folder / "result.json").exists()
    assert final_bodies(folder) != final_bodies(whole)
    resume(folder, in_this_process=True)
    assert final_bodies(folder) == final_bodies(whole)
    assert logged(folder) == logged(whole)
    store = mirror_of(folder).store
    assert store.get("result.json") == (folder / "result.json").read_bytes()
    assert not mirror_of(folder).changed()


def test_every_verb_that_reads_runs_reads_them_at_a_url(put, tmp_path):
    put(-1, RUN)
    assert main(["report", RUN]) == 0
    assert main(["compare", RUN, "--out", str(tmp_path / "compare")]) == 0
    store = mirror_of(open_mirror(RUN, whole=False)).store
    assert b"bc-flow" in store.get("report.html")
    assert b"bc-flow" in (tmp_path / "compare" / "table.csv").read_bytes()
    assert main(["evaluate", RUN, "--episodes", "1"]) == 0
    assert len(json.loads(store.get("evaluation.json"))["returns"][0]) == 1
    assert tiltflow.load(RUN).result == json.loads(store.get("result.json"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "bc-flow", "--task", "file/x", "--out", RUN], f"tiltflow train --resume {RUN}"),
        (["train", "bc-flow", "--task", "file/x", "--data", "memory://x"], "Copy them to it"),
        (["report", "memory://nothing"], "There is nothing at memory://nothing"),
        (["toy", "--out", "memory://toy"], "tiltflow toy works in folders of this machine"),
        (["train", "--resume", "memory://broken"], "has no config.json"),
    ],
)
def test_what_cannot_be_at_a_url_is_refused_in_one_paragraph(put, capsys, words, text):
    put(-1, RUN)
    fsspec.filesystem("memory").pipe_file("memory://broken/note", b"")
    assert main(words) == 2
    assert text in " ".join(capsys.readouterr().err.split())
