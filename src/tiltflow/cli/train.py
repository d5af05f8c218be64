"""`tiltflow train`: the fields of TrainConfig, and with --set.KEY those of the algorithm's config."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import tyro

from tiltflow.agents.presets import Preset
from tiltflow.agents.registry import ALGORITHMS, PRESET_WORDS, PRESETS, named_preset
from tiltflow.cli.column_options import join_action_bounds
from tiltflow.cli.results import describe_run
from tiltflow.cli.unread import refuse_unread
from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.settings import Count, LoggerName, RefusedSetting
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig, default_out

_PROGRAM = "tiltflow train"
_OUT_HELP = "Run folder, new or empty; without it runs/ALGORITHM[-PRESET]-TASK-SEEDS."
_PRESET_HELP = (
    "Where the defaults come from: ours; published, the settings that a source gives (qipo-ot, qipo-diff, "
    "diffusion-ql); or the file that `tiltflow tune` has written."
)
_STEPS_HELP = "Gradient steps in all stages together."
_EVALUATIONS_HELP = (
    "Evaluations of the policy in its last stage, equally spaced, at most one a chunk, the last one at its "
    "end; another one at the end of an earlier stage that changes the policy."
)
_RESUME_HELP = (
    "Continue this run from its last checkpoint; takes no other option but --data, --log and --steps."
)
_PROFILE_HELP = (
    "Write a trace of one chunk of each stage of the first seed to RUN/seeds/SEED/trace, for Perfetto or "
    "TensorBoard."
)
_LOG_HELP = "Write the numbers of the training for TensorBoard too (RUN/tensorboard), or to Weights & Biases."


@dataclass(frozen=True)
class Train:
    """Train an algorithm on a task; `out` is the run folder, by default runs/ALGORITHM-TASK-SEEDS.

    The preset, where it is not ours, is a part of that name: the config has its values.
    """

    config: TrainConfig
    out: Path | None
    preset: str = PRESETS[0]
    log: LoggerName | None = None
    profile: bool = False

    def run(self) -> None:
        """Train, show the progress, print the score. Raises UserError before any work where it can."""
        find_task(self.config.task, self.config.env)
        out = self.out or default_out(self.config, self.preset)
        _check_out(out)
        from tiltflow.training.display import show_progress
        from tiltflow.training.loggers import logging_to
        from tiltflow.training.run import train

        with show_progress() as display, logging_to(self.log, out, display) as observe:
            run = train(self.config, out, observe, profile=self.profile)
        print(describe_run(run))


@dataclass(frozen=True)
class Resume:
    """Continue a run from its last checkpoint; it ends with the same bits as if it had not stopped.

    Where the folder names code to be run, an environment of one's own, that needs --trust.
    """

    resume: Annotated[Path, tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Where the data lie by now, if not where the run found them; they must be the same."""
    steps: Count | None = None
    """Make a run that is trained longer: gradient steps of all stages together, of which the last one gets
    what is more. Nothing before its end changes; step sizes that decay rise again, as is then said."""
    log: LoggerName | None = None
    """As in a new training."""

    def run(self) -> None:
        """Train on, show the progress, print the score."""
        from tiltflow.training.display import show_progress
        from tiltflow.training.loggers import logging_to
        from tiltflow.training.run import resume

        with show_progress() as display, logging_to(self.log, self.resume, display) as observe:
            run = resume(self.resume, observe, data=self.data, steps=self.steps)
        print(describe_run(run))


def parse(arguments: Sequence[str]) -> Train | Resume:
    """Read the arguments behind `tiltflow train`.

    The algorithm, the task and the preset are found first: they decide which hyper-parameters there are, and
    their defaults. Raises UserError for an unknown algorithm or preset, SystemExit for bad usage.
    """
    arguments = [_SWITCHES.get(argument, argument) for argument in arguments]
    arguments = join_action_bounds(arguments)
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        return tyro.cli(Resume, prog=_PROGRAM, args=arguments)
    place, given = _peek(arguments)
    if place is None:
        return _parse(_overview_form(), _PROGRAM, _overview(), arguments)
    algorithm = ALGORITHMS.find(arguments[place])
    task, name = given.get("--task"), given.get("--preset", PRESETS[0])
    preset = named_preset(algorithm.name, task or "", name)
    defaults = f"for {task}" if task else "for any task; with --task, those for that one"
    whose = "" if name == PRESETS[0] else f", of the preset {name}: {preset.source}"
    return _parse(
        _form(algorithm.name, preset, name),
        f"{_PROGRAM} {algorithm.name}",
        f"{algorithm.description}. Defaults are {defaults}{whose}.",
        [*arguments[:place], *arguments[place + 1 :]],
    )


