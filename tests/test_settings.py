"""Choices are defined once; a value that its field does not allow is refused, wherever it comes from."""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest

from tiltflow import datasets2d, networks, paths, solvers
from tiltflow.agents.bc import BCConfig
from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.ifql import BestOfNConfig
from tiltflow.agents.qgpo import QGPOConfig
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.agents.td3_bc import TD3BCConfig
from tiltflow.cli import guide, train
from tiltflow.errors import UserError
from tiltflow.guidance.guided_paths import FIXED_SCHEDULES
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.class_dropout import CFGConfig
from tiltflow.guidance.methods.guided_matching import FlowQFitConfig
from tiltflow.model_settings import ActorConfig, CriticConfig, FlowConfig, NetworkConfig
from tiltflow.settings import (
    Activation,
    Bounds,
    Count,
    FixedScheduleName,
    FixedStep,
    PathName,
    Positive,
    SetName,
    SolverName,
    alternatives,
    bounds_of,
    check,
    diff,
    field_types,
    flat,
    override,
)
from tiltflow.train_config import TrainConfig, from_dict, to_dict

SOURCE = Path(networks.__file__).parent
TASK = "pointmaze/umaze-v0"
NUMBERS = [-1, float("nan"), float("inf"), "1", True, [1]]


class Setting(NamedTuple):
    """A field of a config, with one of the places where it is found."""

    owner: type
    name: str
    algorithm: str | None
    """None: of a method of `guide`."""
    path: tuple[str, ...]
    method: str = ""

    @property
    def kinds(self) -> list[Any]:
        """The field's types without their bounds."""
        return [getattr(kind, "__origin__", kind) for kind in alternatives(self.hint)]

    @property
    def hint(self) -> Any:
        return field_types(self.owner)[self.name]

    @property
    def words(self) -> tuple[str, ...]:
        """The choices of the field; none where it is no choice."""
        choices = [kind for kind in alternatives(self.hint) if get_origin(kind) is Literal]
        return tuple(word for choice in choices for word in get_args(choice))

    @property
    def numeric(self) -> bool:
        return int in self.kinds or float in self.kinds


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[type, tuple[str, ...]]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, (*path, field.name))
        else:
            yield type(config), (*path, field.name)


def training(algorithm: str) -> TrainConfig:
    return TrainConfig(algorithm, TASK, ALGORITHMS[algorithm].config)


def every_setting() -> list[Setting]:
    """Each field of each config once, where it stands among the fewest others."""
    found: dict[tuple[type, str], Setting] = {}
    for name in sorted(ALGORITHMS, key=lambda name: len(list(leaves(ALGORITHMS[name].config)))):
        for owner, path in leaves(training(name)):
            found.setdefault((owner, path[-1]), Setting(owner, path[-1], name, path))
    for name, method in METHODS.items():
        for owner, path in leaves(method.config):
            found.setdefault((owner, path[-1]), Setting(owner, path[-1], None, path, name))
    return list(found.values())


SETTINGS = every_setting()
NUMERIC = [setting for setting in SETTINGS if setting.numeric]
CHOICES = [setting for setting in SETTINGS if setting.words]


def named(setting: Setting) -> str:
    return f"{setting.owner.__name__}.{setting.name}"


def from_python(setting: Setting, value: Any) -> Any:
    whole = METHODS[setting.method].config if setting.method else training(setting.algorithm)
    return dataclasses.replace(reduce(getattr, setting.path[:-1], whole), **{setting.name: value})


def from_json(setting: Setting, value: Any) -> TrainConfig:
    assert setting.algorithm is not None
    record = to_dict(training(setting.algorithm))
    reduce(dict.__getitem__, setting.path[:-1], record)[setting.name] = value
    return from_dict(json.loads(json.dumps(record)), "run/config.json")


def option_of(setting: Setting) -> str:
    path = ".".join(setting.path).replace("_", "-")
    return "--" + path.replace("agent.", "set.", 1)


