"""tiltflow: generative models of tilted distributions, and the offline-RL policies made from them.

``import tiltflow`` is cheap: JAX is imported by the submodule that needs it, at its first use.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Flow": "tiltflow.flow",
    "Transitions": "tiltflow.data.transitions",
    "load_dataset": "tiltflow.data.load",
    "find_task": "tiltflow.tasks",
    "train": "tiltflow.training.run",
    "UserError": "tiltflow.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tiltflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
