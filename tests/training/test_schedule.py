"""The edges of a run: every step once, the same edges from wherever it is resumed."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tiltflow.agents.base import Stage, split_steps
from tiltflow.agents.bc import BCConfig
from tiltflow.train_config import TrainConfig
from tiltflow.training.schedule import Schedule


def stage(steps: int, refresh_every: int | None, improves: bool) -> Stage:
    return Stage("s", steps, 1, lambda state, batch, key: (state, {}), improves, refresh_every=refresh_every)


schedules = st.builds(
    lambda stages, chunk, every, evaluations: Schedule(
        tuple(stage(*s) for s in stages),
        TrainConfig("bc-flow", "t", BCConfig(), chunk=chunk, checkpoint_every=every, evaluations=evaluations),
    ),
    st.lists(
        st.tuples(st.integers(1, 60), st.none() | st.integers(1, 25), st.booleans()), min_size=1, max_size=3
    ),
    st.integers(1, 20),
    st.integers(1, 30),
    st.integers(1, 12),
)


@given(schedules)
@settings(max_examples=200, deadline=None)
def test_chunks_cover_every_step_once_and_stay_inside_their_stage(schedule):
    step = 0
    for here, length in schedule.chunks(0):
        assert here.step == step
        assert 0 < length <= schedule.config.chunk
        assert here.stage_step + length <= schedule.stages[here.stage].steps
        step += length
    assert step == schedule.steps == sum(stage.steps for stage in schedule.stages)


@given(schedules)
@settings(max_examples=200, deadline=None)
def test_a_resumed_run_has_the_remaining_chunks_of_an_uninterrupted_one(schedule):
    everything = list(schedule.chunks(0))
    for index, (here, _) in enumerate(everything):
        assert list(schedule.chunks(here.step)) == everything[index:]


@given(schedules)
@settings(max_examples=200, deadline=None)
def test_refreshes_fall_where_their_period_says(schedule):
    refreshed = [(here.stage, here.stage_step) for here, _ in schedule.chunks(0) if schedule.refreshes(here)]
    expected = [
        (index, step)
        for index, stage in enumerate(schedule.stages)
        for step in ([0] if stage.refresh_every is None else range(0, stage.steps, stage.refresh_every))
    ]
    assert refreshed == expected


@given(schedules)
@settings(max_examples=200, deadline=None)
def test_the_last_stage_is_evaluated_as_often_as_asked_and_at_its_end(schedule):
    last = len(schedule.stages) - 1
    chunks = [(here, length) for here, length in schedule.chunks(0) if here.stage == last]
    evaluated = [step - schedule.begin(last) for step in schedule.evaluated if step > schedule.begin(last)]
    if not schedule.stages[last].improves_policy:
        assert evaluated == []
    else:
        assert evaluated[-1] == schedule.stages[last].steps
        assert len(evaluated) == min(schedule.config.evaluations, len(chunks)) or schedule.config.chunk > 1
        assert len(evaluated) <= schedule.config.evaluations


@given(schedules, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_a_lengthened_run_has_all_that_the_shorter_one_had(schedule, more, still_more):
    before = schedule.begin(len(schedule.stages) - 1)
    ends = (schedule.steps, schedule.steps + more, schedule.steps + more + still_more)

    def to(*own):
        last = replace(schedule.stages[-1], steps=own[-1] - before)
        config = replace(schedule.config, ends=own if len(own) > 1 else ())
        return Schedule((*schedule.stages[:-1], last), config)

    for short, long in ((to(*ends[:1]), to(*ends[:2])), (to(*ends[:2]), to(*ends))):
        assert long.edges[: len(short.edges)] == short.edges
        assert long.evaluated_to(short.steps) == short.evaluated
        assert long.ends_stage(short.steps)
        if long.stages[-1].improves_policy:
            assert long.evaluated[-1] == long.steps


@given(schedules)
@settings(max_examples=200, deadline=None)
def test_every_chunk_of_a_stage_is_so_many_parts_and_fits_into_the_longest_one(schedule):
    lengths = {(here.stage, length) for here, length in schedule.chunks(0)}
    for index in {index for index, _ in lengths}:
        assert schedule.longest_chunk(index) == max(length for of, length in lengths if of == index)
        assert all(length % schedule.common_part(index) == 0 for of, length in lengths if of == index)


def test_the_parts_are_the_largest_that_divide_every_chunk():
    config = TrainConfig("bc-flow", "t", BCConfig())
    schedule = Schedule(
        (stage(37_500, 9_375, True), stage(1_001, None, True), stage(500, None, True)), config
    )
    assert [schedule.common_part(index) for index in range(3)] == [125, 1, 500]


def test_fixed_stages_are_kept_and_the_rest_is_shared_in_proportion():
    shares = {"a": 0.4, "b": 0.4, "c": 0.2}
    assert split_steps(1000, shares, {}) == {"a": 400, "b": 400, "c": 200}
    assert split_steps(1000, shares, {"b": 700}) == {"a": 200, "b": 700, "c": 100}
    assert split_steps(1, shares, {"a": 5, "b": 6, "c": 7}) == {"a": 5, "b": 6, "c": 7}
    assert sum(split_steps(997, shares, {}).values()) == 997


def test_no_stage_is_left_without_a_step():
    for shares in ({"a": 0.5, "b": 0.35, "c": 0.15}, {"a": 6, "b": 5, "c": 1}, {"a": 1, "b": 98, "c": 1}):
        for total in range(3, 40):
            steps = split_steps(total, shares, {}).values()
            assert min(steps) >= 1
            assert sum(steps) == total