def from_command_line(setting: Setting, value: str) -> Any:
    if setting.algorithm is None:
        words = ["points.npy", "--out", "out", "--method", setting.method]
        return guide.parse([*words, option_of(setting), value])
    return train.parse([setting.algorithm, "--task", TASK, option_of(setting), value])


def test_every_config_is_here():
    """What follows runs over all settings of agents and their parts."""
    trees = [
        ast.parse(file.read_text()) for file in (*SOURCE.glob("agents/*.py"), SOURCE / "model_settings.py")
    ]
    classes = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    classes = {name for name in classes if name.endswith("Config")}
    classes |= {type(method.config).__name__ for method in METHODS.values()}
    assert {setting.owner.__name__ for setting in SETTINGS} == classes | {"TrainConfig", "EstimateConfig"}


@pytest.mark.parametrize("setting", NUMERIC, ids=named)
def test_every_number_has_bounds_and_is_refused_outside_of_them(setting):
    bounds = [bounds_of(kind) for kind in alternatives(setting.hint)]
    assert sum(map(bool, bounds)) == sum(kind in (int, float) for kind in setting.kinds), "no bounds"
    wrong = [*NUMBERS, *([1.5] if float not in setting.kinds else [])]
    for value in wrong:
        text = rf"{setting.name} = {re.escape(repr(value))}: it must be "
        with pytest.raises(UserError, match=rf"^{text}"):
            from_python(setting, value)
        if setting.algorithm is not None:
            key = re.escape(".".join(setting.path[:-1]))
            with pytest.raises(UserError, match=rf"^run/config\.json.*{key}.*{text}"):
                from_json(setting, value)
    option = option_of(setting) + ": " if setting.algorithm else ""
    with pytest.raises(UserError, match=rf"^{option}{setting.name} = -1(\.0)?: it must be "):
        from_command_line(setting, "-1")


@pytest.mark.parametrize("setting", CHOICES, ids=named)
def test_every_choice_refuses_another_word_and_says_the_nearest(setting):
    for word in setting.words:
        wrong = f"{word}x"
        text = rf"{setting.name} = '{re.escape(wrong)}': it must be .*Did you mean '{re.escape(word)}'\?"
        with pytest.raises(UserError, match=rf"^{text}"):
            from_python(setting, wrong)
    if setting.algorithm is not None:
        with pytest.raises(UserError, match=rf"^run/config\.json.*{text}"):
            from_json(setting, wrong)
    with pytest.raises(UserError, match=rf"^{setting.name} = "):
        from_python(setting, 0.5 if not setting.numeric else ["auto"])


@pytest.mark.parametrize("setting", [CHOICES[0], CHOICES[-1]], ids=named)
def test_the_parser_of_the_command_line_sees_the_choices(setting, capsys):
    with pytest.raises(SystemExit) as stop:
        from_command_line(setting, "sotfmax")
    assert stop.value.code == 2
    assert repr(setting.words[0]) in capsys.readouterr().err


