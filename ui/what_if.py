"""The values that a what-if tries for one field."""

from collections.abc import Sequence

from readmit.client.answer_types import Value
from ui.form import Field

MAX_VALUES = 16  # bars that stay readable on a narrow screen


def alternatives(field: Field, current: Value) -> tuple[list[Value], int]:
    """Return up to `MAX_VALUES` legal values and the current one, and the index of that one."""
    values = _legal_values(field, current)
    if current not in values:
        values.append(current)
        if not field.options:
            values.sort(key=float)
    return values, values.index(current)


def _legal_values(field: Field, current: Value) -> list[Value]:
    if field.kind == "flag":
        return [False, True]
    if field.options:
        return _window(field.options, current)
    if field.low is None or field.high is None:
        return [current]
    if not field.is_whole:
        return [round(step, 2) for step in _steps(field.low, field.high, MAX_VALUES - 1)]
    n_steps = min(MAX_VALUES - 1, round(field.high - field.low) + 1)
    return sorted({round(step) for step in _steps(field.low, field.high, n_steps)})


def _window(options: Sequence[Value], current: Value) -> list[Value]:
    """Return the options around the current one."""
    if len(options) <= MAX_VALUES:
        return list(options)
    index = options.index(current) if current in options else 0
    start = min(max(0, index - MAX_VALUES // 2), len(options) - MAX_VALUES)
    return list(options[start : start + MAX_VALUES])


def _steps(low: float, high: float, n_steps: int) -> list[float]:
    """Return evenly spaced numbers from low to high."""
    width = (high - low) / max(1, n_steps - 1)
    return [low + width * step for step in range(n_steps)]
