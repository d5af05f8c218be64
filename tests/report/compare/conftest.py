"""Two comparisons: a usual one, and one with all that can be odd about runs."""

import pytest

from tiltflow.report.compare.comparison import read_comparison

CUBE = "ogbench/cube-single-play-singletask-task2-v0"
HOPPER = "d4rl/hopper-medium-replay-v2"
CHEETAH = "d4rl/halfcheetah-medium-replay-v2"


@pytest.fixture(scope="session")
def usual(make_run, tmp_path_factory):
    """Two algorithms on two tasks, one of them in two folders."""
    root = tmp_path_factory.mktemp("usual")
    runs = [
        make_run(root / "bc-cube", algorithm="bc-flow", level=0.15, dimensions=1),
        make_run(root / "bc-hopper", algorithm="bc-flow", task_name=HOPPER, level=0.2, dimensions=1),
        make_run(root / "qipo-cube", dimensions=1),
        make_run(root / "qipo-cube-more", seeds=2, first_seed=3, dimensions=1),
        make_run(root / "qipo-hopper", task_name=HOPPER, first_seed=5, dimensions=1),
    ]
    return read_comparison(runs)


@pytest.fixture(scope="session")
def odd(make_run, tmp_path_factory):
    """Fourteen configurations of one algorithm, an unfinished run, other data, a plain return, one seed."""
    root = tmp_path_factory.mktemp("odd")
    runs = [
        make_run(
            root / f"{task[5:9]}-{beta}", task_name=task, seeds=2, first_seed=beta, level=0.05 * beta,
            changes={"beta": float(beta), "weights_of_a_very_long_name": f"value_{beta}"}, dimensions=1,
        )
        for beta in range(2, 16)
        for task in (HOPPER, CHEETAH)
    ]  # fmt: skip
    runs += [
        make_run(root / "short_&_50%", algorithm="bc-flow", task_name=HOPPER, seeds=1, dimensions=1,
                 finished=False, checksum="beef" * 16),
        make_run(root / "own", algorithm="bc-diffusion", task_name="file/own_data", dimensions=1,
                     env="Own-v0"),
    ]  # fmt: skip
    return read_comparison(runs, allow_different_data=True)
