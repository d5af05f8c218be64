import json
import re
from functools import cache

import numpy as np
import pytest
from pages import Page, assert_readable_unseen, assert_whole

from tiltflow.report.distributions import episode_histogram
from tiltflow.report.run_page import write_report
from tiltflow.report.run_reader import read_run


@pytest.fixture(scope="module")
def page_of(make_run, finished_run, other_run, tmp_path_factory):
    """A page by the name of its case, written once."""
    folder = tmp_path_factory.mktemp("pages")

    @cache
    def write(case):
        match case:
            case "finished":
                return Page(write_report(finished_run))
            case "bc":
                return Page(write_report(other_run))
            case "unfinished":
                run = make_run(folder / "run", task_name="d4rl/hopper-medium-v2", seeds=1, finished=False)
            case "not evaluated":
                run = make_run(folder / "early", algorithm="bc-flow", finished=False, evaluated=False)
            case "estimated":
                run = make_run(folder / "estimated", task_name="file/own", seeds=2, dimensions=2)
            case "one chunk":
                run = make_run(folder / "chunk", finished=False, evaluated=False)
                lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
                (run / "metrics.jsonl").write_text(lines[0])
                (run / "actions.npz").unlink()
                (run / "environment.json").unlink()
            case "pictures":
                run = make_run(folder / "pictures", algorithm="bc-flow", dimensions=2, pictures=True)
        return Page(write_report(run))

    return write


@pytest.fixture(
    params=["finished", "bc", "unfinished", "not evaluated", "estimated", "one chunk", "pictures"]
)
def page(request, page_of):
    return page_of(request.param)


def test_the_page_is_whole_and_asks_for_no_other_file(page):
    assert_whole(page)


def test_the_page_can_be_read_without_seeing_it(page):
    assert_readable_unseen(page)


@pytest.mark.parametrize("value", [5.0, 1e20, -1e300])
def test_returns_that_are_all_alike_are_drawn_however_large_they_are(value):
    chart = episode_histogram("return", np.full(3, value), np.zeros(3, bool))
    assert "3 episodes" in chart.alt


def test_each_evaluation_says_which_beta_its_policy_had(page_of, finished_run):
    text = page_of("finished").text
    assert "β of the points: 0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 1, 1, 1." in text
    assert "success at β = 1, mean of 3 seeds" in text
    assert read_run(finished_run).scored_betas == [1.0]
    assert "β of the points" not in page_of("bc").text


def test_one_seed_is_not_spoken_of_as_several(page_of):
    text = page_of("unfinished").text
    assert "95 % interval of this one training" in text
    for words in ("mean over seeds", "IQM over seeds", "std between seeds"):
        assert words not in text[: text.index("Glossary", 600)]


def test_every_metric_that_is_shown_is_explained(page):
    assert "No description." not in page.text
    for name in re.findall(r"logged as (\w+)", page.text):
        assert re.search(rf"\b{name}\b", page.text[page.text.index("Glossary", 600) :])


def test_an_estimate_is_named_so_and_shown_with_its_held_out_episodes(page_of):
    text = page_of("estimated").text
    assert text.count("estimated return (not played)") >= 3
    assert "with 40 episodes" not in text
    assert "95 % interval Percentile interval of the score: the recorded episodes are drawn" in text
    assert "where they are far from it, none of the numbers is to be relied on" in text
    for row in ("W₁ of sampled to recorded actions, entry 1", "value by the critic", "40.0 to 60.0"):
        assert row in text


def test_the_headline_is_the_result(page_of, finished_run):
    text, result = page_of("finished").text, read_run(finished_run).result
    low, high = result["ci95"]
    assert f"{result['mean']:.1f} %" in text
    assert f"95 % interval {low:.1f} to {high:.1f} %" in text
    assert "mean of 3 seeds with 150 episodes each, from the last 3 evaluations of the " in text
    assert "tiltflow train qipo-ot --task ogbench/cube-single-play-singletask-task2-v0 --data" in text
    assert "hollow mark: after the behaviour stage, " in text
    assert "not finished" not in text


def test_the_same_run_gives_the_same_bytes(page_of, other_run):
    assert page_of("bc").text
    first = (other_run / "report.html").read_bytes()
    assert write_report(other_run).read_bytes() == first


def test_an_unfinished_run_says_so(page_of):
    assert "not finished: step 93,000 of 100,000" in page_of("unfinished").text
    assert "With one seed" in page_of("unfinished").text
    assert "not evaluated yet" in page_of("not evaluated").text


def test_behaviour_cloning_has_no_weights_to_show(page_of):
    assert "Effective sample size" not in page_of("bc").text
    assert "refresh" not in page_of("bc").text


def test_twenty_of_many_action_dimensions_are_shown(make_run, tmp_path):
    run = make_run(tmp_path / "run", algorithm="bc-flow", dimensions=24)
    page = Page(write_report(run))
    assert len(re.findall(r"Action \d+ W₁", page.text)) == 20
    assert "the 20 of 24 dimensions in which bc-flow is farthest from the data" in page.text


def test_distance_of_equal_actions_is_zero(make_run, tmp_path):
    run = make_run(tmp_path / "run", algorithm="bc-flow", dimensions=2)
    data = np.load(run / "actions.npz")["data"]
    np.savez(run / "actions.npz", data=data, policy=np.stack([data] * 3))
    assert Page(write_report(run)).text.count("W₁ 0.000") == 2


def test_behaviour_is_shown_where_there_are_pictures_of_it(page_of):
    page = page_of("pictures")
    assert page.text.count("1 of 4 paths reach the goal") == 3
    assert "the first 4 episodes of the evaluation after 100,000 gradient steps" in page.text
    assert "step 0 step 250 step 500 step 750 step 1,000" in page.text
    assert "of seed 1 after 100,000 gradient steps: no success, return 322" in page.text
    assert len(page.all("img")) == 5
    assert "Behaviour" not in page_of("bc").text


def test_an_action_has_the_name_and_the_bounds_of_its_column(make_run, tmp_path):
    run = make_run(tmp_path / "run", algorithm="bc-flow", dimensions=2)
    record = json.loads((run / "environment.json").read_text())
    signals = [{"name": "torque", "size": 1, "entries": []}, {"name": "grip", "size": 1, "entries": []}]
    observations = [{"name": "obs", "size": 28, "entries": []}]
    record["data"]["interface"] = {"observations": observations, "actions": signals}
    record["data"]["interface"] |= {"action_low": [-2, 0], "action_high": [2, 80]}
    (run / "environment.json").write_text(json.dumps(record))
    page = Page(write_report(run))
    assert "torque Action 0" in page.text
    assert "observationsobs [28] actionstorque, grip" in page.text
    assert "{'name'" not in page.text
    assert "grip Action 1" in page.text
    assert ">80</text>" in (run / "report.html").read_text()


def test_text_from_the_run_folder_cannot_become_markup(make_run, tmp_path):
    run = make_run(tmp_path / "run", algorithm="bc-flow", dimensions=1)
    config = json.loads((run / "config.json").read_text())
    config["data"] = "<script>alert(1)</script>"
    (run / "config.json").write_text(json.dumps(config))
    page = Page(write_report(run))
    assert page.all("script") == []
    assert "<script>alert(1)</script>" in page.text
