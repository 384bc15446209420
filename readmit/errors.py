"""Errors of the data, and of the address that it comes from."""


class BadData(Exception):
    """The data cannot be accepted. The same bytes get the same verdict, so a retry is useless."""


class SourceRefused(BadData):
    """A source file cannot be read; the message names file, row, column and what to do."""


class BatchRejected(BadData):
    """A gate rejected a batch; the message names the expectation, the value and the limit."""


class NoRoom(Exception):
    """The disk is almost full, so nothing more is taken in; the message says how much is free."""


class SourceUnreachable(Exception):
    """An address did not answer as it should after all attempts; a retry later may help."""


def printable(text: str) -> str:
    """Return a foreign name for messages, logs and the ledger: one line of printable characters."""
    return "".join(character if character.isprintable() else "?" for character in text)
