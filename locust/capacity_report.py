"""The result of the search.

A table for the terminal, build/capacity.json, the knee plot, an HTML page.
"""

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

from capacity_search import ERROR_SHARE, GENERATOR_CPU, P95_MS, SearchResult, Step, spread

from readmit.docs_site import html_pages

TEMPLATE = Path(__file__).parent / "templates" / "capacity.html.j2"
AGREEMENT = 0.10
HEADROOM = 0.8
HEADINGS = (
    "workers",
    "users",
    "searches",
    "requests/s",
    "p95, ms",
    "API CPU, ms/request",
    "generator CPU",
    "machine CPU",
    "limit",
)
# What a reader must know to judge a result, by name.
Conditions = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """The searches of one configuration.

    `static_rate` are the requests/s on a route that computes nothing, `static_cpu` is the
    generator's CPU meanwhile. When the generator was not busy, the server was the limit there, and
    the rate says nothing about the generator.
    """

    workers: int | None
    searches: tuple[SearchResult, ...]
    static_rate: float
    static_cpu: float = 1.0

    @property
    def users_by_search(self) -> list[int]:
        """Return the maximum users of each search."""
        return [search.users for search in self.searches]

    @property
    def users(self) -> int:
        """Return the median of the searches."""
        return int(median(self.users_by_search))

    @property
    def best(self) -> Step | None:
        """Return the step of the median search."""
        return min(self.searches, key=lambda search: abs(search.users - self.users)).best

    @property
    def limit(self) -> str:
        """Return what stopped the searches.

        It is slo only when it stopped all, with headroom left in the generator.
        """
        is_generator_busy = self.static_cpu >= GENERATOR_CPU
        if is_generator_busy and self.best and self.best.rate > HEADROOM * self.static_rate:
            return "generator"
        for search in self.searches:
            if search.limit != "slo":
                return search.limit
        return "slo"

    @property
    def agree(self) -> bool:
        """Tell whether the searches lie within 10 %."""
        return spread(self.users_by_search) <= AGREEMENT

    @property
    def text(self) -> str:
        """Return the users as a reader should quote them."""
        if self.limit == "slo":
            return f"{self.users:,}"
        return f"at least {self.users:,}"

    @property
    def cpu_per_request_ms(self) -> float | None:
        """Return the API's CPU milliseconds per request.

        None when the API is on another machine.
        """
        step = self.best
        if step is None or step.api_cpu is None or not step.rate:
            return None
        return 1000 * step.api_cpu / step.rate

    def record(self) -> dict[str, object]:
        """Return the entry of build/capacity.json."""
        step = self.best
        return {
            "workers": self.workers,
            "users": self.users,
            "text": self.text,
            "limit": self.limit,
            "searches": self.users_by_search,
            "agree": self.agree,
            "requests_per_second": step and step.rate,
            "p95_ms": step and step.p95_ms,
            "cpu_ms_per_request": self.cpu_per_request_ms,
            "generator_cpu": step and step.generator_cpu,
            "machine_cpu": step and step.machine_cpu,
            "static_requests_per_second": self.static_rate,
            "static_generator_cpu": self.static_cpu,
            "steps": [asdict(search)["steps"] for search in self.searches],
        }


def lines(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return a line of text per configuration, as HEADINGS has it."""
    texts: list[tuple[str, ...]] = []
    for result in results:
        rate = p95 = api_cpu = generator_cpu = machine_cpu = "-"
        step = result.best
        if step:
            rate = f"{step.rate:,.0f}"
            p95 = f"{step.p95_ms:.0f}"
            generator_cpu = f"{step.generator_cpu:.0%}"
            machine_cpu = f"{step.machine_cpu:.0%}"
        if result.cpu_per_request_ms is not None:
            api_cpu = f"{result.cpu_per_request_ms:.2f}"
        workers = str(result.workers or "?")
        searches = str(result.users_by_search).strip("[]")
        load = (rate, p95, api_cpu, generator_cpu, machine_cpu)
        texts.append((workers, result.text, searches, *load, result.limit))
    return texts


def gauges(results: Sequence[Result]) -> dict[str, dict[str, float | None]]:
    """Return the gauges of the searches: by metric, then by number of API workers."""
    values_of: dict[str, dict[str, float | None]] = {}
    for result in results:
        rate = p95 = cpu = None
        if result.best:
            rate = result.best.rate
            p95 = result.best.p95_ms / 1000
        if result.cpu_per_request_ms is not None:
            cpu = result.cpu_per_request_ms / 1000
        values: dict[str, float | None] = {
            "readmit_capacity_users": result.users,
            "readmit_capacity_is_lower_bound": float(result.limit != "slo"),
            "readmit_capacity_requests_per_second": rate,
            "readmit_capacity_p95_seconds": p95,
            "readmit_capacity_cpu_seconds_per_request": cpu,
        }
        for name, value in values.items():
            values_of.setdefault(name, {})[str(result.workers or "?")] = value
    return values_of


def write(folder: Path, conditions: Conditions, results: Sequence[Result]) -> None:
    """Write capacity.json, capacity.png and capacity.html into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    head: Conditions = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "slo": {"p95_ms": P95_MS, "error_share": ERROR_SHARE},
        **conditions,
    }
    document = finite({**head, "results": [result.record() for result in results]})
    text = json.dumps(document, indent=1, default=str, allow_nan=False)
    picture = plot(results)
    (folder / "capacity.json").write_text(text + "\n", encoding="utf-8")
    (folder / "capacity.png").write_bytes(picture)
    (folder / "capacity.html").write_text(page(head, results, picture), encoding="utf-8")


def finite(value: object) -> object:
    """Return a document with null for numbers that JSON does not know.

    Without answers p95 is infinite.
    """
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plot(results: Sequence[Result]) -> bytes:
    """Return a PNG: p95 over users, a point per step, for each configuration; the SLO as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for result in results:
        users = []
        p95_ms = []
        for search in result.searches:
            for step in search.steps:
                if step.rate:
                    users.append(step.users)
                    p95_ms.append(step.p95_ms)
        axes.scatter(users, p95_ms, label=f"API workers: {result.workers or '?'}")
    axes.axhline(P95_MS, color="firebrick", linestyle="--", label=f"SLO: {P95_MS:.0f} ms")
    axes.set(
        xlabel="users",
        ylabel="p95 of the answers, ms",
        yscale="log",
        title="Where does it get too slow?",
    )
    axes.legend()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def page(conditions: Conditions, results: Sequence[Result], picture: bytes) -> str:
    """Return the HTML page, the PNG picture inside."""
    return html_pages.render(
        TEMPLATE,
        headings=HEADINGS,
        lines=lines(results),
        picture=base64.b64encode(picture).decode(),
        conditions=conditions,
    )
