"""One policy, from a run folder or from a file that `tiltflow export` wrote."""

from pathlib import Path

from tiltflow.errors import UserError
from tiltflow.serving.compiled_policy import CompiledPolicy, Program
from tiltflow.serving.policy_files import read_policy, seeded
from tiltflow.serving.run_policy import PlayedRun, with_settings
from tiltflow.training.load_run import load_run
from tiltflow.training.progress import Observe, ignore_event


def load_policy(
    place: Path,
    *,
    seed: int | None = None,
    noise: float | None = None,
    best_of: int | None = None,
    critic: Path | None = None,
    observe: Observe = ignore_event,
) -> CompiledPolicy:
    """The policy of a run folder, of its first seed by default, or of an exported file.

    `noise`, `best_of` and `critic` are those of `load_played`. Raises UserError where there is no policy,
    and for settings that it does not have; those of a file are fixed.
    """
    if place.is_file():
        if (seed, noise, best_of, critic) != (None,) * 4:
            raise UserError(
                f"{place} is an exported policy, whose seed and settings are fixed. Export the run again "
                "with others, or give the run folder."
            )
        return read_policy(place)
    plain = PlayedRun(place, load_run(place, observe))
    own = with_settings(plain, noise, best_of, critic, observe)

    def build(call_noise: float | None, call_best_of: int | None) -> Program:
        if (call_noise, call_best_of) == (None, None):
            return seeded(own.actions(seed))
        noisy = noise if call_noise is None else call_noise
        count = best_of if call_best_of is None else call_best_of
        return seeded(with_settings(plain, noisy, count, critic).actions(seed))

    return CompiledPolicy(own.card(seed), build)
