"""`make up` was run in a shell with a hundred variables of other projects: see the fixture `up`."""

from dotenv import dotenv_values

from readmit.settings import env_file
from stack import processes, programs, sessions
from tests.support import hostile_environment, stack


def test_nothing_of_the_shell_is_in_a_program(up):
    hostile = hostile_environment.variables()
    assert len(hostile) > 30
    n_programs = 0
    for process in sessions.processes_of(up.settings.readmit_home):
        environment = processes.environment(process)
        if environment is None:
            continue  # Airflow closes the environment of its task supervisors
        n_programs += 1
        for name, value in hostile.items():
            assert environment.get(name) != value, (process.pid, name)
    required = {program.name for program in programs.all_programs(up.settings)}
    assert n_programs >= len(required - set(programs.OPTIONAL))


def test_nothing_of_the_shell_is_in_the_settings(up):
    stored = dotenv_values(env_file())
    # Values of settings that the tests choose themselves.
    ours = {"x", "1", "9", "32", str(up.settings.monitoring_mirror)}
    hostile = set(hostile_environment.variables().values()) - ours
    assert not hostile & set(stored.values())
    assert up.settings.model_name == "readmission"
    assert up.settings.postgres_password.get_secret_value() != "airflow"
    assert all(name.startswith("READMIT_") for name in stored)


def test_a_command_in_that_shell_sees_every_program_up(up):
    shown = stack.make("status", **hostile_environment.variables())
    assert shown.returncode == 0, shown.stdout + shown.stderr
