"""The one-machine stack: every component under a process supervisor, no container, no other service."""
