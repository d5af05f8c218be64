"""`tiltflow export`: a run's policies as files that need JAX alone, or as ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.errors import UserError
from tiltflow.settings import ExportFormat

_JAX_LINES = """
import json, jax, jax.export, numpy as np

file = np.load({path!r})
card = json.loads(str(file["card"]))  # names in order, bounds
call = jax.export.deserialize(bytearray(file["program"])).call

@jax.jit
def policy(observations, seed):  # float32 [o] or [n, o], np.uint32 -> [a] or [n, a], in the data's units
    actions = call(observations.reshape(-1, observations.shape[-1]), seed)
    return actions.reshape(*observations.shape[:-1], -1)

# Compiles it, and compares it with what was exported.
for row, seed, action in zip(file["test_observations"], file["test_seeds"], file["test_actions"]):
    np.testing.assert_allclose(policy(row, seed), action, rtol=1e-3, atol=1e-3)
action = np.asarray(policy(file["test_observations"][0], np.uint32(0)))  # another seed at each step"""

_ONNX_LINES = """
import json, onnxruntime, numpy as np

session = onnxruntime.InferenceSession({path!r})
card = json.loads(session.get_modelmeta().custom_metadata_map["card"])  # names in order, bounds
test = json.loads(session.get_modelmeta().custom_metadata_map["self_test"])
inputs = {{i.name: np.array(test[i.name], np.float32) for i in session.get_inputs()}}
(actions,) = session.run(None, inputs)  # observations [n, o], noise [n, k] of N(0, 1) -> [n, a], own units
np.testing.assert_allclose(actions, test["actions"], rtol=1e-3, atol=1e-3)"""


@dataclass(frozen=True)
class Export:
    """Write the newest policy of each seed as a file that needs JAX alone, and print how to call it.

    The file holds the program with its parameters, for CPU and CUDA, the scaling of observations and
    actions, their names in order, the actions' bounds, and a self-test. Settings of play are built in.
    With --format onnx it is an ONNX file, whose noise is an input; that needs jax2onnx and onnxruntime.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    out: Path | None = None
    """Folder of the files; without it the run folder."""
    format: ExportFormat = "jax"
    """policy-SEED.npz for JAX, or policy-SEED.onnx."""
    noise: float | None = None
    """Noise temperature τ: actions start from τ·z, z ~ N(0, I); without it the run's own flow.play_noise."""
    best_of: int | None = None
    """Of so many actions of a flow or diffusion policy the one of highest Q is played."""
    critic: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run whose critic --best-of asks (same task, data and seeds), for policies that have none."""

    def run(self) -> None:
        """Write the files, print their paths and the lines that call the first of them."""
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; give a folder, new or not.")
        from tiltflow.serving.policy_files import write_policy
        from tiltflow.serving.run_policy import load_played
        from tiltflow.training.display import show_progress

        write, lines = write_policy, _JAX_LINES
        if self.format == "onnx":
            from tiltflow.serving.onnx_files import write_onnx

            write, lines = write_onnx, _ONNX_LINES
        with show_progress() as observe:
            played = load_played(
                self.folder, noise=self.noise, best_of=self.best_of, critic=self.critic, observe=observe
            )
            seeds = played.loaded.prepared.config.seed_numbers
            paths = [write(played, seed, self.out or self.folder) for seed in seeds]
        print(*paths, sep="\n")
        print(lines.format(path=str(paths[0])))


def parse(arguments: Sequence[str]) -> Export:
    """Read the arguments behind `tiltflow export`."""
    return tyro.cli(Export, prog="tiltflow export", args=arguments)
