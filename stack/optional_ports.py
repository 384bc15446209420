"""Ports of optional components: when another program has one, ours moves to a free port.

Debian's Prometheus, for example, starts as a service when it is installed, and holds our ports.
"""

import os
from dataclasses import dataclass

from readmit.settings import StackSettings
from stack import configuration, processes, sessions
from stack.programs import all_programs, expected_programs
from stack.supervisor import Supervisor

VARIABLES = (
    "READMIT_S3_METRICS_PORT",
    "READMIT_PROMETHEUS_PORT",
    "READMIT_PUSHGATEWAY_PORT",
    "READMIT_NODE_EXPORTER_PORT",
    "READMIT_POSTGRES_EXPORTER_PORT",
    "READMIT_BLACKBOX_EXPORTER_PORT",
    "READMIT_ALERTMANAGER_PORT",
    "READMIT_GRAFANA_PORT",
    "READMIT_NOTEBOOK_PORT",
)
HIGHEST_PORT = 65_535


@dataclass(frozen=True)
class BusyPort:
    """A port that another program has; `free_port` is 0 when the port must not be changed."""

    title: str
    variable: str
    port: int
    holder: str
    free_port: int

    def __str__(self) -> str:
        line = f"port {self.port} for {self.title} is taken by {self.holder}"
        if self.free_port:
            return f"{line}: {self.variable}={self.free_port} is used"
        return f"{line}: left out, because the environment sets {self.variable}"


def busy_ports(settings: StackSettings) -> list[BusyPort]:
    """Return the ports of optional components that other programs have."""
    programs = [*all_programs(settings), *expected_programs(settings)]
    running = Supervisor(settings).running()
    used = {port for program in programs for ports in program.ports.values() for port in ports}
    busy = []
    for program in programs:
        if program.name in running:
            continue
        for variable, ports in program.ports.items():
            if variable not in VARIABLES or _is_free_or_ours(ports[0], settings):
                continue
            free_port = 0
            if variable not in os.environ:
                free_port = _next_free(ports[0], used)
                used.add(free_port)
            holder = processes.holder(ports[0]) or "another program"
            busy.append(BusyPort(program.title, variable, ports[0], holder, free_port))
    return busy


def move(busy: list[BusyPort]) -> None:
    """Write free ports for busy ones into `.env`, where every command of the stack finds them."""
    values = {port.variable: str(port.free_port) for port in busy if port.free_port}
    if values:
        configuration.change_env(values)


def _is_free_or_ours(port: int, settings: StackSettings) -> bool:
    """Return whether a port is free, or held by a process that the next start will end."""
    if processes.is_port_free(port):
        return True
    ours = [f"(process {process.pid})" for process in sessions.processes_of(settings.readmit_home)]
    return processes.holder(port).endswith(tuple(ours))


def _next_free(port: int, used: set[int]) -> int:
    for candidate in range(port + 1, HIGHEST_PORT):
        if candidate not in used and processes.is_port_free(candidate):
            return candidate
    return 0
