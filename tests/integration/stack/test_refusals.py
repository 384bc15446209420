"""Each problem that prevents `make up` is one clear line, and nothing is started."""

import os
import re
import shutil
import socket

import psutil
import pytest

from readmit import open_files
from readmit.settings import StackSettings
from stack import configuration, machine, preflight, programs, state_folder, test_tools
from tests.support import stack


@pytest.fixture
def env(tmp_path):
    with stack.environment(stack.write_env(tmp_path)) as settings:
        yield settings


def refused(settings: StackSettings, run=stack.run_here, **variables: str) -> list[str]:
    """Run `make up` and return its error lines."""
    process = run("stack.up", **variables)
    assert process.returncode == 1, process.stdout
    assert not stack.leftovers(settings)
    assert "Traceback" not in process.stdout + process.stderr
    return re.findall("^error: (.*)$", process.stdout, re.MULTILINE)


def test_a_taken_port_names_its_holder_and_the_variable(env):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", env.api_port))
        holder.listen()
        lines = refused(env, stack.run)
    name = psutil.Process().name()  # of a test worker, or Python's own
    assert lines == [
        f"port {env.api_port} for API is taken by {name} (process {os.getpid()}):"
        " end it, or set READMIT_API_PORT in .env"
    ]


COMMANDS = ("up", "down", "status", "logs", "pipeline", "poison", "clean", "address api")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_env_file_ends_every_command_in_one_line(env, tmp_path, command):
    for run, text, message in (
        (stack.run, b"READMIT_API_PORT=none\n", "READMIT_API_PORT: Input should be"),
        (stack.run_here, b"READMIT_MODEL_NAME=caf\xe9\n", "is not UTF-8"),
    ):
        (tmp_path / "wrong.env").write_bytes(
            b"READMIT_HOME=" + os.fsencode(tmp_path / "none") + b"\n" + text
        )
        env_file = str(tmp_path / "wrong.env")
        process = run(*f"stack.{command}".split(), READMIT_ENV_FILE=env_file)
        assert process.returncode == 1
        lines = []
        for line in (process.stdout + process.stderr).splitlines():
            if not line.startswith("Programs that run keep running."):
                lines.append(line)
        [line] = lines
        assert line.startswith("error: ")
        assert message in line


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("READMIT_API_PORT", "none", "READMIT_API_PORT: Input should be a valid integer"),
        (
            "READMIT_BATCH_SIZE",
            "0",
            "READMIT_BATCH_SIZE: Input should be greater than or equal to 1 (got '0')",
        ),
        (
            "READMIT_POSTGRES_PORT",
            "80",
            "READMIT_POSTGRES_PORT: Input should be greater than or equal to 1024",
        ),
        ("READMIT_DATASET", "/no/such/file.csv", "DATASET: /no/such/file.csv does not exist"),
        ("READMIT_HOME", "/dev/null", "READMIT_HOME: /dev/null is not a folder"),
        ("READMIT_DATASET", "/dev/zero", "DATASET: /dev/zero is a pipe or a device, not a file"),
        (
            "READMIT_DATASET",
            "ftp://host/x.zip",
            "DATASET: ftp://host/x.zip: addresses begin with http:// or https://",
        ),
    ],
)
def test_a_wrong_value_names_its_variable(env, name, value, message):
    lines = refused(env, **{name: value})
    assert len(lines) == 1
    assert lines[0].startswith(message)


def test_the_dataset_is_kept_for_this_user_alone_whatever_its_name(env, monkeypatch):
    dataset = os.fsdecode(b"http://me:secret@host/donn\xe9es.csv")
    monkeypatch.setenv("READMIT_DATASET", dataset)
    configuration.keep_dataset(configuration.stack_settings())
    monkeypatch.delenv("READMIT_DATASET")
    assert configuration.stack_settings().dataset == dataset
    assert (env.readmit_home / "dataset").stat().st_mode & 0o077 == 0


def test_the_same_port_twice_names_both(env):
    lines = refused(env, READMIT_UI_PORT=str(env.docs_port))
    assert lines == [
        f"port {env.docs_port} is set for Web form and Docs site: change READMIT_DOCS_PORT"
    ]


def test_too_little_disk_names_the_folder(tmp_path):
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert preflight.not_enough_disk(tmp_path / "new", required_gb=0.001) == ""
    message = preflight.not_enough_disk(tmp_path / "new", required_gb=free + 1)
    assert f"are free at {tmp_path}" in message
    assert "set READMIT_HOME" in message


def test_a_stack_that_was_started_before_needs_little_more_disk(env, monkeypatch):
    monkeypatch.setattr(preflight, "DISK_GB", 1_000_000.0)
    assert "1000000 GB are needed" in "\n".join(preflight.problems(env, [], {"s3"}))
    state_folder.claim(env.readmit_home)
    data = programs.server(env).data
    data.mkdir(parents=True)
    assert preflight.problems(env, [], {"s3"}) == []
    shutil.rmtree(data)


def test_too_few_open_files_are_named(env, monkeypatch):
    assert preflight.problems(env, [], {"s3"}) == []
    monkeypatch.setattr(open_files, "NEEDED", 10**12)
    [line] = preflight.problems(env, [], {"s3"})
    assert line.startswith("a process may have ")


def test_too_little_memory_says_what_there_is(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 3000000 kB\n")
    (tmp_path / "max").write_text("1000000000\n")
    assert preflight.available_memory_gb(tmp_path / "meminfo", tmp_path / "none") == pytest.approx(
        3.07, abs=0.01
    )
    assert preflight.available_memory_gb(tmp_path / "meminfo", tmp_path / "max") == 1.0
    assert "GB of memory are available, 100000 GB are needed" in preflight.not_enough_memory(
        100_000
    )


def test_tools_of_the_tests_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # root finds no apt-get there
    monkeypatch.setattr(machine, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(test_tools.ToolsMissing) as error:
        test_tools.ensure()
    assert str(error.value) == (
        f"the tests need {', '.join(test_tools.NEEDED)}:"
        f" as root, apt-get install {' '.join(test_tools.NEEDED)}"
    )
    (tmp_path / "browser").touch()
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "browser"))
    assert "chromium" not in test_tools.missing()


def test_optional_components_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install prometheus" in programs.missing_programs()["prometheus"]
    assert {program.name for program in programs.all_programs(StackSettings())} >= {
        "postgres",
        "s3",
        "api",
        "ui",
    }


def test_a_socket_of_another_user_is_named(tmp_path, monkeypatch):
    path = tmp_path / "seaweedfs-s3-grpc-18333.sock"
    assert preflight.foreign_socket([path]) == ""
    path.touch()
    assert preflight.foreign_socket([path]) == ""
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    assert "set READMIT_S3_PORT in .env" in preflight.foreign_socket([path])
