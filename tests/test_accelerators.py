"""What is compiled otherwise for an accelerator."""

import re

import jax
import jax.numpy as jnp
import pytest

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
