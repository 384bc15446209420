"""A guided tour of a running stack, as a film: `make tour`."""
