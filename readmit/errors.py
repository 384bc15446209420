"""Failures that the data itself causes. Whatever is not one of these may be retried."""


def shown(text: str) -> str:
    """Return a name that others chose as messages, logs and the ledger hold it: one line of printable characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


class BadData(Exception):
    """The data cannot be accepted; trying again with the same bytes gives the same verdict."""


class SourceRefused(BadData):
    """A source file cannot be read: the message names the file, the row, the column and what to do."""


class BatchRejected(BadData):
    """A gate said no to a batch: the message names the expectation, what was seen and the limit."""
