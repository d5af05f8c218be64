"""What a run is a function of, besides the data: the complete, serialisable description."""

from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from tiltflow.agents.registry import ALGORITHMS, PRESETS
from tiltflow.data.columns import ColumnChoice, column_choice
from tiltflow.errors import UserError, nearest
from tiltflow.settings import Bounds, Count, DataPlace, InnerFraction, Parallel, Precision, check, field_types

FORMAT = 1


@dataclass(frozen=True)
class EstimateConfig:
    """How policies are scored without a simulator: on recorded episodes."""

    held_out: InnerFraction = 0.1
    """Share of the episodes that is not trained on (one at least)."""
    discount: InnerFraction = 0.99
    """γ of the value that is estimated, alike for all algorithms."""
    features: Count = 512
    """Random features of fitted Q evaluation."""
    rows: Count = 50_000
    """Transitions that it is computed from at most, of whole episodes."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainConfig:
    """One training. (config, data, seed) determine every bit of the result on the same machine."""

    algorithm: str
    task: str
    """What is learned, as `tiltflow tasks` lists it: SOURCE/NAME, such as pointmaze/medium-v0; file/NAME for
    data of your own, which --data names."""
    agent: Any
    """The settings of the algorithm."""
    data: str | None = None
    """File or folder of the data set; without it the source's own folder is searched."""
    env: str | None = None
    """Gymnasium id of the environment of a `file/…` task; none (for `file/…` the default): policies are not
    played, but scored on recorded episodes."""
    columns: str | None = None
    """Which columns of own data are what, where their names do not tell: ROLE=COLUMN[+COLUMN …], separated by
    commas, as in observations=obs/pos+obs/grip,actions=act_*,rewards=r,terminations=done."""
    reward: str | None = None
    """What stands for the rewards of own data: a column, `success`, or a goal such as "distance<0.05"."""
    action_bounds: str | None = None
    """The lowest and the highest action of own data, each one number or one of every entry: -2 2, or
    -1,-2 1,2. Without it they come from the data."""
    seeds: Count = 1
    """Number of seeds: seed, seed + 1, …"""
    seed: Annotated[int, Bounds(0, 2**32)] = 0
    """First seed."""
    steps: Count = 200_000
    """Gradient steps in all stages together."""
    evaluations: Count = 10
    """Evaluations of the policy in its last stage, equally spaced, at most one a chunk, the last one at its
    end; another one at the end of an earlier stage that changes the policy."""
    episodes: Count = 50
    """Episodes of each evaluation."""
    chunk: Count = 1000
    """Gradient steps of one compiled call; logs, evaluations and checkpoints fall on its edges."""
    checkpoint_every: Count = 10_000
    """Gradient steps between two checkpoints (each stage's end has one too)."""
    keep: Count = 2
    """Checkpoints kept of each seed."""
    normalize_observations: bool = True
    """Shift and scale observations to mean 0 and standard deviation 1 over the data set."""
    reuse: str | None = None
    """Run folder whose finished stages are taken over where training them here would give the same bits."""
    parallel: Parallel = "auto"
    """How seeds share the machine: one process a core, or one vmapped axis (auto: on an accelerator), or that
    axis over all devices (shard), which share the batches where there are fewer seeds."""
    data_on: DataPlace = "auto"
    """Where the data stay: on the device, or on the host, which gathers batches ahead of it, with the same
    result (auto: where they would take more than a quarter of the device's memory)."""
    deterministic: bool = False
    """On a GPU, give the same bits each time (`--deterministic`), by operations that may be slower; a CPU
    does anyway."""
    precision: Precision = "auto"
    """Of the matrix products of gradient steps on a GPU: float32, or factors of 10 (tf32) or 7 (bf16) bits of
    fraction and sums in float32 (auto: JAX's own choice, tf32 on NVIDIA's). A CPU computes in float32."""
    play: bool = True
    """Play the evaluations while training. Otherwise (`--no-play`) no simulator is needed: a checkpoint is
    kept where each evaluation would be, and `tiltflow evaluate RUN` plays them later, on any machine."""
    estimate: EstimateConfig = EstimateConfig()
    """Scoring without a simulator."""
    ends: tuple = ()
    """Gradient steps at which the run ended before it was lengthened, and those to which it now goes."""

    def __post_init__(self) -> None:
        check(self)
        self.column_choice()
        if any(not isinstance(end, int) for end in self.ends) or list(self.ends) != sorted({*self.ends}):
            raise UserError(f"ends = {self.ends}: they must be whole numbers, each above the one before.")
        if self.seed > 2**32 - self.seeds:
            raise UserError(f"seed = {self.seed}: it must be at most 2³² − seeds.")
        kind = _settings_of(self.algorithm)
        if not isinstance(self.agent, kind):
            raise UserError(f"agent = {self.agent!r}: it must be a {kind.__name__}, for {self.algorithm}.")

    def column_choice(self) -> ColumnChoice:
        """What the config says of the columns of own data."""
        return column_choice(self.columns, self.reward, self.action_bounds)

    @property
    def seed_numbers(self) -> list[int]:
        return list(range(self.seed, self.seed + self.seeds))


