"""`tiltflow evaluate`: play the policies of a run once more, as they are or improved at test time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.cli.results import describe_run, result_text
from tiltflow.errors import UserError
from tiltflow.settings import GuidanceName


@dataclass(frozen=True)
class Evaluate:
    """Play the policies of a run's last checkpoints in new episodes and print their score.

    With --guidance a flow or diffusion policy is improved where it is played, without training: by the best
    of N actions, or by the gradient of Q at the noisy action, at its one-step clean estimate, or through
    that estimate with its Jacobian. One setting is played as it is; of several, the one is played whose
    actions have the highest value at states of the validation data (each critic of the ensemble choosing,
    the others valuing): settings are never compared by playing them. Candidates that the policy itself
    chooses among (ifql, idql) are left out: --guidance takes their place.

    Of a run trained with --no-play, and without options, every checkpoint that was kept for it is played
    instead, in the episodes that the training would have played: the run then is as if it had played.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    episodes: int | None = None
    """Episodes of each seed; without it as many as the run's own evaluations have."""
    guidance: GuidanceName | None = None
    """Improvement at test time: best-of-n, or the policy's score shifted by a gradient of Q."""
    candidates: tuple[int, ...] = (16,)
    """N of best-of-n, one number or several to choose from."""
    strength: tuple[float, ...] = (1.0,)
    """Strength of a gradient, in units of 1 / the spread of Q over the policy's actions; one or several."""
    noise: float | None = None
    """Noise temperature τ: actions start from τ·z, z ~ N(0, I); without it the run's own flow.play_noise."""
    env: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """Gymnasium id of the environment to play in, of a run that was trained without one."""
    video: bool = False
    """Draw the best, the median and the worst episode as GIFs beside the record, and frames of the median
    into the run's report. Needs no display, but EGL or OSMesa."""
    critic: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run whose critic is used (same task, data and seeds), for policies that have none."""

    def run(self) -> None:
        """Evaluate, show the progress, print the score."""
        if self.episodes is not None and self.episodes < 1:
            raise UserError(f"--episodes is {self.episodes}, but must be at least 1.")
        self._check_settings()
        from tiltflow.training.display import show_progress
        from tiltflow.training.evaluate import evaluate
        from tiltflow.training.test_time_guidance import Guidance
        from tiltflow.training.unplayed import play_kept, unplayed

        as_it_is = (self.episodes, self.guidance, self.noise, self.env, self.video) == (*(None,) * 4, False)
        if as_it_is and unplayed(self.folder):
            with show_progress() as observe:
                finished = play_kept(self.folder, observe)
            go_on = f"its training is not: tiltflow train --resume {self.folder}"
            print(describe_run(self.folder) if finished else f"All that is kept is played, but {go_on}")
            return
        guidance = None
        if self.guidance is not None:
            settings = self.candidates if self.guidance == "best-of-n" else self.strength
            guidance = Guidance(self.guidance, tuple(map(float, settings)), self.critic)
        with show_progress() as observe:
            result = evaluate(self.folder, self.episodes, observe, guidance, self.noise, self.env, self.video)
        print(result_text(result))
        if guidance is not None:
            print(_choice_text(result))
        print(result["file"], *result["films"], sep="\n")

    def _check_settings(self) -> None:
        """Raise UserError for settings that cannot be, or that the asked guidance does not read."""
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise UserError(f"--noise is {self.noise}, but must be a number from 0 up.")
        best_of = self.guidance == "best-of-n"
        unread = []
        if self.candidates != Evaluate.candidates and not best_of:
            unread.append("--candidates is N of --guidance best-of-n")
        if self.strength != Evaluate.strength and (best_of or self.guidance is None):
            unread.append("--strength is that of --guidance gradient, clean-gradient or jacobian-gradient")
        if self.critic is not None and self.guidance is None:
            unread.append("--critic is what --guidance takes Q from")
        if unread:
            raise UserError(f"{'; '.join(unread)}: it would have no effect here.")
        if not self.candidates or not self.strength:
            raise UserError("--candidates and --strength need a number, or several to choose from.")
        if min(self.candidates) < 1:
            raise UserError(f"--candidates is {min(self.candidates)}, but must be at least 1.")
        for strength in self.strength:
            if not 0 <= strength < math.inf:
                raise UserError(f"--strength is {strength}, but must be a number from 0 up.")


def _choice_text(result: dict) -> str:
    """How the policy was improved, and how the setting was chosen."""
    name = "N" if result["guidance"] == "best-of-n" else "strength"
    text = f"with {result['guidance']}, {name} = {result['setting']:g}, critic: {result['critic']}"
    values = result["crossed_values"]
    if values is None:
        return text
    table = ", ".join(f"{float(setting):g}: {value:.4g}" for setting, value in values.items())
    return f"{text}\nchosen by the value at states of the validation data ({name}: value): {table}"


def parse(arguments: Sequence[str]) -> Evaluate:
    """Read the arguments behind `tiltflow evaluate`."""
    flags = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(Evaluate, prog="tiltflow evaluate", args=arguments, config=flags)
