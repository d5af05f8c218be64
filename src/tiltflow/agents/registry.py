"""The algorithms by name, and the presets of their settings.

Naming them imports neither JAX nor NumPy. The settings of one stand in its own file, with its mathematics,
which is imported when they are asked for.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tiltflow.agents.preset_file import is_preset_file, read_preset_file
from tiltflow.agents.presets import Preset, find_preset
from tiltflow.agents.published import ALGORITHMS_WITH_PRESET, published_preset
from tiltflow.agents.setting_numbers import numbers_of, with_values
from tiltflow.errors import UserError, nearest
from tiltflow.plugins import Registry

if TYPE_CHECKING:
    from tiltflow.agents.base import Agent
    from tiltflow.data.transitions import Spec

Build = Callable[[Any, "Spec", int], "Agent"]
"""(settings, spec, steps) -> the agent, with `steps` gradient steps split over its stages."""

_OWN = {
    "qipo-ot": ("qipo", "QIPO on the optimal-transport path: energy-weighted flow matching with Q-weights"),
    "qipo-diff": ("qipo", "QIPO on the variance-preserving path: energy-weighted diffusion with Q-weights"),
    "flowq": (
        "flowq",
        "FlowQ: flow matching guided by the gradient of a learned value, with a finished critic",
    ),
    "qgpo": ("qgpo", "QGPO: a diffusion guided by a contrastive model of the intermediate energy (CEP)"),
    "iql": ("iql", "IQL: an expectile critic and advantage-weighted regression of a Gaussian policy"),
    "fql": ("fql", "FQL: a one-step policy, distilled from a behaviour flow and trained to maximise Q"),
    "ifql": ("ifql", "IFQL: a behaviour flow, IQL's critic, and the best of N actions by Q"),
    "idql": ("ifql", "IDQL: a behaviour diffusion, IQL's critic, and the best of N actions by Q"),
    "td3-bc": (
        "td3_bc",
        "TD3+BC: a deterministic policy trained to maximise Q, with a behaviour-cloning penalty",
    ),
    "rebrac": ("td3_bc", "ReBRAC: TD3+BC with a penalty in the backup too, and layer normalisation"),
    "flow-ql": (
        "flow_ql",
        "Diffusion-QL with a flow: behaviour cloning plus Q, differentiated through the sampler",
    ),
    "diffusion-ql": (
        "flow_ql",
        "Diffusion-QL: behaviour cloning plus Q, differentiated through the sampler of a diffusion",
    ),
    "bc-flow": ("bc", "behaviour cloning with flow matching: QIPO-OT's first stage alone"),
    "bc-diffusion": ("bc", "behaviour cloning with diffusion: QIPO-Diff's first stage alone"),
}


class Algorithm(NamedTuple):
    """What an algorithm declares: its default settings, and what makes its agent."""

    config: Any
    build: Build
    numbers: bool = False
    """Whether programs take the numbers of its settings as arguments."""


_PLACE = "tiltflow.agents"
ALGORITHMS: Registry[Algorithm] = Registry("algorithm", _PLACE, _PLACE, _PLACE, _OWN)


def register(name: str, config: Any, build: Build, description: str = "", *, numbers: bool = False) -> None:
    """Make `name` an algorithm, which trains, resumes, evaluates and has its help as every other.

    `config` holds its default settings: a frozen dataclass, whose texts after the fields are its help. This
    is for the present process. `--plugin FILE.py`, `plugged` or an entry point of the group `tiltflow.agents`
    make every process find the file that calls it. With `numbers`, settings of the type float are arguments
    of what is compiled, which then serves all their values: `build` and its functions may calculate with
    them, but not decide by them. Raises UserError for a name or settings that cannot be.
    """
    ALGORITHMS.register(name, Algorithm(config, build, numbers), build.__module__, description)


PRESETS = ("ours", "published")
"""Their names: ours is what each task's entry in presets.py says, and the default."""
PRESET_WORDS = "{" + ",".join((*PRESETS, "FILE.json")) + "}"
"""What `--preset` takes."""


def named_preset(algorithm: str, task: str, name: str) -> Preset:
    """The preset of that name, or of that file. Raises UserError where there is none of this algorithm."""
    if name not in PRESETS and not is_preset_file(name):
        raise UserError(
            f"There is no preset {name!r}.{nearest(name, PRESETS)} Known: {', '.join(PRESETS)} (ours is the "
            "default), and files in .json that `tiltflow tune` has written."
        )
    default = ALGORITHMS.find(algorithm).config
    if is_preset_file(name):
        return read_preset_file(Path(name), algorithm, default)
    if name == "ours":
        return find_preset(algorithm, default, task)
    if not has_published(algorithm):
        raise UserError(
            f"{algorithm} has no preset 'published'; {', '.join(ALGORITHMS_WITH_PRESET)} have one. Leave "
            "--preset out for ours."
        )
    return published_preset(algorithm, default, task)


def has_published(algorithm: str) -> bool:
    """Whether there is a preset `published` of that algorithm."""
    return algorithm in ALGORITHMS_WITH_PRESET


def preset(algorithm: str, task: str, name: str = "ours") -> Any:
    """The settings with which that algorithm starts on that task (presets.py, published.py)."""
    return named_preset(algorithm, task, name).config


def build_agent(algorithm: str, config: Any, spec: "Spec", steps: int) -> "Agent":
    """The agent of that algorithm, with `steps` gradient steps split over its stages."""
    declared = ALGORITHMS.find(algorithm).declared

    def built(numbers: Mapping[str, Any]) -> "Agent":
        agent = declared.build(with_values(config, numbers), spec, steps)
        return agent if spec.encode is None else agent.encoded(spec.encode)

    return built({}).taking(numbers_of(config), built) if declared.numbers else built({})
