"""Stages taken over from another run: the bits of training them anew, and none where they would differ."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.errors import UserError
from tiltflow.train_config import TrainConfig
from tiltflow.training import checkpoints
from tiltflow.training.run import resume, train


def varied(small_config, algorithm: str, *, beta: float | None = None, **changes) -> TrainConfig:
    """Stages of fixed steps, and a β that is of no matter to the first of them."""
    made = small_config(algorithm, **changes)
    agent = replace(made.agent, behaviour_steps=100)
    if algorithm != "bc-flow":
        agent = replace(agent, critic_steps=60, improvement_steps=40, beta=beta or agent.beta)
    return replace(made, agent=agent)


def written_before_the_setting(path, setting: str) -> None:
    """Make a checkpoint one of a version that did not know a setting of the flow."""
    head, body = checkpoints.read(path)
    del head["sha256"], head["run"]["agent"]["flow"][setting]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode() + b"\n" + body)
    path.write_bytes(json.dumps({**head, "sha256": digest.hexdigest()}).encode() + b"\n" + body)


@pytest.mark.slow
def test_a_run_with_reused_stages_has_the_bits_of_one_without(small_config, trained, tmp_path):
    """Also of one whose first stage was itself taken over, from a run of another algorithm."""

    def train_from(source, taken, out, **changes):
        for path in source.glob("seeds/*/checkpoints/*"):
            written_before_the_setting(path, "play_noise")
        messages = []
        config = varied(small_config, "qipo-ot", reuse=str(source), **changes)
        run = train(config, out, messages.append, in_this_process=True)
        texts = [event["text"] for event in messages if event["event"] == "message"]
        stages = ("behaviour", "critic")
        assert [stage for stage in stages if any(f"stage {stage} " in text for text in texts)] == taken
        return run

    # The sources are evaluated at other steps than the run, and in other episodes.
    others = {"evaluations": 4, "episodes": 1}
    cloned = shutil.copytree(trained(varied(small_config, "bc-flow", **others)), tmp_path / "cloned")
    source = train_from(cloned, ["behaviour"], tmp_path / "source", beta=2.5, **others)
    again = train_from(source, ["behaviour", "critic"], tmp_path / "again")
    shutil.rmtree(source)
    resume(again, in_this_process=True)  # which has taken what it needs
    whole = trained(varied(small_config, "qipo-ot"))
    assert final_bodies(again) == final_bodies(whole)
    assert logged(again) == logged(whole)


@pytest.mark.slow
def test_reusing_a_run_in_which_nothing_fits_is_an_error(small_config, trained, tmp_path):
    """Of another seed; and of this run's only stage, which is evaluated at steps that left no checkpoint."""
    source = str(trained(varied(small_config, "bc-flow", evaluations=4, episodes=1)))
    for config in (
        varied(small_config, "qipo-ot", seed=5, reuse=source),
        varied(small_config, "bc-flow", reuse=source),
    ):
        with pytest.raises(UserError, match=r"Nothing of .* can be reused"):
            train(config, tmp_path / config.algorithm, in_this_process=True)
        assert not (tmp_path / config.algorithm).exists()
