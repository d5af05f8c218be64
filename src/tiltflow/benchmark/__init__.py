"""Suites of tasks, trained with many algorithms and seeds, one process a core."""
