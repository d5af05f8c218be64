"""What is compiled otherwise for an accelerator."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.accelerators import in_slices
from tiltflow.networks import MLP
from tiltflow.training.devices import Devices


@pytest.mark.parametrize(
    ("precision", "written"),
    [("auto", "DEFAULT, DEFAULT"), ("float32", "HIGHEST, HIGHEST"), ("tf32", "HIGH, HIGH"), ("bf16", "bf16")],
)
def test_every_product_of_a_step_forward_and_backward_has_the_chosen_precision(precision, written):
    network = MLP(jax.random.key(0), 2, 2, width=4, depth=1)

    def step(network, x):
        return jax.grad(lambda network: jnp.sum(network(x) ** 2))(network)

    text = (
        Devices(False, precision=precision).compiled(step, (0, 0)).lower(network, jnp.ones((3, 2))).as_text()
    )
    products = re.findall(r"dot_general.*", text)
    assert len(products) >= 5
    assert all(written in product for product in products)


@pytest.mark.parametrize("shape", [(256, 16), (256, 17), (2048,)])
def test_rows_computed_in_slices_are_those_computed_alone(shape):
    network = MLP(jax.random.key(0), 4, 3, width=8, depth=1)
    x, condition = (jax.random.normal(jax.random.key(seed), (*shape, 2)) for seed in (1, 2))

    def function(x, condition):
        return network(jnp.concatenate([x, condition], axis=-1))[..., 0]

    sliced = jax.jit(lambda x, condition: in_slices(function, x, condition))
    assert "while" in sliced.lower(x, condition).as_text()
    np.testing.assert_allclose(sliced(x, condition), function(x, condition), rtol=1e-5, atol=1e-6)


def test_rows_that_no_slice_fits_are_computed_at_once():
    x = jax.random.normal(jax.random.key(0), (2053, 2))  # a prime number of rows
    sliced = jax.jit(lambda x: in_slices(lambda x: 2 * x, x))
    assert "while" not in sliced.lower(x).as_text()
    np.testing.assert_array_equal(sliced(x), 2 * x)
