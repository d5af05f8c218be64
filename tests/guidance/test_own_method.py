"""A method from outside tiltflow, by `register` or a package's entry point, is a method like any other."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from outside import outside_agents
from tiltflow.cli.main import main
from tiltflow.errors import UserError
from tiltflow.guidance import fit, register
from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.methods import METHODS

pytestmark = pytest.mark.usefixtures("quickly_compiled")

MODULE = '''
from dataclasses import dataclass
from functools import partial

import jax

from tiltflow.guidance import register
from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.outcome import Outcome
from tiltflow.settings import NonNegative


@dataclass(frozen=True)
class ShiftedConfig(FitConfig):
    """Settings of shifted."""

    size: NonNegative = 2.0
    """How far each point goes along the first coordinate, in standard deviations."""


def draw(problem, size, key, n, condition):
    rows = jax.random.randint(key, (n,), 0, len(problem.points))
    return problem.points[rows] + size


def fit(problem, config, key, trainer):
    return Outcome(partial(draw, problem, config.size), parameters=0, evaluations=0)


register("shifted", ShiftedConfig(), fit, "rows of the data, moved")
'''


@pytest.fixture(autouse=True)
def own_methods_alone():
    with outside_agents():
        yield


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that is installed: a module, and the record of its entry point."""
    name = f"shifting_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    record = tmp_path / f"{name}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    offered = f"shifted = {name}\nlost = {name}\ngone = nowhere\n"
    (record / "entry_points.txt").write_text(f"[tiltflow.methods]\n{offered}")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_package_offers_a_method_with_its_own_option_and_help(package, tmp_path, capsys):
    x = np.random.default_rng(0).standard_normal((1_000, 2))
    np.save(tmp_path / "x.npy", x)
    words = ["guide", f"{tmp_path}/x.npy", "--energy", "0", "--samples", "300", "--held-out", "0"]
    words += ["--method", "shifted"]
    assert main([*words, "--size", "3", "--out", f"{tmp_path}/out"]) == 0
    drawn = np.load(tmp_path / "out" / "samples.npy")
    assert drawn.mean(axis=0) == pytest.approx([3], abs=0.2)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["method"], found["config"]["size"]) == ("shifted", 3.0)
    assert main([*words, "--width", "8", "--out", f"{tmp_path}/no"]) == 2
    assert "of shifted are --steps" in " ".join(capsys.readouterr().err.split())
    assert main(["guide", "--help"]) == 0
    assert f"of the package {package}" in " ".join(capsys.readouterr().out.split())
    assert main(["guide", "--method", "shifted", "--help"]) == 0
    assert "--size FLOAT" in capsys.readouterr().out


def test_the_file_in_the_documentation_is_run_by_plugin(tmp_path, capsys):
    text = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "short.py").write_text(next(block for block in blocks if "register" in block))
    np.savetxt(tmp_path / "x.csv", np.random.default_rng(0).standard_normal((300, 2)), delimiter=",")
    words = ["guide", f"{tmp_path}/x.csv", "--score", "1", "--method", "short", "--out", f"{tmp_path}/out"]
    small = ["--steps", "20", "--width", "8", "--depth", "1", "--samples", "100", "--held-out", "0"]
    assert main([*words, *small, "--plugin", f"{tmp_path}/short.py"]) == 0
    assert "energy-weighted flow matching in a minute" in " ".join(capsys.readouterr().out.split())
    assert np.load(tmp_path / "out" / "samples.npy").shape == (100, 1)


def test_a_package_that_does_not_hold_its_word_is_named(package):
    for name, text in (("lost", "does not register it"), ("gone", "cannot be imported")):
        with pytest.raises(UserError, match=f"'?{name}'?.* {text}"):
            fit(name, [[0.0], [1.0]], [0.0, 1.0], 1.0)
    with pytest.raises(UserError, match="Did you mean 'shifted'"):
        fit("shited", [[0.0], [1.0]], [0.0, 1.0], 1.0)


def test_fit_gives_what_is_declared_and_nothing_else():
    @dataclass(frozen=True)
    class OwnConfig(FitConfig):
        pass

    seen = {}

    def own(problem, config, key, trainer, **given):
        seen.update(given)
        trainer.notes.append("own")
        return METHODS["resample"].declared.fit(problem, config, key, trainer)

    register("own", OwnConfig(), own, shares=True)
    first = fit("own", [[0.0], [1.0]], [0.0, 1.0], 1.0)
    assert seen == {"previous": None}
    assert first.notes == ("own",)
    assert set(first.sample(50)[:, 0]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("Own", FitConfig(), "small letters"),
        ("efm", FitConfig(), "tiltflow's own"),
        ("own", FitConfig, "must be an instance"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(name, config, text):
    with pytest.raises(UserError, match=text):
        register(name, config, lambda *_: None)
