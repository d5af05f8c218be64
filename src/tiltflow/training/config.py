"""What a run is a function of, besides the data: the complete, serialisable description."""

from dataclasses import dataclass
from typing import Literal

from tiltflow.agents.configs import AgentConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training. (config, data, seed) determine every bit of the result on the same machine."""

    algorithm: str
    task: str
    agent: AgentConfig
    data: str | None = None
    """File or folder of the data set; without it the source's own folder is searched."""
    env: str | None = None
    """Gymnasium id of the environment of a `file/…` task."""
    seeds: int = 1
    """Number of seeds: seed, seed + 1, …"""
    seed: int = 0
    """First seed."""
    steps: int = 200_000
    """Gradient steps in all stages together."""
    evaluations: int = 10
    """Evaluations, equally spaced over the policy's stages; the last one is at the end."""
    episodes: int = 50
    """Episodes of each evaluation."""
    chunk: int = 1000
    """Gradient steps of one compiled call; logs, evaluations and checkpoints fall on its edges."""
    checkpoint_every: int = 10_000
    """Gradient steps between two checkpoints."""
    keep: int = 2
    """Checkpoints kept of each seed."""
    parallel: Literal["auto", "process", "vmap"] = "auto"
    """How seeds share the machine: one process a core, or one vmapped axis. auto: vmap on an accelerator."""
