"""An agent from outside: the tutorial's file trains, resumes, evaluates, reports and shows its help."""

import json
import os
import subprocess
import sys

import pytest

from outside import EXAMPLE, outside_agents
from tiltflow.agents import plugged, register
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.main import main
from tiltflow.errors import UserError
from tiltflow.model_settings import NetworkConfig
from tiltflow.plugins import PLUGINS

pytestmark = pytest.mark.usefixtures("quickly_compiled")

PLUGIN = ("--plugin", str(EXAMPLE))
TOGETHER = ("--seeds", "2", "--parallel", "vmap")  # in this process
TINY = ("--set.critic.network.width", "16", "--set.critic.network.depth", "1", "--set.alpha", "5")


@pytest.fixture(autouse=True)
def forgotten():
    with outside_agents():
        yield


def words_of(captured: str) -> str:
    return " ".join(captured.split())


@pytest.mark.slow
def test_the_example_is_an_agent_to_every_command(small_training, tmp_path, capsys):
    run = tmp_path / "run"
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    assert main(["train", *PLUGIN, "weighted-flow", "--help"]) == 0
    assert "α, inverse temperature of the weights. (default: 3.0)" in words_of(capsys.readouterr().out)

    training = ["train", "weighted-flow", *small_training, *TINY, *TOGETHER]
    assert main([*training, "--out", str(run), *PLUGIN]) == 0
    assert json.loads((run / "config.json").read_text())["agent_type"] == "WeightedFlowConfig"
    (state,) = run.glob("seeds/*/checkpoints/*40.ckpt")
    last = state.with_name(state.name.replace("40", "60"))
    bits = last.read_bytes()[-1000:]
    last.unlink()
    assert main(["train", "--resume", str(run), f"--plugin={EXAMPLE}"]) == 0
    assert last.read_bytes()[-1000:] == bits

    assert main(["evaluate", str(run), "--episodes", "1", *PLUGIN]) == 0
    capsys.readouterr()
    assert main(["report", str(run), *PLUGIN]) == 0
    assert "--set.alpha 5" in (run / "report.html").read_text()
    assert main(["compare", str(run), "--out", str(tmp_path / "compared"), *PLUGIN]) == 0
    assert "weighted-flow" in capsys.readouterr().out
    assert PLUGINS not in os.environ or not os.environ[PLUGINS]


def test_a_run_folder_imports_nothing(tmp_path, monkeypatch, capsys):
    """Not by a name that could be a module's or a file's; what is missing is said."""
    for name in ("stranger", "tiltflow_plugin_stranger"):
        (tmp_path / f"{name}.py").write_text(
            "from pathlib import Path; Path(__file__).with_suffix('.ran').touch()"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for algorithm in ("stranger", "stranger.py", str(tmp_path / "stranger.py"), "../stranger"):
        record = {"format": 1, "agent_type": "Config", "algorithm": algorithm, "agent": {}, "task": "file/x"}
        (tmp_path / "config.json").write_text(json.dumps(record | {"plugin": "stranger.py"}))
        for command in (["train", "--resume", "."], ["evaluate", "."]):
            assert main([*command, "--trust"]) == 2
            assert "There is no algorithm" in words_of(capsys.readouterr().err)
    assert not list(tmp_path.glob("*.ran"))


def test_an_installed_package_offers_its_agents_to_every_process(tmp_path):
    information = tmp_path / "own_agents-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own-agents\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[tiltflow.agents]\npackaged = own_agents\n")
    (tmp_path / "own_agents.py").write_text(EXAMPLE.read_text().replace('"weighted-flow"', '"packaged"'))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }

    def help_of(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "tiltflow", "train", *arguments, "--help"]
        return words_of(subprocess.run(command, env=environment, capture_output=True, text=True).stdout)

    assert "packaged of the package own-agents" in help_of()
    assert "--set.alpha FLOAT" in help_of("packaged")


def test_what_cannot_be_a_plugin_or_an_algorithm_is_refused(tmp_path, capsys):
    silent, broken = tmp_path / "silent.py", tmp_path / "broken.py"
    silent.write_text("import tiltflow.agents.bc\n")
    broken.write_text("1 / 0\n")
    for file, why in (
        (silent, "registers nothing"),
        (broken, "failed with ZeroDivisionError"),
        (tmp_path / "none.py", "it is no Python file"),
    ):
        assert main(["train", "--plugin", str(file), "--help"]) == 2
        assert why in words_of(capsys.readouterr().err)
    assert main(["train", "--help", "--plugin"]) == 2
    for name, config, why in (
        ("Own Agent", NetworkConfig(), "small letters"),
        ("iql", NetworkConfig(), "tiltflow's own"),
        ("own", NetworkConfig, "an instance"),
    ):
        with pytest.raises(UserError, match=why):
            register(name, config, words_of)


def test_a_plugin_holds_for_the_processes_that_are_started_meanwhile():
    with pytest.raises(UserError, match=r"--plugin FILE\.py"):
        ALGORITHMS.find("weighted-flow")
    command = [
        sys.executable,
        "-c",
        "import tiltflow.agents.registry as r; print(r.ALGORITHMS.find('weighted-flow'))",
    ]
    with plugged(EXAMPLE):
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert ALGORITHMS.find("weighted-flow").config.alpha == 3.0
    assert subprocess.run(command, capture_output=True).returncode == 1
