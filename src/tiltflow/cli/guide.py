"""`tiltflow guide`: new samples of the user's own data, tilted towards low energy or high score."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tiltflow.cli.bars import progress_bar
from tiltflow.cli.guide_more import More, check_out, check_samples, print_results
from tiltflow.errors import UserError
from tiltflow.guidance.contract import FitConfig, FlowFitConfig
from tiltflow.guidance.methods import METHODS, Method
from tiltflow.settings import TransformName

_PROGRAM = "tiltflow guide"
_DEFAULT = "efm"
_MORE = f"More samples of a fitted model: {_PROGRAM} --more DIR --samples N ({_PROGRAM} --more --help)."


@dataclass(frozen=True)
class Guide:
    """Learn q(x) ∝ p(x)·exp(−β·E(x)) from samples of p with an energy (or a score) each, and sample it."""

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
    """Points [rows, dimensions]: .npy, .npz, .csv or .tsv."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for samples.npy (and samples.csv for a CSV), model.npz, metrics.json and samples.png."""
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """Columns of DATA that are the points; without it all that no other option reads."""
    energy: Annotated[str | None, tyro.conf.arg(metavar="FILE|COLUMN")] = None
    """Energy of each row, low is good: a file of one column, or a column (npz: an array) of DATA."""
    score: Annotated[str | None, tyro.conf.arg(metavar="FILE|COLUMN")] = None
    """Score of each row in the place of --energy, high is good: E = −score."""
    method: str = _DEFAULT
    """Method; docs/guide.md says how to choose."""
    beta: float | None = None
    """Inverse temperature β ≥ 0, in 1/unit of the energy. Without it --target-ess chooses."""
    target_ess: float | None = None
    """Share of the rows that are to remain effective, in (0, 1]; chooses β (0.1 if β is not given either)."""
    samples: int = 10_000
    """Points to draw."""
    seed: int = 0
    """Seed of training and sampling; equal seeds give equal files."""
    labels: Annotated[str | None, tyro.conf.arg(metavar="FILE|COLUMN")] = None
    """Class of each row, 0 or 1 or its probability, for cg and cfg in the place of exp(−E/τ)."""
    condition: Annotated[str | None, tyro.conf.arg(metavar="FILE|COLUMN")] = None
    """Condition c of each row, for q(x | c)."""
    at: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --condition: the conditions to sample at, one row for all samples or a row for each."""
    transform: TransformName = "none"
    """Coordinates in which the networks work: the data's, uncorrelated ones, normal scores (for clusters far
    apart and heavy tails), or normal scores of values that repeat, such as integers."""
    held_out: float = 0.05
    """Share of the rows, drawn by the seed and at most 2,000, that is kept from training to judge the samples
    by; 0: none, and no verdict. Nothing is held out for resample or with --condition."""
    config: tyro.conf.Suppress[FitConfig | None] = None
    """Those of the method, of its own class: `parse` puts it here."""

    def run(self) -> None:
        """Read, train with a progress bar, sample, write the files, print what came out."""
        _check_usage(self)
        check_out(self.out)
        check_samples(self.samples)
        from tiltflow.cli.guide_input import read_problem
        from tiltflow.guidance.fitting import fit_problem
        from tiltflow.report.guided import write_results

        problem, at, origin = read_problem(self)
        with progress_bar("steps") as advance:

            def progress(what: str, done: int, total: int, loss: float) -> None:
                advance(f"training the {what}", done, total, f"loss {loss:.4g}")

            fitted = fit_problem(self.method, problem, self.config, self.seed, progress)
        metrics = write_results(fitted, self.samples, self.seed, at, self.out, origin)
        print_results(fitted, metrics, self.out)


def parse(arguments: Sequence[str]) -> Guide | More:
    """Read the arguments behind `tiltflow guide`; the method decides which settings there are.

    Without --method the help shows the settings that most methods have. Raises UserError for an unknown
    method or a setting of another one, SystemExit for bad usage.
    """
    if any(argument.partition("=")[0] == "--more" for argument in arguments):
        return tyro.cli(More, prog=_PROGRAM, args=arguments)
    known, name = METHODS.known(), _peek(arguments)
    method = METHODS.find(name or _DEFAULT)
    text = f"The settings of a method: {_PROGRAM} --method METHOD --help"
    config: FitConfig = FlowFitConfig()
    if name is not None or not {"-h", "--help"} & {*arguments}:
        config, text = method.config, f"Defaults are those of {method.name}."
        _check_settings(method, arguments)
    form = make_dataclass(
        "Guide",
        [
            ("method", Annotated[str, tyro.conf.arg(metavar="{" + ",".join(known) + "}")], method.name),
            ("config", Annotated[type(config), tyro.conf.arg(help="Settings of the method.")], config),
        ],
        bases=(Guide,),
        frozen=True,
        kw_only=True,
    )
    width = max(map(len, known))
    methods = "\n".join(f"  {m.name:<{width}}  {m.description}" for m in known.values())
    return tyro.cli(
        form,
        prog=_PROGRAM,
        description=f"{Guide.__doc__}\n\n{methods}\n\n{text}\n{_MORE}",
        args=arguments,
        config=(tyro.conf.FlagConversionOff, tyro.conf.OmitArgPrefixes),
    )


def _peek(arguments: Sequence[str]) -> str | None:
    for first, second in zip(arguments, [*arguments[1:], ""], strict=True):
        if first == "--method" and second and not second.startswith("-"):
            return second
        if first.startswith("--method="):
            return first.partition("=")[2]
    return None


def _check_settings(method: Method, arguments: Sequence[str]) -> None:
    """Raise UserError for a setting that another method has and this one has not."""
    own = _options(method.config)
    every = [option for other in METHODS.values() for option in _options(other.config)]
    given = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    unread = [option for option in given if option in every and option not in own]
    if not method.declared.uses_labels and "--labels" in given:
        unread.append("--labels")
    if unread:
        raise UserError(
            f"{', '.join(unread)}: --method {method.name} does not read that. Leave it out. The settings of "
            f"{method.name} are {', '.join(own)}."
        )


def _options(config: Any) -> list[str]:
    """The options of a config's fields and of its parts' fields."""
    found: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        found += _options(value) if is_dataclass(value) else ["--" + field.name.replace("_", "-")]
    return found


def _check_usage(guide: Guide) -> None:
    if guide.energy is not None and guide.score is not None:
        raise UserError("Give --energy (low is good) or --score (high is good), not both.")
    if guide.energy is None and guide.score is None and METHODS.find(guide.method).declared.tilts:
        raise UserError("Give --energy FILE|COLUMN (low is good) or --score FILE|COLUMN (high is good).")
    if guide.beta is not None and guide.target_ess is not None:
        raise UserError("Give --beta or --target-ess, not both: each determines the other.")
    if (guide.condition is None) != (guide.at is None):
        raise UserError("--condition, each row's condition, and --at, those to sample at, go together.")
    if not 0 <= guide.held_out <= 0.5:
        raise UserError(f"--held-out is {guide.held_out}: it must be a share of the rows, in [0, 0.5].")
