"""The 2-D sets and every method on them: samples, distances to the truth, figures, tables, a page."""
