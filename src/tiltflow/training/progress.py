"""What a run looks like while it goes: events in, a view out, and the words that describe it.

`advance` folds the events of `tiltflow.training.run` into a `View`; `tiltflow.training.display` shows it.
Seeds may arrive together (one vmapped axis) or interleaved (one process each): a view holds each apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tiltflow.processes.executor import Event

Observe = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Observe nothing."""


@dataclass(frozen=True)
class SeedView:
    """Where one seed is. `pace` is seconds of wall time per step of each stage, evaluations included."""

    step: int = 0
    stage: str = ""
    stage_step: int = 0
    stage_steps: int = 0
    steps_per_second: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    activity: str = ""
    activity_fraction: float | None = None
    pace: Mapping[str, float] = field(default_factory=dict)
    settled: bool = False
    """Whether some stage has had a second chunk: the first one compiles, and tells no pace."""
    reported_at: float | None = None


@dataclass(frozen=True)
class View:
    """A whole run: what it is, its stages as (name, steps), and every seed.

    Work outside a run, such as collecting data, has no stages; where no seed does it, it is `activity`.
    """

    algorithm: str = ""
    task: str = ""
    metric: str = ""
    unit: str = ""
    out: str = ""
    stages: tuple[tuple[str, int], ...] = ()
    steps: int = 0
    seeds: Mapping[int, SeedView] = field(default_factory=dict)
    activity: str = ""
    activity_fraction: float | None = None

    @property
    def fraction(self) -> float:
        """Share of all steps of all seeds that are done, in 0..1."""
        return sum(seed.step for seed in self.seeds.values()) / max(1, self.steps * len(self.seeds))

    def stage_fraction(self, name: str) -> float:
        """Share of one stage's steps that are done, over all seeds, in 0..1."""
        start = 0
        for stage, steps in self.stages:
            if stage == name:
                done = sum(min(max(seed.step - start, 0), steps) for seed in self.seeds.values())
                return done / max(1, steps * len(self.seeds))
            start += steps
        raise KeyError(name)


def advance(view: View, event: Event, now: float) -> View:
    """Fold one event, seen at `now` seconds of any monotonic clock, into the view."""
    kind = event["event"]
    if kind == "started":
        return View(
            algorithm=event["algorithm"],
            task=event["task"],
            metric=event["metric"],
            unit=event["unit"],
            out=event["out"],
            stages=tuple((stage["name"], stage["steps"]) for stage in event["stages"]),
            steps=event["steps"],
            seeds={seed: SeedView() for seed in event["seeds"]},
        )
    if kind == "activity" and not event["seeds"]:
        return replace(view, activity=event["text"], activity_fraction=event.get("fraction"))
    seeds = dict(view.seeds)
    for place, seed in enumerate(event.get("seeds", ())):
        seeds[seed] = _advance_seed(seeds.get(seed, SeedView()), event, place, now)
    return replace(view, seeds=seeds)


def _advance_seed(seed: SeedView, event: Event, place: int, now: float) -> SeedView:
    """Fold an event into the seed that is in this place of its list of seeds."""
    match event["event"]:
        case "chunk":
            return replace(
                seed,
                step=event["step"],
                stage=event["stage"],
                stage_step=event["stage_step"],
                stage_steps=event["stage_steps"],
                steps_per_second=event["steps_per_second"],
                metrics={name: values[place] for name, values in event["metrics"].items()},
                activity="",
                activity_fraction=None,
                pace=_paced(seed, event, now),
                settled=seed.settled or event["stage"] in seed.pace,
                reported_at=now,
            )
        case "evaluation":
            return replace(seed, score=event["score"][place], activity="", activity_fraction=None)
        case "activity":
            return replace(seed, activity=event["text"], activity_fraction=event.get("fraction"))
    return seed


def _paced(seed: SeedView, event: Event, now: float) -> Mapping[str, float]:
    """Seconds per step, smoothed; until a stage has a second chunk, at most the pace of the slowest before.

    Its first chunk compiles, and would make the rest seem many times as long.
    """
    stage, steps = event["stage"], event["step"] - seed.step
    if stage not in seed.pace or seed.reported_at is None or steps <= 0:
        first = 1.0 / max(event["steps_per_second"], 1e-9)
        known = [pace for name, pace in seed.pace.items() if name != stage]
        return {**seed.pace, stage: min(first, max(known)) if known else first}
    latest = (now - seed.reported_at) / steps
    second = event["stage_step"] <= 2 * steps
    return {**seed.pace, stage: latest if second else 0.8 * seed.pace[stage] + 0.2 * latest}


def seconds_left(view: View) -> float | None:
    """Estimate the wall seconds until the run is done; None before a second chunk and at the end.

    A stage that no seed has reached counts at the pace of the stage at hand. Seeds that wait for a free
    core are shared among those at work.
    """
    paces: dict[str, list[float]] = {}
    for seed in view.seeds.values():
        for stage, pace in seed.pace.items():
            paces.setdefault(stage, []).append(pace)
    current = [seed.pace[seed.stage] for seed in view.seeds.values() if seed.stage in seed.pace]
    if not current or not any(seed.settled for seed in view.seeds.values()):
        return None
    default = sum(current) / len(current)
    total = 0.0
    for seed in view.seeds.values():
        end = 0
        for stage, steps in view.stages:
            end += steps
            remaining = min(max(end - seed.step, 0), steps)
            known = seed.pace.get(stage) or sum(paces.get(stage, [default])) / len(paces.get(stage, [1]))
            total += remaining * known
    working = sum(1 for seed in view.seeds.values() if seed.pace and seed.step < view.steps)
    return total / max(1, working) if total else None


def metrics_text(metrics: Mapping[str, float], count: int = 3) -> str:
    """Write the foremost metrics of a chunk: "loss 0.412  ess 8.31"."""
    ahead = [name for name in ("loss", "ess", "q_mean") if name in metrics]
    names = [*ahead, *(name for name in metrics if name not in ahead)][:count]
    return "  ".join(f"{name} {metrics[name]:.3g}" for name in names)


def mean_metrics(seeds: list[SeedView]) -> dict[str, float]:
    """Mean over seeds of each metric that all of them report."""
    names = [name for name in seeds[0].metrics if all(name in seed.metrics for seed in seeds)]
    return {name: sum(seed.metrics[name] for seed in seeds) / len(seeds) for name in names}


def activity_text(text: str, fraction: float | None) -> str:
    """Write what goes on between chunks: "drawing support actions 30 %"."""
    return text if fraction is None else f"{text} {100 * fraction:.0f} %"
