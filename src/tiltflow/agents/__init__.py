"""Offline-RL algorithms, one a file: frozen settings and pure functions. Your own join by `register`."""

from tiltflow.agents.registry import register
from tiltflow.plugins import plugged

__all__ = ["plugged", "register"]
