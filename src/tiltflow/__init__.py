"""tiltflow: generative models of tilted distributions, and the offline-RL policies made from them.

``import tiltflow`` is cheap: JAX is imported by the submodule that needs it, at its first use.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Dataset": "tiltflow.from_python:RecordedArrays",
    "train": "tiltflow.from_python:train_on",
    "load": "tiltflow.from_python:open_run",
    "Flow": "tiltflow.flow:Flow",
    "Transitions": "tiltflow.data.transitions:Transitions",
    "load_dataset": "tiltflow.data.load:load_dataset",
    "find_task": "tiltflow.tasks:find_task",
    "UserError": "tiltflow.errors:UserError",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        module, _, own_name = _PUBLIC[name].partition(":")
        return getattr(importlib.import_module(module), own_name)
    raise AttributeError(f"module 'tiltflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
