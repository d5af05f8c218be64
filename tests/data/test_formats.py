"""The layouts of columns and what they become."""

import numpy as np

from tiltflow.data.formats import from_states, from_steps, from_transitions, layout_of, state_rows


def steps(n, terminals=(), timeouts=(), **extra):
    rows = np.arange(n)
    return {
        "observations": np.stack([rows, -rows], axis=1).astype(np.float32),
        "actions": np.linspace(-1, 1, n, dtype=np.float32)[:, None],
        "rewards": rows.astype(np.float32),
        "terminals": np.isin(rows, terminals),
        "timeouts": np.isin(rows, timeouts),
        **extra,
    }


def test_without_next_observations_rows_are_those_of_qlearning_dataset_and_all_true_ends():
    """D4RL takes all rows but the last and those with a timeout, and pairs each with the next row.

    A true end needs no successor: its reward counts wherever it stands.
    """
    random = np.random.default_rng(0)
    for _ in range(50):
        columns = steps(40, random.choice(40, 4), random.choice(40, 4))
        data = from_steps(columns, horizon=7)
        free = ~columns["timeouts"]
        free[39] = False
        rows = np.flatnonzero(free | columns["terminals"]).tolist()
        assert data.rewards.tolist() == rows
        assert data.next_observations[:, 0].tolist() == [min(row + 1, 39) for row in rows]
        assert data.terminations.tolist() == [bool(columns["terminals"][row]) for row in rows]


def test_the_following_action_is_that_of_the_next_row_where_the_next_row_goes_on():
    data = from_steps(steps(6, timeouts=[2]), horizon=100)  # rows 0, 1, 3, 4
    actions, known = data.following_actions()
    assert known.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(actions[[0, 2]], data.actions[[1, 3]])
    np.testing.assert_array_equal(actions[[1, 3]], 0)
    backwards = data.take(np.array([3, 2, 1, 0]))
    assert not backwards.following_actions()[1].any()


def test_files_without_timeouts_are_cut_at_the_horizon():
    columns = steps(20, terminals=[4])
    del columns["timeouts"]
    data = from_steps(columns, horizon=6)
    # Episodes 0-4 (true end), 5-10 and 11-16 (horizon), 17-19 (file ends).
    assert data.rewards.tolist() == [*range(10), *range(11, 16), 17, 18]
    assert np.flatnonzero(data.ends).tolist() == [4, 9, 14, 16]
    assert np.flatnonzero(data.terminations).tolist() == [4]


def test_a_time_limit_is_an_end_but_not_a_termination():
    columns = steps(10, terminals=[9], timeouts=[4])
    data = from_steps(columns | {"next_observations": columns["observations"] + 1}, horizon=1000)
    assert len(data) == 10
    assert np.flatnonzero(data.ends).tolist() == [4, 9]
    assert np.flatnonzero(data.terminations).tolist() == [9]


def test_no_transition_leads_from_one_episode_into_the_next():
    columns = steps(12, terminals=[3], timeouts=[7, 11])
    data = from_steps(columns, horizon=1000)
    inside = ~data.ends
    np.testing.assert_array_equal(
        data.next_observations[:-1][inside[:-1]], data.observations[1:][inside[:-1]]
    )
    across = data.next_observations[~data.terminations, 0] - data.observations[~data.terminations, 0]
    assert np.all(across == 1)
    assert not np.isin(data.next_observations[~data.terminations, 0], [4, 8]).any()


def test_the_last_row_of_an_ogbench_episode_only_supplies_the_next_observation():
    columns = steps(10, terminals=[4, 9])
    rows = state_rows(columns["terminals"])
    data = from_states(columns | {"rewards": np.zeros(10), "terminations": np.arange(10) == 2})
    assert rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert data.observations[:, 0].tolist() == rows.tolist()
    assert data.next_observations[:, 0].tolist() == (rows + 1).tolist()
    assert np.flatnonzero(data.ends).tolist() == [3, 7]
    assert np.flatnonzero(data.terminations).tolist() == [2]


def test_an_ogbench_file_cut_in_an_episode_ends_there():
    columns = steps(7, terminals=[3])
    data = from_states(columns | {"rewards": np.zeros(7), "terminations": np.zeros(7, bool)})
    assert np.flatnonzero(data.ends).tolist() == [2, 4]


def test_types_and_rounding():
    columns = steps(3, terminals=[2])
    columns["actions"] = np.array([[1.0005], [-1.0005], [0.5]])
    columns["rewards"] = columns["rewards"].astype(np.float64)
    data = from_steps(columns | {"next_observations": columns["observations"]}, horizon=5)
    assert data.actions[:, 0].tolist() == [1.0, -1.0, 0.5]
    assert {column.dtype for column in data.columns().values()} == {np.dtype(np.float32), np.dtype(bool)}
    again = from_transitions(data.columns())
    for key, column in data.columns().items():
        np.testing.assert_array_equal(again.columns()[key], column)


def test_layouts_are_told_apart_by_their_keys():
    columns = steps(3)
    assert layout_of(columns) == "steps"
    assert layout_of({"observations": 0, "terminals": 0, "qpos": 0}) == "states"
    assert layout_of({"observations": 0, "terminations": 0}) == "transitions"
