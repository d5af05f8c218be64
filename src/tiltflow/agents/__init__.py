"""Offline-RL algorithms: a frozen config and pure functions each."""
