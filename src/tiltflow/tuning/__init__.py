"""Sweeps: many configurations of one algorithm on one task, judged by one criterion."""
