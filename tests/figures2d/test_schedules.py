"""The panels of FlowQ's schedules: the truth among them, and that a stored panel is not computed again."""

from dataclasses import replace

import numpy as np
import pytest

from tiltflow.figures2d.drawing import Grid, Picture
from tiltflow.figures2d.figure_plan import FigurePlan
from tiltflow.figures2d.figures_page import write_page
from tiltflow.figures2d.schedules import cases, trace_all
from tiltflow.figures2d.trajectories import draw_schedules
from tiltflow.model_settings import NetworkConfig

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def quiet(*_):
    pass


def test_the_panel_of_the_truth_is_the_tilt_of_that_of_the_data(tmp_path):
    data, truth = trace_all(cases(None)[:2], tmp_path, quiet)
    assert (data.case.name, truth.case.name) == ("data", "truth")
    # exp(x₂) on ½·N(±2, 0.09): weights e^±2, means moved by 0.09.
    assert truth.upper == pytest.approx(np.exp(2) / (np.exp(2) + np.exp(-2)), abs=0.005)
    for points, shift in ((data.points, 0.0), (truth.points, 0.09)):
        upper = points[points[:, 1] > 0]
        assert upper.mean(axis=0) == pytest.approx([0, 2 + shift], abs=0.02)
        assert upper.std(axis=0) == pytest.approx([0.3, 0.3], abs=0.02)


def test_stored_panels_are_kept_and_drawn(tmp_path):
    case = cases(20)[2]
    tiny = replace(case, config=replace(case.config, network=NetworkConfig(width=8, depth=1), num_steps=4))
    (first,) = trace_all([tiny], tmp_path, quiet)
    assert first.ways.shape == (5, 60, 2)
    record = tmp_path / "flowq-unguided.npz"
    written = record.stat().st_mtime_ns
    (again,) = trace_all([tiny], tmp_path, quiet)
    np.testing.assert_array_equal(first.points, again.points)
    assert record.stat().st_mtime_ns == written
    picture = draw_schedules([first, again], tmp_path)
    assert (tmp_path / f"{picture.name}.png").stat().st_size > 10_000
    assert (tmp_path / f"{picture.name}.svg").exists()


def test_the_page_shows_the_schedules_beside_the_grids(tmp_path):
    """A picture that is no grid has neither rows nor columns."""
    grid = Grid("figure1", "Figure 1", ["truth"], ["β = 0"], [[None]])
    for name in ("flowq-schedules", grid.name):
        (tmp_path / f"{name}.svg").write_text("<svg/>")
    grids = [grid, Picture("flowq-schedules", "FlowQ's schedules")]
    page = write_page(tmp_path, FigurePlan(), grids, [], [], tmp_path).read_text()
    assert 'alt="Figure 1. Rows: truth. Columns: β = 0."' in page
    assert 'alt="FlowQ&#39;s schedules."' in page
