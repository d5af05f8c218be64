"""Agents from outside tiltflow, for a while: what a test registers is gone after it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiltflow.agents import registry

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "weighted_flow.py"
EXAMPLE_NAME = "weighted-flow"


@contextmanager
def outside_agents() -> Iterator[None]:
    """Begin and end with tiltflow's own agents alone."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in registry.ALGORITHMS.keys() - registry._BUILT_IN.keys():
        del registry.ALGORITHMS[name]
        registry._DEFINED.pop(name, None)
    for name in [name for name in sys.modules if name.startswith("tiltflow_plugin_")]:
        del sys.modules[name]
    registry.run_plugin.cache_clear()
    registry._installed.cache_clear()
