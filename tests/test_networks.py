import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import assert_mean, normal
from tiltflow.networks import (
    ACTIVATIONS,
    MLP,
    SMALL_OUTPUT,
    TimeNetwork,
    dense,
    glorot_uniform,
    time_features,
)

pytestmark = pytest.mark.usefixtures("quickly_compiled")

# Outputs on both sides of the size at which the weight gradient is computed the other way round.
OUTPUTS = (3, SMALL_OUTPUT, SMALL_OUTPUT + 1, 64)


def _gradients(product, x, kernel, cotangent):
    return jax.jit(jax.grad(lambda x, k: jnp.sum(product(x, k) * cotangent), argnums=(0, 1)))(x, kernel)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_gradients_of_dense_are_those_of_autodiff(outputs):
    arguments = normal(0, 40, 20), normal(1, 20, outputs), normal(2, 40, outputs)
    for ours, plain in zip(_gradients(dense, *arguments), _gradients(jnp.matmul, *arguments), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_gradients_of_dense_agree_in_single_precision(outputs):
    arguments = [
        jnp.asarray(a, jnp.float32)
        for a in (normal(0, 256, 64), normal(1, 64, outputs), normal(2, 256, outputs))
    ]
    for ours, plain in zip(_gradients(dense, *arguments), _gradients(jnp.matmul, *arguments), strict=True):
        assert np.max(np.abs(ours - plain)) < 1e-6 * np.max(np.abs(plain))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("outputs", [3, 64])
def test_gradients_of_dense_under_vmap_over_seeds(outputs):
    """Rows and kernels of four seeds at once, and one set of rows under four kernels."""
    x, kernel, cotangent = normal(0, 4, 10, 20), normal(1, 4, 20, outputs), normal(2, 4, 10, outputs)
    for axes, rows in (((0, 0, 0), x), ((None, 0, 0), x[0])):
        ours, plain = (
            jax.vmap(lambda *a, p=product: _gradients(p, *a), axes)(rows, kernel, cotangent)
            for product in (dense, jnp.matmul)
        )
        for a, b in zip(ours, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("outputs", [3, 64])
def test_tangents_of_dense_are_those_of_a_product(outputs):
    """ẋ·k + x·k̇, also where only one of the two moves, or neither."""
    x, x_dot = normal(0, 40, 20), normal(1, 40, 20)
    kernel, kernel_dot = normal(2, 20, outputs), normal(3, 20, outputs)
    _, both = jax.jvp(dense, (x, kernel), (x_dot, kernel_dot))
    np.testing.assert_allclose(both, x_dot @ kernel + x @ kernel_dot, rtol=1e-12, atol=1e-12)
    _, rows = jax.jvp(lambda x: dense(x, kernel), (x,), (x_dot,))
    np.testing.assert_allclose(rows, x_dot @ kernel, rtol=1e-12, atol=1e-12)
    _, weights = jax.jvp(lambda kernel: dense(x, kernel), (kernel,), (kernel_dot,))
    np.testing.assert_allclose(weights, x @ kernel_dot, rtol=1e-12, atol=1e-12)
    _, still = jax.jvp(lambda x: dense(jax.lax.stop_gradient(x), kernel), (x,), (x_dot,))
    np.testing.assert_array_equal(still, np.zeros((40, outputs)))


def _second_derivatives(value, arguments, directions):
    """∇²f·v forward over reverse, reverse over reverse and reverse over forward; vᵀ∇²f·v forward over
    forward; and the gradient of |∂f/∂x|², the square of a slope that is itself trained."""
    gradient = jax.grad(value, argnums=(0, 1, 2))

    def along(*arguments):
        return jax.jvp(value, arguments, directions)[1]

    def slope_along(*arguments):
        return sum(jnp.vdot(*pair) for pair in zip(gradient(*arguments), directions, strict=True))

    def squared_slope(*arguments):
        return jnp.sum(jax.grad(value)(*arguments) ** 2)

    return (
        jax.jvp(gradient, arguments, directions)[1],
        jax.grad(slope_along, argnums=(0, 1, 2))(*arguments),
        jax.grad(along, argnums=(0, 1, 2))(*arguments),
        jax.jvp(along, arguments, directions)[1],
        jax.grad(squared_slope, argnums=(0, 1, 2))(*arguments),
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("outputs", [3, 64])
def test_second_derivatives_of_dense_are_those_of_autodiff(outputs, members):
    """Of a network of two layers, and of an ensemble's sum: the kernels of two under vmap, on shared rows."""
    stacked = () if members is None else (members,)
    shapes = (10, 5), (*stacked, 5, SMALL_OUTPUT + 1), (*stacked, SMALL_OUTPUT + 1, outputs)
    arguments, directions = (
        tuple(normal(seed + i, *shape) for i, shape in enumerate(shapes)) for seed in (0, 10)
    )

    def value_of(product):
        def network(x, first, second):
            return jnp.sum(jnp.sin(product(jnp.tanh(product(x, first)), second)))

        if members is None:
            return network
        return lambda *arguments: jnp.sum(jax.vmap(network, (None, 0, 0))(*arguments))

    ours, autodiff = (
        jax.jit(lambda a, d, product=product: _second_derivatives(value_of(product), a, d))(
            arguments, directions
        )
        for product in (dense, jnp.matmul)
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(autodiff), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    hessian_vector, again, and_again = ours[:3]
    for a, b, c in zip(hessian_vector, again, and_again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(a, c, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_only_a_weight_gradient_materialises_a_transpose(outputs):
    """What makes it fast on a CPU; and a slope in x alone costs the products of x alone."""
    x, kernel = jnp.ones((40, 20)), jnp.ones((20, outputs))

    def program(argnums):
        return jax.jit(jax.grad(lambda x, k: jnp.sum(dense(x, k) ** 2), argnums)).lower(x, kernel).as_text()

    transposed = f"{outputs}x40" if outputs <= SMALL_OUTPUT else "20x40"
    assert re.search(rf"optimization_barrier.* tensor<{transposed}xf32>", program(1))
    assert "optimization_barrier" not in program(0)
    tangent = jax.make_jaxpr(lambda x: jax.jvp(lambda x: dense(x, kernel), (x,), (x,)))(x)
    assert str(tangent).count("dot_general") == 2


@pytest.fixture
def mlp(key):
    return MLP(key, 5, 3, width=16, depth=2, layer_norm="before")


@pytest.mark.usefixtures("x64")
def test_an_mlp_supports_forward_mode(mlp):
    x, direction = normal(0, 7, 5), normal(1, 7, 5)
    slope = jax.jit(lambda x: jax.jvp(mlp, (x,), (direction,))[1])(x)
    h, values = 1e-5, jax.jit(lambda x: mlp(x))
    difference = (values(x + h * direction) - values(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_any_leading_axes(mlp):
    x = normal(0, 2, 3, 5)
    values = jax.jit(lambda x: mlp(x))
    np.testing.assert_allclose(values(x)[1, 2], values(x[1, 2]), rtol=1e-12)
    assert values(x).shape == (2, 3, 3)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("layer_norm", ["none", "before", "after"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_its_formula(key, activation, layer_norm):
    net = MLP(key, 4, 2, width=8, depth=1, activation=activation, layer_norm=layer_norm)

    def activate(x):
        return np.asarray(ACTIVATIONS[activation](jnp.asarray(x)))

    def normalise(x):
        return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)

    x = normal(0, 6, 4)
    hidden = x @ np.asarray(net.kernels[0])
    hidden = {
        "none": activate,
        "before": lambda h: activate(normalise(h)),
        "after": lambda h: normalise(activate(h)),
    }[layer_norm](hidden)
    expected = hidden @ np.asarray(net.kernels[1])
    np.testing.assert_allclose(jax.jit(lambda x: net(x))(x), expected, rtol=1e-10, atol=1e-12)


def test_kernels_start_uniform_with_the_stated_variance(key):
    inputs, outputs = 300, 500
    kernel = np.asarray(glorot_uniform(key, inputs, outputs), np.float64).ravel()
    assert_mean(kernel, 0.0)
    assert_mean(kernel**2, 2 / (inputs + outputs))
    # The fourth moment of a uniform law is 9/5 of its squared variance.
    assert_mean(kernel**4, 1.8 * (2 / (inputs + outputs)) ** 2)


def test_initial_parameters(key):
    scaled, full = (
        MLP(key, 5, 3, width=16, depth=2, layer_norm="before", output_scale=scale) for scale in (0.01, 1.0)
    )
    np.testing.assert_allclose(scaled.kernels[-1], 0.01 * full.kernels[-1], rtol=1e-6)
    assert [k.shape for k in full.kernels] == [(5, 16), (16, 16), (16, 3)]
    assert all(np.all(bias == 0) for bias in full.biases)
    assert [np.unique(p).tolist() for p in (*full.scales, *full.shifts)] == [[1.0], [1.0], [0.0], [0.0]]
    assert len({float(np.asarray(k).ravel()[0]) for k in full.kernels}) == 3
    assert MLP(key, 5, 3, width=16, depth=2).scales == ()


def test_leaves_are_arrays_alone(mlp):
    """So that optimisers, averages and checkpoints can map over a model without asking."""
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(mlp))


@pytest.mark.usefixtures("x64")
def test_time_features_tell_all_times_apart():
    t = np.linspace(0, 1, 101)
    features = np.asarray(jax.jit(time_features)(t))
    assert features.shape == (101, 16)
    np.testing.assert_allclose(features[:, 3], np.cos(3 * np.pi * t), rtol=1e-12, atol=1e-12)
    gaps = np.linalg.norm(features[:, None] - features[None], axis=-1) + np.eye(101)
    assert gaps.min() > 0.01
    np.testing.assert_array_equal(time_features(t, 1), t[:, None])


def test_a_time_network_depends_on_point_time_and_condition(key):
    net = TimeNetwork(key, 2, 3, width=16, depth=2)
    x, t, condition = (np.asarray(a, np.float32) for a in (normal(0, 5, 2), np.full(5, 0.3), normal(1, 5, 3)))
    of = jax.jit(lambda *inputs: net(*inputs))
    output = of(x, t, condition)
    assert output.shape == (5, 2)
    for changed in (of(x + 1, t, condition), of(x, t + 0.1, condition), of(x, t, condition + 1)):
        assert np.all(np.abs(changed - output) > 0)
    assert jax.eval_shape(TimeNetwork(key, 2, 0, width=16, depth=2), x, t).shape == (5, 2)
    plain = TimeNetwork(key, 2, 3, features=1, width=16, depth=2)

    @jax.jit
    def both(x, t, condition):
        return plain(x, t, condition), plain.mlp(jnp.concatenate([x, t[:, None], condition], axis=-1))

    np.testing.assert_array_equal(*both(x, t, condition))
