"""Offline-RL algorithms, one a file: frozen settings and pure functions. Your own join by `register`."""

from tiltflow.agents.registry import plugged, register

__all__ = ["plugged", "register"]
