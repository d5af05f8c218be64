"""A run's logs, actions and episodes, joined from those of its groups of seeds."""

import numpy as np

from tiltflow.evaluation.lines import join_logs
from tiltflow.files import read_json_lines, write_json_lines
from tiltflow.npz import load_npz
from tiltflow.run_folder import PATH_ARRAYS, RunFolder


def merge_logs(run: RunFolder, groups: list[list[int]]) -> None:
    """Write the run's logs."""
    folders = [run.group(seeds) for seeds in groups]
    for ours, theirs in (
        (run.metrics_file, [folder.metrics_file for folder in folders]),
        (run.evaluations_file, [folder.evaluations_file for folder in folders]),
    ):
        write_json_lines(ours, join_logs([read_json_lines(path) for path in theirs]))


def merge_actions(run: RunFolder, groups: list[list[int]]) -> None:
    """Write the run's actions."""
    parts = [run.group(seeds).read_actions() for seeds in groups]
    run.write_actions(parts[0]["data"], np.concatenate([part["policy"] for part in parts]))


def merge_episodes(run: RunFolder, groups: list[list[int]]) -> None:
    """Write the run's paths through a maze, where all groups have them."""
    files = [run.group(seeds).episodes_file for seeds in groups]
    if not all(file.exists() for file in files):
        return
    parts = [load_npz(file, *PATH_ARRAYS) for file in files]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in PATH_ARRAYS}
    run.write_episodes(parts[0] | joined)
