"""Processes that end in the middle of their work, as by kill -9: nothing is released."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from typing import Any

KILLED = 9


def run_until(
    module: ModuleType, stage: str, action: Callable[[], object], *, n_calls: int = 1
) -> None:
    """Run an action in a process that ends at once when a stage has ended.

    Args:
        module: has the stage.
        stage: the name of a function.
        action: what is killed.
        n_calls: how often the stage ends before the process ends.
    """
    process_id = os.fork()
    if process_id == 0:
        whole_stage = getattr(module, stage)
        n_ended = 0

        def die(*arguments: object, **options: object) -> object:
            nonlocal n_ended
            result = whole_stage(*arguments, **options)
            n_ended += 1
            if n_ended == n_calls:
                os._exit(KILLED)
            return result

        try:
            setattr(module, stage, die)
            action()
        finally:
            os._exit(1)
    _wait_for_death(process_id, stage)


def run_until_commit(
    module: ModuleType, action: Callable[[], object], *, n_transactions: int
) -> None:
    """Run an action in a process that ends when a transaction has done all and not committed.

    Args:
        module: calls `db.transaction`.
        action: what is killed.
        n_transactions: the number of the transaction, from 1.
    """
    process_id = os.fork()
    if process_id == 0:
        whole_transaction = module.db.transaction
        n_begun = 0

        @contextmanager
        def transaction(*arguments: Any) -> Any:
            nonlocal n_begun
            n_begun += 1
            is_last = n_begun == n_transactions
            with whole_transaction(*arguments) as connection:
                yield connection
                if is_last:
                    os._exit(KILLED)

        try:
            module.db.transaction = transaction
            action()
        finally:
            os._exit(1)
    _wait_for_death(process_id, "the commit")


def _wait_for_death(process_id: int, stage: str) -> None:
    _, status = os.waitpid(process_id, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED, f"{stage} was not reached"
