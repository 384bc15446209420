"""`make k8s-down`: remove the cluster of `make k8s-up`, or our namespace of the given CONTEXT."""

import os
import sys

from k8s.cluster import ClusterFailed, remove


def main() -> int:
    """Command line."""
    try:
        print(remove(os.environ.get("CONTEXT", ""), os.environ.get("TOOL", "")))
    except ClusterFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
