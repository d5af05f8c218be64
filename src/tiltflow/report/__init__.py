"""Pages and figures made from a run folder."""
