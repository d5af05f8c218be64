"""Cells: what is measured, what is shared, what is lost when one fails."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from tiltflow.datasets2d import sample_2d
from tiltflow.figures2d.cells import compute_cells
from tiltflow.figures2d.figure_plan import TRUTH, CellGroup, FigureCell, FigurePlan
from tiltflow.figures2d.stopwatch import Stopwatch
from tiltflow.figures2d.store import read_cell, read_numbers
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.problem import make_problem
from tiltflow.model_settings import NetworkConfig

PLAN = FigurePlan(data=("moons",), methods=("resample",), train_rows=20_000, samples=300, points=40)


def compute(plan, group, folder):
    """What is sent of each cell: why it failed, or None."""
    told = []
    compute_cells(told.append, asdict(plan), group, str(folder))
    assert {event["event"] for event in told} == {"cell"}
    return {event["cell"]: event["failed"] for event in told}


def test_resampled_rows_are_as_far_from_the_truth_as_an_exact_sample(tmp_path):
    betas = (0.0, 3.0)
    assert set(compute(PLAN, CellGroup("moons", TRUTH, 0, betas), tmp_path).values()) == {None}
    assert set(compute(PLAN, CellGroup("moons", "resample", 0, betas), tmp_path).values()) == {None}
    for beta in betas:
        truth, cell = FigureCell("moons", TRUTH, beta, 0), FigureCell("moons", "resample", beta, 0)
        floor = read_numbers(tmp_path, truth, PLAN.settings(truth))
        numbers = read_numbers(tmp_path, cell, PLAN.settings(cell))
        assert abs(numbers["distance"] - floor["floor"]) < 4 * floor["floor_std"]
        assert numbers["low"] <= numbers["distance"] <= numbers["high"]
        assert numbers["parameters"] == numbers["train_seconds"] == 0
        assert read_cell(tmp_path, cell)["points"].shape == (PLAN.drawn, 2)


def test_a_cell_that_fails_loses_no_other(tmp_path):
    group = CellGroup("moons", "resample", 0, (0.0, -1.0, 3.0))
    errors = compute(PLAN, group, tmp_path)
    assert [errors[cell] is None for cell in group.cells] == [True, False, True]
    assert "beta = -1" in errors[group.cells[1]]["text"]
    stored = [read_numbers(tmp_path, cell, PLAN.settings(cell)) is not None for cell in group.cells]
    assert stored == [True, False, True]


def test_a_shared_training_gives_the_bits_of_one_that_is_not():
    points, labels = sample_2d("moons", 2000, 0)
    config = replace(METHODS["cep"].config, network=NetworkConfig(width=8, depth=1), steps=2, num_steps=2)

    def fit(beta, previous=None):
        return fit_problem("cep", make_problem(points, -labels, beta), config, previous=previous)

    first, fresh = fit(1.0), fit(3.0)
    shared = fit(3.0, first)
    np.testing.assert_array_equal(shared.sample(20), fresh.sample(20))
    assert not np.array_equal(shared.sample(20), first.sample(20))
    assert shared.parameters == fresh.parameters
    assert shared.losses.keys() == {"energy network"}


def test_the_stopwatch_counts_every_network_once_and_no_compilation():
    moments = iter([0.0, 60.0, 61.0, 62.0, 90.0, 90.5, 91.0, 95.0, 97.0, 99.0])
    watch = Stopwatch(lambda: next(moments))
    for what in ("generative model", "energy network", "energy network"):
        for done in (10, 20, 30):
            watch(what, done, 30, 0.0)
    # 3 chunks of 1 s; those of 0.5 s were replaced by 3 chunks of 2 s.
    assert watch.seconds == pytest.approx(3.0 + 6.0)
