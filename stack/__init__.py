"""The stack on one machine: every component runs under a process supervisor, without containers."""
