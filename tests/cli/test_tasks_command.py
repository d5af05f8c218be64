"""`tiltflow tasks`: the list, and what is known of one task."""

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.main import main


@pytest.mark.parametrize("name", ["pointmaze/umaze-v0", "minari/D4RL/pointmaze/umaze-v2", "file/arm"])
def test_the_whole_name_of_any_task_shows_every_preset(name, capsys):
    assert main(["tasks", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{name}: ")
    assert {line.split()[0] for line in lines if line} >= set(ALGORITHMS)


def test_a_part_of_a_name_lists_the_tasks_that_have_it(capsys):
    assert main(["tasks", "hopper"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines
    assert all("hopper" in line for line in lines if line)


def test_a_name_that_no_task_has_is_refused(capsys):
    assert main(["tasks", "minari/"]) == 2
    assert "There is no task" in capsys.readouterr().err
