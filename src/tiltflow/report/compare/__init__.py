"""The comparison of many runs: algorithms, tasks and seeds."""
