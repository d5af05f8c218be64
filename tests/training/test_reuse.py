"""Stages taken over from another run: the bits of training them anew, and none where they would differ."""

from dataclasses import replace

import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.errors import UserError
from tiltflow.training.run import train


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("qipo-ot", "qipo-ot", ["behaviour", "critic"]),
        ("qipo-ot", "qipo-diff", ["critic"]),
    ],
)
def test_a_run_with_reused_stages_has_the_bits_of_one_without(small_config, tmp_path, first, second, taken):
    def config(algorithm, **changes):
        made = small_config(algorithm, **changes)
        agent = replace(made.agent, behaviour_steps=100)
        if algorithm != "bc-flow":
            agent = replace(agent, critic_steps=80, improvement_steps=60)
        return replace(made, agent=agent)

    source = train(config(first), tmp_path / "source")
    changed = config(second)
    changed = replace(changed, agent=replace(changed.agent, beta=2.5))  # of no matter to the first stages
    whole = train(changed, tmp_path / "whole")
    messages = []
    again = train(replace(changed, reuse=str(source)), tmp_path / "again", messages.append)
    texts = [event["text"] for event in messages if event["event"] == "message"]
    assert [stage for stage in ("behaviour", "critic") if any(f"stage {stage} " in t for t in texts)] == taken
    assert final_bodies(again) == final_bodies(whole)
    assert logged(again) == logged(whole)


def test_reusing_a_run_in_which_nothing_fits_is_an_error(small_config, tmp_path):
    source = train(small_config("bc-flow"), tmp_path / "source")
    other = small_config("bc-flow", seed=5, reuse=str(source))
    with pytest.raises(UserError, match=r"Nothing of .* can be reused"):
        train(other, tmp_path / "other")
