"""Numbers that no training can use are refused by the name of their field, wherever they come from."""

import pytest

from tiltflow.agents.baseline_configs import ActorConfig, BestOfNConfig, QGPOConfig, TD3BCConfig
from tiltflow.agents.configs import BCConfig, CriticConfig, FlowConfig, FlowQConfig, NetworkConfig, QIPOConfig
from tiltflow.errors import UserError
from tiltflow.training.config import TrainConfig, from_dict, to_dict
from tiltflow.training.guided import best_setting


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (NetworkConfig, "width", 0),
        (FlowConfig, "num_steps", 0),
        (FlowConfig, "ema", 1.0),
        (FlowConfig, "learning_rate", float("nan")),
        (CriticConfig, "ensemble", 0),
        (CriticConfig, "expectile", 1.0),
        (CriticConfig, "discount", 1.01),
        (CriticConfig, "tau", 0.0),
        (BCConfig, "behaviour_steps", -5),
        (QIPOConfig, "renew_every", 0),
        (QIPOConfig, "critic_steps", 0),
        (QGPOConfig, "energy_batch_size", 0),
        (FlowQConfig, "next_action_steps", 0),
        (BestOfNConfig, "num_candidates", 0),
        (TD3BCConfig, "actor_every", 0),
        (ActorConfig, "batch_size", 0),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(kind, name, value):
    with pytest.raises(UserError, match=rf"^{name} = {value}: it must "):
        kind(**{name: value})


def test_a_config_file_is_named_with_the_number_in_it():
    record = to_dict(TrainConfig("bc-flow", "pointmaze/umaze-v0", BCConfig()))
    record["agent"]["flow"]["num_steps"] = 0
    with pytest.raises(UserError, match=r"run/config\.json does not describe a FlowConfig: num_steps = 0"):
        from_dict(record, "run/config.json")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_are_the_same_to_the_generators_are_refused(seed):
    with pytest.raises(UserError, match=rf"seed = {seed}"):
        TrainConfig("bc-flow", "pointmaze/umaze-v0", BCConfig(), seed=seed)


def test_a_setting_whose_actions_are_not_finite_is_never_chosen():
    assert best_setting((1.0, 2.0, 4.0), [0.3, 0.7, float("nan")]) == 2.0
    with pytest.raises(UserError, match="every setting"):
        best_setting((1.0, 2.0), [float("nan"), float("inf")])
