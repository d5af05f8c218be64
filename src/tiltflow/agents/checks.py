"""What suits one another among the settings of a sampler, whichever config has them."""

from tiltflow.errors import UserError
from tiltflow.settings import PathName, Prediction, SolverName


def check_sampler(path: PathName, prediction: Prediction, solver: SolverName) -> None:
    """Raise UserError where a sampler asks for a velocity (or data) that the prediction does not determine.

    At the noise end of ot and cosine a point is all noise, so that its noise and score say nothing of the
    data; at their data end its data says nothing of the noise (see `paths.convert`).
    """
    if path in ("vp", "ot-clipped"):
        return
    if prediction in ("noise", "score"):
        raise UserError(
            f"prediction = {prediction} leaves the velocity undetermined at the noise end of path = {path}: "
            "choose velocity or data, or path = vp or ot-clipped."
        )
    if prediction == "data" and solver in ("heun", "rk4"):
        raise UserError(
            f"solver = {solver} asks for the velocity at the data end of path = {path}, where prediction = "
            "data leaves it undetermined: choose euler, midpoint or dpm-solver++, or another prediction."
        )
