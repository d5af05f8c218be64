"""Scores of policies: rollouts, normalisation, statistics."""
