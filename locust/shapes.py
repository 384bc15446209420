"""Named shapes of load.

`locust -f locust/locustfile.py,locust/shapes.py --shape spike` (or LOAD_SHAPE=spike).

A shape is a list of points (share of the time, share of the users), straight lines between them.
`--peak-users` says how many users 1.0 is, `--shape-seconds` how long the shape lasts; both have a
default per shape. Exit code: 0 when the SLO held over the whole of it.
"""

from dataclasses import dataclass

from capacity_search import ERROR_SHARE, P95_MS
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from locust import LoadTestShape, events


@dataclass(frozen=True)
class Profile:
    """A named shape: its points, and its defaults for users and seconds."""

    points: tuple[tuple[float, float], ...]
    users: int
    seconds: int

    def at(self, share: float) -> float:
        """Return the share of the users at a share of the time (0 to 1)."""
        for (start, low), (end, high) in zip(self.points, self.points[1:], strict=False):
            if share <= end:
                return low + (high - low) * (share - start) / (end - start)
        return self.points[-1][1]


PROFILES = {
    # Does everything answer at all?
    "smoke": Profile(((0, 1), (1, 1)), users=5, seconds=30),
    # A working day: up, hold, down.
    "average": Profile(((0, 0.1), (0.2, 1), (0.9, 1), (1, 0.1)), users=200, seconds=300),
    # Ten times the usual within seconds, and afterwards as before.
    "spike": Profile(
        ((0, 0.1), (0.4, 0.1), (0.45, 1), (0.6, 1), (0.65, 0.1), (1, 0.1)), users=1000, seconds=180
    ),
    # Long enough for leaks to show.
    "soak": Profile(((0, 0.2), (0.02, 1), (1, 1)), users=150, seconds=3600),
}


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    """Add the options of the shapes to locust's."""
    parser.add_argument(
        "--shape",
        choices=sorted(PROFILES),
        default="smoke",
        env_var="LOAD_SHAPE",
        help="named shape",
    )
    parser.add_argument(
        "--peak-users", type=int, default=0, env_var="LOAD_PEAK_USERS", help="users at 1.0"
    )
    parser.add_argument(
        "--shape-seconds", type=int, default=0, env_var="LOAD_SHAPE_SECONDS", help="length of it"
    )


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """End with exit code 0 when the SLO held; Locust's own code asks for no single bad answer."""
    total = environment.stats.total
    is_fast = total.num_requests > 0 and total.get_response_time_percentile(0.95) <= P95_MS
    environment.process_exit_code = 0 if is_fast and total.fail_ratio <= ERROR_SHARE else 1


class Named(LoadTestShape):
    """The shape that `--shape` names."""

    def tick(self) -> tuple[int, float] | None:
        """Return the users to hold now and how many to start per second; None ends the test."""
        options = self.runner.environment.parsed_options if self.runner else None
        if options is None:
            return None
        profile = PROFILES[options.shape]
        share = self.get_run_time() / (options.shape_seconds or profile.seconds)
        if share > 1:
            return None
        peak = options.peak_users or profile.users
        users = max(1, round(peak * profile.at(share)))
        return users, max(1.0, peak / 10)
