"""Which names files of the inbox may have."""

PREFIX = "inbox/"
# Names of files that are not complete, and of what is written beside the files.
IGNORED_SUFFIXES = ("~", ".part", ".partial", ".filepart", ".crdownload", ".tmp", ".result.json")


def is_ignored(name: str) -> bool:
    """Tell whether a name is hidden, or that of a folder of the bucket or of a part of a file."""
    return not name or name.startswith((".", "~$")) or name.lower().endswith(IGNORED_SUFFIXES)
