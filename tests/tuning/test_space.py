"""SPACE.toml: what it may say, and that what is wrong is named with file, key and value."""

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.errors import UserError
from tiltflow.tuning.space import Choices, Range, read_space

GOOD = """
beta = { log-uniform = [0.3, 30] }
critic.aggregate = ["min", "mean"]
data_share = ["None", 0.5]

[flow]
learning-rate = { uniform = [1e-4, 1e-3] }
network.depth = { int = [2, 4] }
network.width = { log-int = [16, 64] }
"""


def read(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return read_space(path, ALGORITHMS.find("qipo-ot").config)


def test_a_space_has_choices_and_ranges_by_the_keys_of_the_settings(tmp_path):
    assert read(tmp_path, GOOD) == {
        "beta": Range(0.3, 30.0, log=True),
        "critic.aggregate": Choices(("min", "mean")),
        "data_share": Choices((None, 0.5)),
        "flow.learning_rate": Range(1e-4, 1e-3),
        "flow.network.depth": Range(2, 4, whole=True),
        "flow.network.width": Range(16, 64, whole=True, log=True),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("beta = [1, 2", "is no TOML"),
        ("", "is empty"),
        ("betta = [1, 2]", "betta: QIPOConfig has no such setting. Did you mean 'beta'"),
        ("critic = [1]", "critic: QIPOConfig has no such setting"),
        ("beta = 3", "beta = 3: write a list of choices, or one of"),
        ("beta = { uniform = [1, 2], int = [1, 2] }", "write a list of choices, or one of"),
        ("beta = []", "one at least"),
        ("beta = [[1]]", "one at least"),
        ("beta = [1, 1]", "a choice is named twice"),
        ("beta = { uniform = [1] }", "give two numbers"),
        ('beta = { uniform = ["a", "b"] }', "give two numbers"),
        ("beta = { uniform = [2, 1] }", "the first number must be below the second"),
        ("beta = { log-uniform = [0, 1] }", "a logarithm needs numbers above 0"),
        ("critic.ensemble = { int = [1.5, 3] }", "give two whole numbers"),
        ("critic.ensemble = { int = [0, 3] }", "ensemble = 0: it must be a whole number"),
        ("critic.ensemble = { uniform = [1, 3] }", "ensemble = 1.0: it must be a whole number"),
        ('critic.aggregate = ["min", "meen"]', "aggregate = 'meen'.*Did you mean 'mean'"),
        ("flow.learning-rate = [0.1]\nflow.learning_rate = [0.1]", "it is given twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    with pytest.raises(UserError, match=told) as error:
        read(tmp_path, text)
    assert str(tmp_path / "space.toml") in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_space(tmp_path / "space.toml", ALGORITHMS.find("iql").config)
