"""Policies outside their training: from Python, as files, and over a socket."""
