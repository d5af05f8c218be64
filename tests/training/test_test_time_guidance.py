"""Which setting of a guidance at test time is taken."""

from dataclasses import replace

import jax.numpy as jnp
import pytest

from tiltflow.errors import UserError
from tiltflow.training.evaluate import with_noise
from tiltflow.training.load_run import LoadedRun
from tiltflow.training.policy import ObservationScaler
from tiltflow.training.prepare import prepare
from tiltflow.training.test_time_guidance import best_setting, same_units


def test_a_setting_whose_actions_are_not_finite_is_never_chosen():
    assert best_setting((1.0, 2.0, 4.0), [0.3, 0.7, float("nan")]) == 2.0
    with pytest.raises(UserError, match="every setting"):
        best_setting((1.0, 2.0), [float("nan"), float("inf")])


def test_a_critic_of_other_units_is_told_from_one_of_the_same():
    """It would be asked about observations that it has never seen: those of this policy, in its own units."""

    def units(mean: float, std: float) -> ObservationScaler:
        return ObservationScaler(jnp.array([0.0, mean]), jnp.array([1.0, std]), jnp.array(10.0))

    ours = units(100.0, 20.0)
    assert same_units(ours, units(100.1, 20.1))
    assert not same_units(ours, units(101.0, 20.0))
    assert not same_units(ours, units(100.0, 21.0))


def test_noise_that_a_distilled_policy_does_not_hear_is_refused(small_config):
    config = small_config("bc-flow")
    prepared, _ = prepare(replace(config, agent=replace(config.agent, behaviour_steps=None, distill=True)))
    loaded = LoadedRun(prepared, [], 0)
    with pytest.raises(UserError, match="no effect on a distilled policy"):
        with_noise(loaded, 0.3, of_flow=False)
    assert with_noise(loaded, 0.3, of_flow=True).prepared.config.agent.flow.play_noise == 0.3
