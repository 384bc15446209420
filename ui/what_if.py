"""The values that a what-if tries for one field."""

from collections.abc import Sequence

from ui.form import Field, Value

MOST = 16  # bars that stay readable on a narrow screen


def alternatives(field: Field, current: Value) -> tuple[list[Value], int]:
    """Return up to `MOST` legal values including the current one, in order, and the place of the current one."""
    values = _legal(field, current)
    if current not in values:
        values = [*values, current]
        if not field.options:
            values = sorted(values, key=float)
    return values, values.index(current)


def _legal(field: Field, current: Value) -> list[Value]:
    if field.kind == "flag":
        return [False, True]
    if field.options:
        return _around(list(field.options), current)
    if field.low is None or field.high is None:
        return [current]
    return _steps(field.low, field.high, is_whole=field.is_whole)


def _around(options: Sequence[Value], current: Value) -> list[Value]:
    """Return a window of the options around the current one."""
    if len(options) <= MOST:
        return list(options)
    place = options.index(current) if current in options else 0
    start = min(max(0, place - MOST // 2), len(options) - MOST)
    return list(options[start : start + MOST])


def _steps(low: float, high: float, *, is_whole: bool) -> list[Value]:
    """Return evenly spaced values from low to high, whole ones where the feature is whole."""
    n = min(MOST - 1, round(high - low) + 1) if is_whole else MOST - 1
    raw = [low + (high - low) * index / max(1, n - 1) for index in range(n)]
    return (
        sorted({round(value) for value in raw}) if is_whole else [round(value, 2) for value in raw]
    )
