"""Agents and methods from outside tiltflow, for a while: what a test registers is gone after it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.guidance.methods import METHODS
from tiltflow.plugins import run_plugin

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "weighted_flow.py"
EXAMPLE_NAME = "weighted-flow"


@contextmanager
def outside_agents() -> Iterator[None]:
    """Begin and end with tiltflow's own agents and methods alone."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for registry in (ALGORITHMS, METHODS):
        for name in registry.outside:
            del registry._declared[name]
        registry.outside.clear()
        vars(registry).pop("_installed", None)
    for name in [name for name in sys.modules if name.startswith("tiltflow_plugin_")]:
        del sys.modules[name]
    run_plugin.cache_clear()
