"""A fitted method written to a file and read back: the same samples, whatever the method is made of."""

import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.errors import UserError
from tiltflow.guidance import fit, load_model, save_model
from tiltflow.guidance.methods import METHODS
from tiltflow.settings import override

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TINY = {"steps": 2, "network.width": 8, "network.depth": 1, "num_steps": 2}


def energy(points):
    return jnp.sum(points, axis=-1)


def test_a_conditional_fit_with_its_baseline_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    points, condition = rng.standard_normal((200, 2)), rng.standard_normal((200, 1))
    config = override(METHODS.find("efm").config, TINY)
    model = fit(
        "efm", points, points[:, 0], 1.0, condition=condition, transform="whiten", config=config, seed=3
    )
    save_model(model, tmp_path / "m.npz")
    again, origin = load_model(tmp_path / "m.npz")
    assert (again.method, again.config, again.beta, again.losses) == (
        model.method, model.config, model.beta, model.losses,
    )  # fmt: skip
    assert origin.names == ()
    np.testing.assert_array_equal(again.problem.level, model.problem.level)
    np.testing.assert_array_equal(*(m.sample(64, seed=1, condition=[0.5]) for m in (model, again)))


def test_a_function_is_to_be_given_again_and_networks_of_another_size_are_refused(tmp_path):
    points = np.random.default_rng(0).standard_normal((200, 2))
    config = override(METHODS.find("flow-is").config, {**TINY, "pool": 64})
    model = fit("flow-is", points, energy, 1.0, config=config)
    save_model(model, tmp_path / "m.npz")
    with pytest.raises(UserError, match="give it again"):
        load_model(tmp_path / "m.npz")
    again, _ = load_model(tmp_path / "m.npz", energy)
    np.testing.assert_array_equal(*(m.sample(64, seed=1) for m in (model, again)))
    arrays = dict(np.load(tmp_path / "m.npz"))
    text = arrays["head"].tobytes().replace(b'"network.width": 8', b'"network.width": 9')
    np.savez(tmp_path / "m.npz", **{**arrays, "head": np.frombuffer(text, np.uint8)})
    with pytest.raises(UserError, match="not of its sizes"):
        load_model(tmp_path / "m.npz", energy)
