"""Which work a plan is, and which it refuses to be."""

from dataclasses import asdict, replace
from typing import get_args

import pytest

from tiltflow.datasets2d import DATASETS_2D
from tiltflow.errors import UserError
from tiltflow.figures2d.plan import SHARING, MethodName, Plan, SetName, jobs, plan_from
from tiltflow.guidance.configs import METHODS


def test_the_names_are_those_that_exist():
    assert set(get_args(MethodName)) == set(METHODS)
    assert get_args(SetName) == tuple(DATASETS_2D)


def test_jobs_cover_every_cell_once_and_share_what_can_be_shared():
    plan = Plan(seeds=2)
    found = list(jobs(plan.cells()))
    assert sorted(cell for job in found for cell in job.cells) == sorted(plan.cells())
    assert all((len(job.betas) == len(plan.betas)) == (job.method in SHARING) for job in found)


def test_settings_change_with_what_a_cell_depends_on_and_with_nothing_else():
    plan = Plan()
    cell, truth = plan.cells()[0], plan.truths()[0]
    assert plan.settings(cell) == replace(plan, seeds=3, betas=(0.0,), points=50).settings(cell)
    assert plan.settings(cell) != replace(plan, steps=7).settings(cell)
    assert plan.settings(cell) != replace(plan, samples=50).settings(cell)
    assert plan.settings(truth) == replace(plan, steps=7, train_rows=99).settings(truth)


def test_a_plan_survives_its_way_to_a_process():
    plan = Plan(betas=(0.1, 1 / 3), steps=7)
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
        Plan(**wrong)
