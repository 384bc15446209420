"""Rows of the mart for the tests of training."""

from bench.made_up_rows import make_rows

__all__ = ["make_rows"]