@pytest.mark.parametrize("setting", [s for s in SETTINGS if bool in s.kinds or str in s.kinds], ids=named)
@pytest.mark.parametrize("value", [1, 0.0, ["a"]])
def test_neither_a_flag_nor_a_text_is_a_number(setting, value):
    with pytest.raises(UserError, match=rf"^{setting.name} = "):
        from_python(setting, value)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (NetworkConfig, "width", 0),
        (FlowConfig, "num_steps", 0),
        (FlowConfig, "ema", 1.0),
        (FlowConfig, "play_bandwidth", 0.0),
        (CriticConfig, "ensemble", 0),
        (CriticConfig, "expectile", 1.0),
        (CriticConfig, "discount", 1.01),
        (CriticConfig, "tau", 0.0),
        (BCConfig, "behaviour_steps", -5),
        (QIPOConfig, "beta", -0.1),
        (QIPOConfig, "data_share", 1.0),
        (QIPOConfig, "refresh_every", 0),
        (QGPOConfig, "num_support_actions", 1),
        (FlowQConfig, "num_support_actions", 2),
        (FlowQConfig, "sigma", 1.0),
        (BestOfNConfig, "num_candidates", 0),
        (TD3BCConfig, "actor_every", 0),
        (ActorConfig, "batch_size", 0),
        (FlowQFitConfig, "learning_rate", 0.0),
        (FlowQFitConfig, "sigma", 1.1),
        (CFGConfig, "unconditional_share", 0.0),
    ],
)
def test_a_number_at_the_wrong_side_of_its_end_is_refused(kind, name, value):
    with pytest.raises(UserError, match=rf"^{name} = {value}: it must be "):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (FlowConfig, {"ema": 0, "play_noise": 0.0, "learning_rate": 0.0}),
        (CriticConfig, {"discount": 1, "tau": 1.0, "beta": 0.0, "expectile": 0.5}),
        (QIPOConfig, {"beta": 0.0, "tilted_sigma": 0.0, "distill_alpha": 0.0}),
        (QIPOConfig, {"beta": "auto"}),
        (FlowQConfig, {"num_support_actions": 3, "sigma": 0.0, "strength": 0}),
        (FlowQFitConfig, {"sigma": 1, "displacement": 0.0}),
    ],
)
def test_the_ends_that_belong_to_a_range_are_allowed_and_whole_numbers_are_numbers(kind, values):
    config = kind(**values)
    assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_are_the_same_to_the_generators_are_refused(seed):
    with pytest.raises(UserError, match=rf"seed = {seed}"):
        TrainConfig("bc-flow", TASK, BCConfig(), seed=seed)


def test_the_message_names_the_place_in_the_file_the_value_and_the_range():
    record = to_dict(TrainConfig("bc-flow", TASK, BCConfig()))
    record["agent"]["flow"]["num_steps"] = 0
    with pytest.raises(UserError) as error:
        from_dict(record, "run/config.json")
    assert str(error.value) == (
        "run/config.json, key 'agent.flow', does not describe a FlowConfig: num_steps = 0: it must be a "
        "whole number in [1, 10000]."
    )


def test_a_part_of_a_config_is_a_config():
    with pytest.raises(UserError, match=r"^critic = \{.*\}: it must be a CriticConfig\."):
        QIPOConfig(critic={"kind": "expectile"})


@pytest.mark.parametrize(
    ("ends", "inside", "text"),
    [
        ("[]", (0, 0.5, 1), "in [0, 1]"),
        ("(]", (0.5, 1), "in (0, 1]"),
        ("[)", (0, 0.5), "in [0, 1)"),
        ("()", (0.5,), "in (0, 1)"),
    ],
)
def test_bounds(ends, inside, text):
    bounds = Bounds(0, 1, ends)
    values = (-0.1, 0, 0.5, 1, 1.1, float("nan"), float("inf"), -float("inf"))
    assert tuple(value for value in values if value in bounds) == inside
    assert str(bounds) == text


def test_a_union_is_checked_member_by_member():
    @dataclass(frozen=True)
    class Own:
        steps: Count | None = None
        norm: Positive | None = None

    check(Own())
    check(Own(3, 2))
    with pytest.raises(UserError) as error:
        check(Own(0))
    assert str(error.value) == "steps = 0: it must be a whole number of at least 1, or None."


# Not settings: the state of a benchmark's run, the weight of a finding, the layout of a file, a verdict.
NO_SETTINGS = {"benchmark/records.py", "data/audit.py", "data/formats.py", "guidance/verdict.py"}


