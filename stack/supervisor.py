"""A client of the process supervisor, which restarts programs that die."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil

from readmit.inherited_environment import inherited, proxies
from readmit.settings import ROOT, StackSettings, env_file
from stack import processes, sessions
from stack.configuration import socket_path
from stack.programs import HOME_MARK, NEEDED_TO_END


class SupervisorFailed(Exception):
    """The supervisor or a program did not start; the message has the reason."""


class Supervisor:
    """The supervisor of the stack below `settings.readmit_home`."""

    def __init__(self, settings: StackSettings) -> None:
        self._home = settings.readmit_home

    def pid(self) -> int | None:
        """Return the process id of the running supervisor, or None."""
        process = self.process()
        if process is None:
            return None
        return int(process.pid)

    def process(self) -> psutil.Process | None:
        """Return the process of the running supervisor, or None."""
        try:
            process = psutil.Process(int((self._home / "supervisord.pid").read_text()))
            command = " ".join(process.cmdline())
        except (OSError, ValueError, psutil.Error):
            return None
        # Another process may have the pid of a supervisor that was killed.
        if str(self._home) not in command or not processes.is_running(process):
            return None
        return process

    def start(self) -> bool:
        """Start the supervisor unless it runs, and return whether it was started.

        Raises:
            SupervisorFailed: it did not start or does not answer.
        """
        if self.pid() is not None:
            return False
        sessions.end(self._home)
        socket_path(self._home).unlink(missing_ok=True)
        # Without settings: programs read `.env` when they start, not the first `make up`'s shell.
        environment = inherited(os.environ) | proxies(os.environ)
        environment |= {
            HOME_MARK: str(self._home),
            "READMIT_HOME": str(self._home),
            "READMIT_ENV_FILE": str(env_file()),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-W", "ignore", "-m", "stack.supervisord"]
        process = subprocess.run(
            [*command, "-c", str(self._home / "supervisord.conf")],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if process.returncode != 0:
            message = process.stderr.strip() or process.stdout.strip()
            raise SupervisorFailed(f"the supervisor did not start: {message}")
        self._wait()
        return True

    def apply(self, deferred: Collection[str] = ()) -> list[str]:
        """Load a changed configuration, and stop the programs that it changes or removes.

        Args:
            deferred: names of programs that go on as they are until `replace`.

        Returns:
            The names of the deferred programs whose configuration has changed.
        """
        running = self.running()
        waiting = []
        with self._rpc() as rpc:
            added, changed, removed = rpc.reloadConfig()[0]
            for name in (*changed, *removed):
                if name in changed and name in deferred and name in running:
                    waiting.append(name)
                    continue
                rpc.stopProcessGroup(name, True)
                rpc.removeProcessGroup(name)
            for name in (*added, *changed):
                if name not in waiting:
                    rpc.addProcessGroup(name)
        return waiting

    def load(self, name: str) -> None:
        """Load the changed configuration of one program and start it; all others go on.

        Raises:
            SupervisorFailed: it did not start.
        """
        with suppress(Fault), self._rpc() as rpc:
            rpc.stopProcessGroup(name, True)
            rpc.removeProcessGroup(name)
        with self._rpc() as rpc:
            rpc.reloadConfig()
            rpc.addProcessGroup(name)
        self.ensure(name)

    def replace(
        self, name: str, drain_seconds: float = 0, between: Callable[[], None] | None = None
    ) -> None:
        """Start a program anew with the configuration that was loaded last.

        Args:
            name: the program's.
            drain_seconds: the time in which it lets its callers go, after SIGUSR1; 0 if it knows
                no such signal.
            between: called when the program has stopped, before it starts.

        Raises:
            SupervisorFailed: it did not start.
        """
        if drain_seconds:
            with suppress(Fault), self._rpc() as rpc:
                rpc.signalProcess(name, "USR1")
                time.sleep(drain_seconds)
        with self._rpc() as rpc:
            rpc.stopProcessGroup(name, True)
            rpc.removeProcessGroup(name)
            if between is not None:
                between()
            rpc.addProcessGroup(name)
        self.ensure(name)

    def stop_program(self, name: str) -> None:
        """Stop a program unless it is stopped."""
        with suppress(Fault), self._rpc() as rpc:
            rpc.stopProcess(name, True)

    def running(self) -> set[str]:
        """Return the names of the programs that run or start."""
        names = set()
        for name, info in self.states().items():
            if info["statename"] in ("RUNNING", "STARTING"):
                names.add(name)
        return names

    def ensure(self, name: str) -> None:
        """Start a program unless it runs.

        Raises:
            SupervisorFailed: it did not start.
        """
        if name in self.running():
            return
        try:
            with self._rpc() as rpc:
                rpc.startProcess(name, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise SupervisorFailed(f"{name} did not start: {fault.faultString}") from fault

    def restart(self, name: str) -> None:
        """Stop a program, by SIGKILL when it does not react in time, and start it again."""
        with suppress(Fault), self._rpc() as rpc:
            rpc.stopProcess(name, True)
        with suppress(Fault), self._rpc() as rpc:
            rpc.startProcess(name, False)

    def reload(self, name: str) -> None:
        """Have a program that runs read its configuration again."""
        with suppress(Fault, OSError), self._rpc() as rpc:
            rpc.signalProcess(name, "HUP")

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the supervisor's record of each program, by name.

        A record has `statename`, `pid`, `spawnerr` and `description`, among other fields.
        """
        if self.pid() is None:
            return {}
        try:
            with self._rpc() as rpc:
                return {str(info["name"]): info for info in rpc.getAllProcessInfo()}
        except OSError:
            return {}

    def stop(self, seconds: float = 90) -> None:
        """Stop all programs, the supervisor, and then every other process of the stack.

        The programs that others need while they stop are stopped last, one after the other. The
        rest are stopped at once.
        """
        process = self.process()
        if process is not None:
            for name in self.states().keys() - set(NEEDED_TO_END):
                with suppress(Fault, OSError), self._rpc() as rpc:
                    rpc.stopProcess(name, False)
            processes.end([process], seconds)
        sessions.end(self._home, seconds=10)
        if not sessions.processes_of(self._home):
            sessions.forget(self._home)
        (self._home / "supervisord.pid").unlink(missing_ok=True)

    def _wait(self, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with self._rpc() as rpc:
                    rpc.getState()
                return
            except OSError:
                time.sleep(0.1)
        raise SupervisorFailed(
            f"the supervisor does not answer; see {self._home / 'log' / 'supervisord.log'}"
        )

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        """Yield a proxy for the functions of the supervisor's XML-RPC interface."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{socket_path(self._home)}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            yield proxy.supervisor
