"""What the command line says before any work, and what it must not import to say it."""

import json
import subprocess
import sys

import pytest

from tiltflow import __version__
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.main import VERBS, main

HELP = [
    ["--help"],
    ["--version"],
    *([verb, "--help"] for verb in VERBS),
    ["data", "collect", "--help"],
]
HEAVY = ("jax", "numpy", "scipy", "equinox", "gymnasium", "mujoco", "ogbench", "h5py", "matplotlib", "rich")

SCRIPT = """
import contextlib, io, json, sys
from tiltflow.cli.main import main

with contextlib.redirect_stdout(io.StringIO()):
    codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted(name for name in sys.modules if "." not in name)]))
"""


def test_no_help_imports_jax_numpy_or_anything_else_that_is_slow():
    command = [sys.executable, "-c", SCRIPT, json.dumps(HELP)]
    codes, modules = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert codes == [0] * len(HELP)
    assert not set(HEAVY) & set(modules)


def text_of(capsys, *arguments):
    code = main(arguments)
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), " ".join(captured.err.split())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_help_names_every_verb(capsys, arguments):
    code, out, _ = text_of(capsys, *arguments)
    assert code == 0
    assert all(f"{name} {verb.summary}" in out for name, verb in VERBS.items())


def test_the_version(capsys):
    assert text_of(capsys, "--version") == (0, f"tiltflow {__version__}", "")


def test_the_help_of_train_names_every_algorithm(capsys):
    code, out, _ = text_of(capsys, "train", "--help")
    assert code == 0
    assert all(f"{a.name} {a.description}" in out for a in ALGORITHMS.values())
    assert "--resume RUN" in out


def test_the_help_of_an_algorithm_shows_its_own_hyper_parameters_and_defaults(capsys):
    code, out, _ = text_of(capsys, "train", "qipo-ot", "--help")
    assert code == 0
    assert "--set.critic.kind {in-support-softmax,expectile,policy}" in out
    assert "Gradient steps in all stages together. (default: 200000)" in out.replace("│ │ ", "")
    assert "--set.flow.path {ot,ot-clipped,vp,cosine}" in out
    _, out, _ = text_of(capsys, "train", "bc-flow", "--help")
    assert "--set.critic" not in out
    assert "--set.behaviour-steps" in out


@pytest.mark.parametrize("verb", ["train", "evaluate", "report", "data"])
def test_a_missing_argument_is_bad_usage(capsys, verb):
    code, out, err = text_of(capsys, verb)
    assert (code, out) == (2, "")
    assert "--help" in err


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "qipo-to", "--task", "pointmaze/umaze-v0"], "Did you mean 'qipo-ot'?"),
        (["train", "bc-flow", "--task", "pointmaze/umase-v0"], "Did you mean 'pointmaze/umaze-v0'?"),
        (["train", "qipo-ot", "--task", "pointmaze/umaze-v0", "--set.betta", "3"], "--set.beta FLOAT"),
        (["train", "qipo-ot", "--task", "pointmaze/umaze-v0", "--sedes", "3"], "--seeds INT"),
    ],
)
def test_a_slip_of_the_hand_suggests_the_nearest(capsys, arguments, suggestion):
    code, out, err = text_of(capsys, *arguments)
    assert (code, out) == (2, "")
    assert suggestion in err
