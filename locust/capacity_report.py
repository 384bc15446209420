"""The result of the search: a table for the terminal, build/capacity.json, the knee plot and an HTML report."""

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from capacity_search import ERROR_SHARE, GENERATOR_CPU, P95_MS, Found, Step, spread

from readmit.docs_site import html_pages

TEMPLATE = Path(__file__).parent / "templates" / "capacity.html.j2"
AGREEMENT = 0.10
HEADROOM = 0.8


@dataclass(frozen=True)
class Result:
    """The searches of one configuration.

    `static_rate` are the requests/s on a route that computes nothing, `static_cpu` what the generator used meanwhile:
    when it was not busy, the server was the limit there, and the rate says nothing about the generator.
    """

    workers: int | None
    searches: tuple[Found, ...]
    static_rate: float
    static_cpu: float = 1.0

    @property
    def users(self) -> int:
        """Return the median of the searches."""
        return int(median(found.users for found in self.searches))

    @property
    def best(self) -> Step | None:
        """Return the step of the median search."""
        return min(self.searches, key=lambda found: abs(found.users - self.users)).best

    @property
    def limit(self) -> str:
        """Return what stopped the searches: slo only when it stopped all, with headroom left in the generator."""
        is_static_generators = self.static_cpu >= GENERATOR_CPU
        if is_static_generators and self.best and self.best.rate > HEADROOM * self.static_rate:
            return "generator"
        others = [found.limit for found in self.searches if found.limit != "slo"]
        return others[0] if others else "slo"

    @property
    def agree(self) -> bool:
        """Tell whether the searches lie within 10 %."""
        return spread([found.users for found in self.searches]) <= AGREEMENT

    @property
    def text(self) -> str:
        """Return the users as a reader should quote them."""
        return f"{self.users:,}" if self.limit == "slo" else f"at least {self.users:,}"

    @property
    def cpu_per_request_ms(self) -> float | None:
        """Return the API's CPU milliseconds per request; None when the API is on another machine."""
        step = self.best
        return (
            None
            if step is None or step.api_cpu is None or not step.rate
            else 1000 * step.api_cpu / step.rate
        )

    def record(self) -> dict[str, Any]:
        """Return the entry of build/capacity.json."""
        step = self.best
        said: dict[str, Any] = {
            "workers": self.workers,
            "users": self.users,
            "text": self.text,
            "limit": self.limit,
        }
        said |= {"searches": [found.users for found in self.searches], "agree": self.agree}
        said |= {"requests_per_second": step and step.rate, "p95_ms": step and step.p95_ms}
        said |= {
            "cpu_ms_per_request": self.cpu_per_request_ms,
            "generator_cpu": step and step.generator_cpu,
        }
        said |= {"machine_cpu": step and step.machine_cpu}
        steps = [[asdict(each) for each in found.steps] for found in self.searches]
        said |= {
            "static_requests_per_second": self.static_rate,
            "static_generator_cpu": self.static_cpu,
        }
        return said | {"steps": steps}


HEADINGS = (
    *("workers", "users", "searches", "requests/s", "p95, ms", "API CPU, ms/request"),
    *("generator CPU", "machine CPU", "limit"),
)


def lines(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return a line of text per configuration, as HEADINGS has it."""
    return [_line(each) for each in results]


def _line(result: Result) -> tuple[str, ...]:
    step, cpu = result.best, result.cpu_per_request_ms
    searches = ", ".join(str(search.users) for search in result.searches)
    rate, p95, generator, machine = (
        (
            f"{step.rate:,.0f}",
            f"{step.p95_ms:.0f}",
            f"{step.generator_cpu:.0%}",
            f"{step.machine_cpu:.0%}",
        )
        if step
        else ("-",) * 4
    )
    api = "-" if cpu is None else f"{cpu:.2f}"
    return (
        str(result.workers or "?"),
        result.text,
        searches,
        rate,
        p95,
        api,
        generator,
        machine,
        result.limit,
    )


def figures(results: Sequence[Result]) -> dict[str, dict[str, float | None]]:
    """Return what the dashboards show of the searches: by metric, then by number of API workers."""
    by_name: dict[str, dict[str, float | None]] = {}
    for each in results:
        step, cpu = each.best, each.cpu_per_request_ms
        said: dict[str, float | None] = {
            "readmit_capacity_users": each.users,
            "readmit_capacity_is_lower_bound": float(each.limit != "slo"),
            "readmit_capacity_requests_per_second": step.rate if step else None,
            "readmit_capacity_p95_seconds": step.p95_ms / 1000 if step else None,
            "readmit_capacity_cpu_seconds_per_request": cpu and cpu / 1000,
        }
        for name, value in said.items():
            by_name.setdefault(name, {})[str(each.workers or "?")] = value
    return by_name


def write(folder: Path, conditions: dict[str, Any], results: Sequence[Result]) -> None:
    """Write capacity.json, capacity.png and capacity.html into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    slo = {"p95_ms": P95_MS, "error_share": ERROR_SHARE}
    said = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "slo": slo} | conditions
    picture = plot(results)
    document = finite(said | {"results": [each.record() for each in results]})
    (folder / "capacity.json").write_text(
        json.dumps(document, indent=1, default=str, allow_nan=False) + "\n"
    )
    (folder / "capacity.png").write_bytes(picture)
    (folder / "capacity.html").write_text(page(said, results, picture), encoding="utf-8")


def finite(value: Any) -> Any:  # noqa: ANN401 (any JSON document)
    """Return a document in which numbers that JSON does not know (a p95 without answers is infinite) are null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plot(results: Sequence[Result]) -> bytes:
    """Return a PNG: p95 over users, a point per step, for each configuration; the SLO as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for each in results:
        steps = sorted(
            (s for found in each.searches for s in found.steps if s.rate),
            key=lambda step: step.users,
        )
        axes.scatter(
            [s.users for s in steps],
            [s.p95_ms for s in steps],
            label=f"API workers: {each.workers or '?'}",
        )
    axes.axhline(P95_MS, color="firebrick", linestyle="--", label=f"SLO: {P95_MS:.0f} ms")
    axes.set(
        xlabel="users",
        ylabel="p95 of the answers, ms",
        yscale="log",
        title="Where does it get too slow?",
    )
    axes.legend()
    found = io.BytesIO()
    figure.savefig(found, format="png", dpi=120)
    return found.getvalue()


def page(conditions: dict[str, Any], results: Sequence[Result], picture: bytes) -> str:
    """Return the HTML report, with the PNG picture inside."""
    return html_pages.render(
        TEMPLATE,
        headings=HEADINGS,
        lines=lines(results),
        picture=base64.b64encode(picture).decode(),
        conditions=conditions,
    )
