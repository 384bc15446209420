"""`make notebook`: start JupyterLab beside the running stack; `make down` stops it.

Notebooks show rows of patients, so people work on copies below READMIT_HOME, not in the checkout.
"""

import shutil
import sys

from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import ROOT, BadSetting, StackSettings, env_file
from stack import configuration, optional_ports, programs, readiness, state_folder
from stack.progress import Progress
from stack.supervisor import Supervisor, SupervisorFailed

NOTEBOOKS = ROOT / "notebooks"
SECONDS = 120.0


def start(settings: StackSettings, progress: Progress) -> StackSettings:
    """Start JupyterLab unless it runs, and wait until it answers.

    Returns:
        The settings with the port that it has, which moves when another program has it.

    Raises:
        BadSetting: the stack does not run, its set-up is of a release without the notebook, or the
            port that the environment sets is taken.
        NotReady, SupervisorFailed: JupyterLab does not start.
    """
    supervisor = Supervisor(settings)
    if supervisor.pid() is None:
        raise BadSetting("the stack does not run: start it by `make up`")
    if settings.notebook_token is None or settings.mlflow_notebook_password is None:
        raise BadSetting(f"{env_file()} has no log-in of the notebook yet: run `make up` once")
    state_folder.claim(settings.readmit_home)
    copy_notebooks(settings)
    programs.notebook_mark(settings).touch()
    for busy in optional_ports.busy_ports(settings):
        if busy.variable != "READMIT_NOTEBOOK_PORT":
            continue
        if not busy.free_port:
            raise BadSetting(str(busy))
        progress.console.print(str(busy), style="yellow", markup=False)
        optional_ports.move([busy])
    settings = configuration.stack_settings()
    program = programs.find("notebook", settings)
    if program.name not in supervisor.running():
        configuration.write_files(settings, programs.all_programs(settings))
        supervisor.load(program.name)
    with progress.phase("starting JupyterLab"):
        readiness.wait([program], settings, supervisor, SECONDS, progress.show)
    return settings


def copy_notebooks(settings: StackSettings) -> None:
    """Copy the notebooks of the checkout to the state folder; a copy that is there stays."""
    folder = settings.readmit_home / "notebooks"
    for path in NOTEBOOKS.glob("*.ipynb"):
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


@explained
def main() -> int:
    """Command line of `make notebook`."""
    progress = Progress()
    try:
        settings = start(configuration.stack_settings(), progress)
    except (readiness.NotReady, SupervisorFailed) as error:
        progress.error(str(error))
        return 1
    address = programs.notebook(settings).address
    print(f"JupyterLab: {address}")
    print(f"log in with READMIT_NOTEBOOK_TOKEN of {env_file()} · stop: make down")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
