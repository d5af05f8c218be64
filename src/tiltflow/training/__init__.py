"""Runs: the compiled loop, checkpoints, logs, seeds."""