def _parse(form: Any, program: str, description: str, arguments: Sequence[str]) -> Train:
    try:
        parsed = tyro.cli(
            form,
            prog=program,
            description=description,
            args=arguments,
            config=(tyro.conf.FlagConversionOff,),
        )
    except RefusedSetting as error:
        raise UserError(f"{_given_for(error.field, arguments)}: {error}") from error
    fields = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(TrainConfig)}
    refuse_unread(parsed.agent, {name.replace("_", "-") for name in _peek(arguments)[1]})
    return Train(TrainConfig(**fields), parsed.out, parsed.preset, parsed.log, parsed.profile)


def _given_for(field: str, arguments: Sequence[str]) -> str:
    """The options that set a field of that name: several parts of an algorithm may have one."""
    _, given = _peek(arguments)
    return " or ".join(name for name in given if name.lstrip("-").split(".")[-1].replace("-", "_") == field)


def _peek(arguments: Sequence[str]) -> tuple[int | None, dict[str, str]]:
    """The place of the algorithm, and the options, on a command line whose every option takes one value."""
    place, option = None, None
    given: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        if option is not None:
            given[option] = argument
            option = None
        elif argument.startswith("-") and "=" in argument:
            name, _, given[name] = argument.partition("=")
        elif argument.startswith("-"):
            option = argument if argument not in ("-h", "--help") else None
        elif place is None:
            place = index
    return place, given


def _form(algorithm: str, preset: Preset, name: str) -> Any:
    """What the parser reads: TrainConfig with this algorithm's own config under --set, --preset and --out."""
    agent, steps = preset.config, preset.steps or TrainConfig.steps
    evaluations = preset.evaluations or TrainConfig.evaluations
    return _extended(
        ("algorithm", _hidden(str), algorithm),
        ("agent", _argument(type(agent), name="set"), agent),
        ("steps", _argument(Count, help=_STEPS_HELP), steps),
        ("evaluations", _argument(Count, help=_EVALUATIONS_HELP), evaluations),
        ("preset", _argument(str, metavar=PRESET_WORDS, help=_PRESET_HELP), name),
        *_FOR_ALL,
    )


def _overview_form() -> Any:
    """The same where no algorithm is named: enough to show the help, or to say that one is missing."""
    return _extended(
        (
            "algorithm",
            _argument(tyro.conf.Positional[str], metavar="ALGORITHM", help=", ".join(ALGORITHMS.known())),
        ),
        ("agent", _hidden(object), None),
        ("preset", _argument(str, metavar=PRESET_WORDS, help=_PRESET_HELP), PRESETS[0]),
        *_FOR_ALL,
        ("resume", _argument(Path | None, metavar="RUN", help=_RESUME_HELP), None),
    )


def _argument(kind: Any, **options: Any) -> Any:
    return Annotated[kind, tyro.conf.arg(**options)]


def _hidden(kind: Any) -> Any:
    suppress: Any = tyro.conf.Suppress
    return suppress[kind]


_SWITCHES = {"--no-play": "--play=False"} | {
    f"--{name}": f"--{name}=True" for name in ("profile", "deterministic")
}
"""Options without a value, and what they stand for."""
_FOR_ALL = (
    ("ends", _hidden(tuple), ()),
    ("profile", _argument(bool, help=_PROFILE_HELP), False),
    ("log", _argument(LoggerName | None, help=_LOG_HELP), None),
    ("out", _argument(Path | None, metavar="RUN", help=_OUT_HELP), None),
)


def _extended(*fields: Any) -> Any:
    return dataclasses.make_dataclass("Train", fields, bases=(TrainConfig,), frozen=True, kw_only=True)


def _overview() -> str:
    known = ALGORITHMS.known()
    width = max(map(len, known))
    lines = [f"  {name:<{width}}  {algorithm.description}" for name, algorithm in known.items()]
    return "\n".join(
        [
            "Train an algorithm on a task, or resume a run.",
            "",
            *lines,
            "",
            f"Hyper-parameters and their defaults: {_PROGRAM} ALGORITHM [--task TASK] --help",
        ]
    )


def _check_out(out: Path) -> None:
    """Raise UserError where `out` holds something already, or cannot be written."""
    if RunFolder(out).holds_run:
        raise UserError(
            f"{out} holds a run already. Continue it with: {_PROGRAM} --resume {out}; "
            "or choose another folder with --out."
        )
    if not RunFolder(out).is_empty:
        raise UserError(f"{out} exists and is not an empty folder. Choose another one with --out.")
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(
            f"The run folder {out} cannot be made, for {there} cannot be written to "
            f"({error.strerror or error}). Choose another one with --out."
        ) from error
