"""`make clean`: stop everything and delete the state, after a question.

`.env` stays, because it may hold settings of your own. So do backups, and whatever else is in the
state folder that the stack did not create.
"""

import sys
from contextlib import suppress

from readmit.command import explained
from readmit.confirmation import NotConfirmed, confirm
from readmit.inherited_environment import forget_the_shell
from readmit.settings import StackSettings
from stack import login_proxy, state_folder
from stack.configuration import stack_settings
from stack.down import stop
from stack.postgres import reachable


def clean(settings: StackSettings) -> None:
    """Stop the stack and delete its state.

    Raises:
        NotConfirmed: nobody agreed, or the folder is not known to be ours; nothing was deleted.
    """
    home = settings.readmit_home
    entries = state_folder.owned_entries(home)
    if home.exists() and not entries and any(home.iterdir()):
        raise NotConfirmed(
            f"nothing was deleted: {home} has no file {state_folder.MARKER}, by which"
            " `make up` marks what belongs to the stack"
        )
    if entries:
        names = ", ".join(path.name for path in entries)
        confirm(f"This stops the stack and deletes in {home}: {names}. Everything else stays.")
    stop(settings)
    postgres_home = reachable(home)
    state_folder.remove(home)
    if postgres_home != home:
        for name in (*state_folder.ORDINARY_USERS_ENTRIES, login_proxy.FOLDER):
            state_folder.delete(postgres_home / name)
        with suppress(OSError):  # it does not exist, or holds other files
            postgres_home.rmdir()


@explained
def main() -> int:
    """Command line of `make clean`."""
    try:
        clean(stack_settings())
    except NotConfirmed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
