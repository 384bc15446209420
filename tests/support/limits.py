"""The limits of this process, as a user's shell has them."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def soft_limit(n_files: int) -> Iterator[None]:
    """Lower the number of files that this process, and what it starts, may open until they raise
    it.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
