"""Damaged checkpoints and logs: never another state than the one saved, never a result of fewer lines."""

import hashlib
import io
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from test_resume import final_bodies, logged

from tiltflow.critics import Ensemble
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines, write_json
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.evaluate import evaluate
from tiltflow.training.prepare import prepare, prepare_folder
from tiltflow.training.restore import restore_group
from tiltflow.training.run import resume

MUTATIONS = 600


@pytest.fixture
def run(small_config, trained, tmp_path) -> Path:
    """A finished run of one seed, to be damaged."""
    return shutil.copytree(trained(small_config("bc-flow")), tmp_path / "run")


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Another file: bits turned, bytes put in or taken out, an end cut off, a header changed."""
    head, body = content.split(b"\n", 1)
    place = draw.randrange(len(content))
    match draw.randrange(6):
        case 0:
            return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
        case 1:
            return content[:place]
        case 2:
            return content[:place] + draw.randbytes(draw.randint(1, 9)) + content[place:]
        case 3:
            return content[:place] + content[place + draw.randint(1, 99) :]
        case 4:
            other = draw.choice(
                [b"", b"[]", b"null", b"{}", b'"x"', b"[" * 9999, head.replace(b"4", b"3", 1)]
            )
            return other + b"\n" + body
    record = json.loads(head)
    key = draw.choice(list(record))
    record[key] = draw.choice([None, -1, 0, 10**12, 60, 1e308, "60", [], {}, True])
    if draw.random() < 0.3:
        del record[key]
    return json.dumps(record).encode() + b"\n" + body


def header(content: bytes) -> dict:
    return json.loads(content.split(b"\n", 1)[0])


def test_a_damaged_checkpoint_never_gives_another_state_than_the_one_saved(run):
    prepared = prepare_folder(RunFolder(run))
    fresh = prepared.init([0])

    def restored():
        state, step, _, problems = restore_group(prepared, RunFolder(run), [0], fresh, to_train=True)
        return jax.tree.map(np.asarray, jax.tree.leaves(state)), step, problems

    before, newest = RunFolder(run / "seeds/0").checkpoints()[-2:]
    content = newest.read_bytes()
    whole, last, problems = restored()
    assert (last, problems) == (200, [])
    newest.unlink()
    older, step, _ = restored()
    assert step == checkpoints.header_of(before)["step"] < last
    draw = random.Random(0)
    for _ in range(MUTATIONS):
        newest.write_bytes(mutated(content, draw))
        state, step, problems = restored()
        if step == last:  # white space in the header, say, changes nothing
            assert all(map(np.array_equal, state, whole))
            assert json.loads(newest.read_bytes().split(b"\n", 1)[0]) == json.loads(
                content.split(b"\n", 1)[0]
            )
        else:
            assert all(map(np.array_equal, state, older))
            assert newest.name in problems[0]


def test_checkpoints_of_the_format_before_are_read(run):
    import zlib

    whole = final_bodies(run)
    for path in RunFolder(run / "seeds/0").checkpoints():
        head, body = checkpoints.read(path)
        del head["sha256"], head["run"]["agent"]["flow"]["play_noise"]  # a setting of later
        old = {**head, "format": 2, "crc32": zlib.crc32(body)}
        path.write_bytes(json.dumps(old).encode() + b"\n" + body)
    record = json.loads((run / "config.json").read_text())
    del record["agent"]["flow"]["play_noise"]
    write_json(run / "config.json", record)
    assert final_bodies(resume(run, in_this_process=True)) == whole


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_checkpoints_in_which_the_members_of_a_critic_followed_each_other_are_read(
    small_config, tmp_path, seeds
):
    prepared, _ = prepare(small_config("qipo-ot"))
    state = prepared.init(seeds)
    path = checkpoints.save(RunFolder(tmp_path), state, {"step": 0, "run": {}}, keep=1)
    head, _ = checkpoints.read(path)

    def member(ensemble: Ensemble, number: int):
        return jax.tree.map(lambda a: a[number] if len(seeds) == 1 else a[:, number], ensemble.members)

    def apart(node):
        return (member(node, 0), member(node, 1)) if isinstance(node, Ensemble) else node

    body = io.BytesIO()
    is_leaf = lambda node: isinstance(node, Ensemble)  # noqa: E731
    eqx.tree_serialise_leaves(body, jax.tree.map(apart, state, is_leaf=is_leaf))
    del head["sha256"]
    head = {**head, "format": 3, "bytes": len(body.getvalue())}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode() + b"\n" + body.getvalue())
    head["sha256"] = digest.hexdigest()
    path.write_bytes(json.dumps(head).encode() + b"\n" + body.getvalue())
    restored, _ = checkpoints.restore(path, state, {})
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert all(map(np.array_equal, jax.tree.leaves(restored), jax.tree.leaves(state)))


def cut_line(path: Path, number: int) -> None:
    lines = path.read_text().splitlines()
    del lines[number]
    path.write_text("".join(line + "\n" for line in lines))


def test_a_lost_evaluation_is_played_again_where_its_policy_is_kept(small_config, trained, run):
    (run / "result.json").unlink()
    cut_line(run / "seeds/0/evaluations.jsonl", 1)
    resume(run, in_this_process=True)
    assert logged(run) == logged(trained(small_config("bc-flow")))


def test_a_lost_evaluation_takes_the_run_back_to_a_checkpoint_before_it(small_config, trained, run):
    """Its last line is lost, and a line was written behind it."""
    (run / "result.json").unlink()
    path = run / "seeds/0/evaluations.jsonl"
    records = read_json_lines(path)
    path.write_text(json.dumps(records[1]) + "\n")
    kept = {file: file.read_bytes() for file in run.rglob("*.jsonl")}
    with pytest.raises(UserError, match=r"evaluations\.jsonl lacks the line of step 100"):
        resume(run, in_this_process=True)  # no checkpoint is left of the first hundred steps
    assert {file: file.read_bytes() for file in kept} == kept
    whole = trained(small_config("bc-flow", keep=20))
    longer = shutil.copytree(whole, run.parent / "longer")
    (longer / "result.json").unlink()
    path = longer / "seeds/0/evaluations.jsonl"
    path.write_text(json.dumps(records[1]) + "\n")
    messages = []
    resume(longer, messages.append, in_this_process=True)
    assert logged(longer) == logged(whole)
    assert final_bodies(longer) == final_bodies(whole)
    assert any("lacks the line of step 100" in event.get("text", "") for event in messages)


def test_a_policy_is_read_without_its_logs(run):
    """Also that of a run whose evaluations fell on other steps, with stages of another version."""
    cut_line(run / "seeds/0/evaluations.jsonl", 0)
    assert evaluate(run, 1)["episodes"] == 1


def test_lost_metrics_are_told(run):
    (run / "result.json").unlink()
    cut_line(run / "seeds/0/metrics.jsonl", 3)
    messages = []
    resume(run, messages.append, in_this_process=True)
    assert any("metrics.jsonl lacks the line of step 80" in event.get("text", "") for event in messages)


def test_a_damaged_line_is_refused_and_an_unfinished_last_one_left_out(run):
    (run / "result.json").unlink()
    path = run / "seeds/0/evaluations.jsonl"
    content = path.read_text()
    path.write_text(content[:-20] + "\n")
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != ".lock"}
    with pytest.raises(UserError, match=r"evaluations\.jsonl, line 2, is not JSON"):
        resume(run, in_this_process=True)
    assert {file: file.read_bytes() for file in kept} == kept
    path.write_text(content + '{"step": 2')
    assert [record["step"] for record in read_json_lines(path)] == [100, 200]
    path.write_text(content + "[1]\n")
    with pytest.raises(UserError, match="line 3, is no JSON object"):
        read_json_lines(path)


def test_a_page_that_cannot_be_written_does_not_undo_a_training(run):
    (run / "result.json").unlink()
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    messages = []
    resume(run, messages.append, in_this_process=True)
    assert (run / "result.json").exists()
    (text,) = [event["text"] for event in messages if event.get("level") == "warning"]
    assert "The training is finished" in text
    assert f"Cannot write {run / 'report.html'}" in text
    assert f"tiltflow report {run}" in text


def test_a_run_whose_data_have_moved_goes_on_where_they_are_now(run, pendulum, tmp_path):
    moved = shutil.copy(pendulum, tmp_path / "moved.npz")
    record = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", {**record, "data": str(tmp_path / "gone.npz")})
    with pytest.raises(UserError, match="gone"):
        resume(run, in_this_process=True)
    whole = final_bodies(run)
    resume(run, data=Path(moved), in_this_process=True)
    assert final_bodies(run) == whole
    assert RunFolder(run).read_config().data == str(moved)


def test_a_folder_that_names_a_module_to_import_needs_trust(run, tmp_path, monkeypatch):
    (tmp_path / "strangers_own.py").write_text("from pathlib import Path; Path(__file__ + '.ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    config = RunFolder(run).read_config()
    record = json.loads((run / "config.json").read_text())
    write_json(run / "config.json", {**record, "env": "strangers_own:Pendulum-v1"})
    assert replace(config, env="strangers_own:Pendulum-v1") == RunFolder(run).read_config()
    for use in (resume, evaluate):
        with pytest.raises(UserError, match=r"strangers_own:Pendulum-v1.* --trust"):
            use(run)
    assert not (tmp_path / "strangers_own.py.ran").exists()


def test_a_run_goes_on_from_another_folder_than_it_was_begun_in(
    small_config, pendulum, tmp_path, monkeypatch
):
    monkeypatch.chdir(pendulum.parent)
    RunFolder(tmp_path).write_config(small_config("bc-flow", data=pendulum.name))
    monkeypatch.chdir(tmp_path)
    assert RunFolder(tmp_path).read_config().data == str(pendulum)