def default_out(config: TrainConfig, preset: str = PRESETS[0]) -> Path:
    """The folder of a run that names none: runs/ALGORITHM[-PRESET]-TASK-SEEDS."""
    name = config.algorithm if preset == PRESETS[0] else f"{config.algorithm}-{Path(preset).stem}"
    last = config.seed + config.seeds - 1
    seeds = f"seed{config.seed}" if config.seeds == 1 else f"seeds{config.seed}-{last}"
    return Path("runs") / f"{name}-{config.task.replace('/', '-')}-{seeds}"


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The config as JSON-compatible nested dicts, with the format's version and the agent config's type."""
    values = {**asdict(config), "ends": list(config.ends)}
    return {"format": FORMAT, "agent_type": type(config.agent).__name__, **values}


def from_dict(record: dict[str, Any], source: str) -> TrainConfig:
    """The inverse of `to_dict`. Raises UserError naming `source` and the key that does not fit."""
    if not isinstance(record, dict):
        raise UserError(f"{source} is damaged: it holds no JSON object.")
    record = in_new_words(record)
    version = record.pop("format", None)
    if version != FORMAT:
        raise UserError(f"{source} has format {version!r}; this version of tiltflow reads format {FORMAT}.")
    algorithm, named, agent = (record.get(key) for key in ("algorithm", "agent_type", "agent"))
    if not isinstance(algorithm, str) or not isinstance(agent, dict):
        raise UserError(
            f"{source} is damaged: it has no 'algorithm', or no JSON object under the key 'agent'."
        )
    try:
        kind = _settings_of(algorithm)
    except UserError as error:
        raise UserError(f"{source}, key 'algorithm': {error}") from error
    if record.pop("agent_type", None) != kind.__name__:
        raise UserError(f"{source}, key 'agent_type' = {named!r}: {algorithm} has a {kind.__name__}.")
    ends = record.get("ends") or []
    if not isinstance(ends, list):
        raise UserError(f"{source}, key 'ends' = {ends!r}: it must be a list of whole numbers.")
    record["ends"] = tuple(ends)
    return _build(TrainConfig, {**record, "agent": _build(kind, agent, source, "agent")}, source)


def with_defaults(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a config with the settings that came later, at their defaults: what they were before."""
    record = in_new_words(record)
    try:
        kind = _settings_of(record["algorithm"])
        agent = asdict(_build(kind, record["agent"], "the record"))
        return {"estimate": asdict(EstimateConfig()), "precision": "auto", **record, "agent": agent}
    except (UserError, KeyError, AttributeError):
        return record


# What earlier versions called by another name: keys, and (key, choice) pairs.
_OLD_KEYS: dict[str, str] = {"renew_every": "refresh_every"}
_OLD_CHOICES: dict[tuple[str, str], str] = {
    ("layer_norm", "behind"): "after",
    ("weights", "factors"): "loss-weights",
}


def in_new_words(record: Any) -> Any:
    """A config as read from a file, its keys and choices of earlier versions by their names of today."""
    if not isinstance(record, dict):
        return record
    renamed = {_OLD_KEYS.get(str(key), str(key)): in_new_words(value) for key, value in record.items()}
    return {
        key: _OLD_CHOICES.get((key, value), value) if isinstance(value, str) else value
        for key, value in renamed.items()
    }


def _settings_of(algorithm: str) -> type:
    return type(ALGORITHMS.find(algorithm).config)


def _build(kind: type, record: dict[str, Any], source: str, at: str = "") -> Any:
    """A `kind` of the record that stands under the dotted key `at`, empty for the whole file."""
    hints = field_types(kind)
    known = {field.name for field in fields(kind)}
    for key in record:
        if key not in known:
            raise UserError(f"{source} has the key {key!r}, unknown to {kind.__name__}.{nearest(key, known)}")
    nested = {key for key, value in record.items() if is_dataclass(hints[key]) and isinstance(value, dict)}
    values = {
        key: _build(hints[key], value, source, f"{at}.{key}") if key in nested else value
        for key, value in record.items()
    }
    try:
        return kind(**values)
    except (TypeError, UserError) as error:
        where = f"{source}, key {at!r}," if at else source
        raise UserError(f"{where} does not describe a {kind.__name__}: {error}") from error
