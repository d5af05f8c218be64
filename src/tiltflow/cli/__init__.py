"""The command line: one file per verb. Nothing here imports JAX or NumPy until a verb runs."""
