"""Work in other processes: jobs and what runs them, requests to stop, locks of folders."""
