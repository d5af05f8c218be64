"""Numbers of the settings are arguments of what is compiled: one program serves all their values."""

import jax
import numpy as np
import pytest
from tests.agents.test_contract import OPTIONS, SPEC, columns, small_settings

from tiltflow.agents.registry import ALGORITHMS, build_agent
from tiltflow.agents.setting_numbers import numbers_of, with_values
from tiltflow.settings import flat, override
from tiltflow.training.policy import device_numbers

pytestmark = pytest.mark.usefixtures("quickly_compiled", "strict_types")


def otherwise(config):
    """The settings with another value of each number."""
    given = numbers_of(config).items() & flat(config).items()
    return override(config, {key: 0.9 * value if value else 0.1 for key, value in given})


def program(stage):
    """A step of a stage with what precedes it; of its numbers where it takes some."""

    def run(numbers, state, data, key):
        now = stage.at(numbers)
        state = now.refresh(state, data, key)
        batch = {**data, **(now.precompute(state, data, key) if now.precompute else {})}
        return now.update(state, batch, key)

    return jax.jit(run)


@pytest.mark.parametrize("name", [*ALGORITHMS, *OPTIONS])
def test_the_program_does_not_depend_on_the_numbers(name):
    algorithm, config = small_settings(name)
    agents = [build_agent(algorithm, settings, SPEC, 90) for settings in (config, otherwise(config))]
    assert agents[0].numbers.keys() == agents[1].numbers.keys()
    assert not agents[0].numbers.items() & agents[1].numbers.items()
    rest = jax.eval_shape(lambda key: (agents[0].init(key), columns(key), key), jax.random.key(0))
    for one, other in zip(*(agent.stages for agent in agents), strict=True):
        texts = [
            str(program(stage).trace(device_numbers(stage.numbers), *rest).jaxpr) for stage in (one, other)
        ]
        assert texts[0] == texts[1]


def test_one_program_gives_what_constants_give():
    algorithm, config = small_settings("fql")
    given, wanted = build_agent(algorithm, config, SPEC, 90), otherwise(config)
    fresh = ALGORITHMS.find(algorithm).declared.build(wanted, SPEC, 90)
    rest = jax.jit(given.init)(jax.random.key(0)), columns(jax.random.key(1)), jax.random.key(3)
    ours = program(given.stages[0])(device_numbers(numbers_of(wanted)), *rest)
    theirs = program(fresh.stages[0])({}, *rest)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_settings_with_other_values_leave_the_first_ones_alone():
    _, config = small_settings("qipo-ot")
    numbers = numbers_of(config)
    assert numbers["flow.average_step"] == 1.0 - config.flow.ema
    changed = with_values(config, dict.fromkeys(numbers, 7.0))
    assert set(numbers_of(changed).values()) == {7.0}
    assert numbers_of(config) == numbers
    assert (changed.flow.network, changed.reference) == (config.flow.network, config.reference)
