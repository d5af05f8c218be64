"""Which work a plan is, and which it refuses to be."""

from dataclasses import asdict, replace
from typing import get_args

import pytest

from tiltflow.datasets2d import DATASETS_2D
from tiltflow.errors import UserError
from tiltflow.figures2d.figure_plan import TRUTH, FigurePlan, group_cells, plan_from
from tiltflow.guidance.methods import METHODS
from tiltflow.settings import SetName


def test_the_names_are_those_that_exist():
    assert FigurePlan().methods == tuple(METHODS)
    assert get_args(SetName) == tuple(DATASETS_2D)


def test_groups_cover_every_cell_once_share_what_can_be_shared_and_begin_with_the_truth():
    plan = FigurePlan(seeds=2)
    truths, cells = plan.truths(), plan.cells()
    found = group_cells([*cells, *truths])
    shared = {TRUTH: False} | {name: method.declared.shares for name, method in METHODS.items()}
    assert sorted(cell for group in found for cell in group.cells) == sorted([*cells, *truths])
    assert all((len(group.betas) == len(plan.betas)) == shared[group.method] for group in found)
    assert [group.method == TRUTH for group in found] == sorted(
        (g.method == TRUTH for g in found), reverse=True
    )


def test_settings_change_with_what_a_cell_depends_on_and_with_nothing_else():
    plan = FigurePlan()
    cell, truth = plan.cells()[0], plan.truths()[0]
    assert plan.settings(cell) == replace(plan, seeds=3, betas=(0.0,), points=50).settings(cell)
    assert plan.settings(cell) != replace(plan, steps=7).settings(cell)
    assert plan.settings(cell) != replace(plan, samples=50).settings(cell)
    assert plan.settings(truth) == replace(plan, steps=7, train_rows=99).settings(truth)


def test_a_plan_survives_its_way_to_a_process():
    plan = FigurePlan(betas=(0.1, 1 / 3), steps=7)
    assert plan_from(asdict(plan)) == plan


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"betas": (-1.0,)}, "β = -1"),
        ({"betas": (float("nan"),)}, "β = nan"),
        ({"betas": (3.0, 3.0)}, "twice"),
        ({"betas": ()}, "No β"),
        ({"data": ("8gausians",)}, "Did you mean '8gaussians'"),
        ({"methods": ("emf",)}, "Did you mean 'efm'"),
        ({"points": 0}, "points = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"seeds": 0}, "seeds = 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(wrong, text):
    with pytest.raises(UserError, match=text):
        FigurePlan(**wrong)
