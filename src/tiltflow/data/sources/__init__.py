"""Where data come from: one file per source, named in `tiltflow.tasks.SOURCES`."""