def test_each_choice_is_defined_once():
    literals: list[frozenset[str]] = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
                place = str(file.relative_to(SOURCE))
                assert place in {"settings.py"} | NO_SETTINGS, (place, ast.unparse(node))
                literals.append(
                    frozenset(leaf.value for leaf in ast.walk(node.slice) if isinstance(leaf, ast.Constant))
                )
    twice = [words for words in literals if len(words) > 1 and sum(words <= other for other in literals) > 1]
    assert twice == []


@pytest.mark.parametrize(
    ("choice", "table"),
    [
        (Activation, networks.ACTIVATIONS),
        (PathName, paths.PATHS),
        (SolverName, solvers.EVALUATIONS),
        (FixedStep, solvers._STEPS),
        (FixedScheduleName, FIXED_SCHEDULES),
        (SetName, datasets2d.DATASETS_2D),
    ],
)
def test_the_mathematics_has_what_the_choices_promise(choice, table):
    assert list(get_args(choice)) == list(table)


def test_a_config_and_its_record_have_the_same_dotted_leaves():
    config = TD3BCConfig()
    leaves = flat(config)
    assert leaves == flat(dataclasses.asdict(config)) == flat(leaves)
    assert leaves["critic.aggregate"] == config.critic.aggregate


def test_a_diff_names_what_differs_and_nothing_else():
    config = TD3BCConfig()
    changed = dataclasses.replace(config, critic=dataclasses.replace(config.critic, tau=0.5))
    assert diff(config, changed) == {"critic.tau": (config.critic.tau, 0.5)}
    assert diff(dataclasses.asdict(config), config) == {}
    assert diff({"a": 1, "b": {"c": 2}}, {"b": {"c": 2, "d": 3}}) == {"a": (1, None), "b.d": (None, 3)}


def test_rows_override_a_config_all_at_once():
    rows = {"alpha": 300.0, "critic.aggregate": "mean", "flow.network.layer-norm": "after"}
    config = override(ALGORITHMS["fql"].config, rows)
    changes = diff(ALGORITHMS["fql"].config, config)
    assert {key: after for key, (_, after) in changes.items()} == {
        "alpha": 300.0, "flow.network.layer_norm": "after",  # the mean is fql's own
    }  # fmt: skip
    apart = {"path": "ot", "prediction": "noise", "solver": "dpm-solver++"}
    with pytest.raises(UserError, match="undetermined"):
        override(FlowConfig(path="vp"), apart)
    assert override(FlowConfig(), {"prediction": "noise", "path": "vp"}).path == "vp"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"critic.agregate": "mean"}, r"CriticConfig has no setting 'agregate'\. Did you mean 'aggregate'\?"),
        ({"betta": 1.0}, r"QIPOConfig has no setting 'betta'\. Did you mean 'beta'\?"),
        ({"beta.kind": 1.0}, r"QIPOConfig has no setting 'beta\.kind'\."),
        ({"critic.aggregate": "median"}, r"aggregate = 'median': it must be one of min, mean"),
        ({"critic": {"kind": "expectile"}}, r"critic = .*: it must be a CriticConfig"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, why):
    with pytest.raises(UserError, match=why):
        override(QIPOConfig(), rows)


def test_settings_of_another_algorithm_are_refused():
    with pytest.raises(UserError, match=r"^agent = .*: it must be a BCConfig, for bc-flow\.$"):
        TrainConfig("bc-flow", TASK, QIPOConfig())
    record = to_dict(TrainConfig("bc-flow", TASK, BCConfig()))
    for key, value, why in (
        ("agent_type", "QIPOConfig", r"key 'agent_type' = 'QIPOConfig': bc-flow has a BCConfig"),
        (
            "algorithm",
            "bc-flwo",
            r"key 'algorithm': There is no algorithm 'bc-flwo'\. Did you mean 'bc-flow'",
        ),
        ("algorithm", None, r"is damaged"),
    ):
        with pytest.raises(UserError, match=rf"^run/config\.json.*{why}"):
            from_dict(record | {key: value}, "run/config.json")
