"""Data sets of transitions: sources, audit, collection."""
