"""The visit of the running stack: opens each page, does what a step says, and takes pictures."""

import html
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
from playwright.sync_api import (
    BrowserContext,
    Error,
    HttpCredentials,
    Locator,
    Page,
    sync_playwright,
)

from readmit.errors import BadData
from readmit.settings import ROOT, StackSettings
from stack.programs import all_programs, reveal
from tour.scenes import FOLDER, Scene, Step, targets

# A page of 1536 x 732 points is drawn on 1920 x 915 pixels: its text stays readable in the film.
WIDTH = 1536
HEIGHT = 732
# The pictures of the docs need no room for subtitles: Airflow's grid and an answer fit as a whole.
PICTURE_HEIGHT = 1000
SCALE = 1.25
# Commands forget the variables of the shell later on.
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CONTEXT = os.environ.get("CONTEXT", "")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
]
PATIENCE_MS = 60_000
CHARTS_FADE_IN_MS = 1_500
COMMAND_SECONDS = 900
LINES_OF_TERMINAL = 26
EXPERIMENT = "readmission"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
TERMINAL = """<body style="margin:0;background:#14181d;color:#e4e9ee;padding:28px 36px;
font:17px/1.45 'DejaVu Sans Mono',monospace">
<pre id="terminal" style="margin:0;white-space:pre-wrap">
<b style="color:#6fd3c1">$ {command}</b>
{output}</pre></body>"""

# Kept by the browser: Airflow's grid gets half of the page, MLflow's assistant stays closed.
BROWSER_STORAGE = {
    "react-resizable-panels:grid-ltr": (
        '{"details-panel,main-panel": {"expandToSizes": {}, "layout": [44, 56]}}'
    ),
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
STORE = "if (location.protocol.startsWith('http')) Object.assign(localStorage, %s);"

Box = tuple[float, float, float, float]


class SceneFailed(BadData):
    """A page does not show what its scene tells; the message names the scene and the target."""


@dataclass(frozen=True)
class Shot:
    """What a step looks like, in pixels of the pictures."""

    before: Path
    after: Path
    address: str
    clicked: Box | None
    pointed: Box | None


class Visit:
    """A browser on a running stack. Use it as a context: it closes the browser.

    Args:
        settings: those of the running stack.
        folder: gets the pictures.
        fade_ms: for how long charts are given time to appear.
        height: of the pages, in points.
    """

    def __init__(
        self,
        settings: StackSettings,
        folder: Path,
        fade_ms: int = CHARTS_FADE_IN_MS,
        height: int = HEIGHT,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.fade_ms = fade_ms
        self.height = height
        self.targets = targets()
        self.components = {
            "form": f"http://127.0.0.1:{settings.ui_port}",
            "api": settings.api_url,
            "airflow": f"http://127.0.0.1:{settings.airflow_port}",
            "mlflow": settings.mlflow_tracking_uri,
            "docs": f"http://127.0.0.1:{settings.docs_port}",
            "prometheus": f"http://127.0.0.1:{settings.prometheus_port}",
            "grafana": f"http://127.0.0.1:{settings.grafana_port}",
        }
        self.n_pictures = 0

    def __enter__(self) -> Self:
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        self.context = self._new_context(None)
        self.mlflow_context = self.context
        login = self.settings.mlflow_login()
        if login is not None:
            # One of its own: Playwright turns off the cache of a context that has a log-in.
            address = self.settings.mlflow_tracking_uri
            self.mlflow_context = self._new_context(
                {"username": login[0], "password": login[1], "origin": address}
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.browser.close()
        self.playwright.stop()

    def _new_context(self, credentials: HttpCredentials | None) -> BrowserContext:
        context = self.browser.new_context(
            viewport={"width": WIDTH, "height": self.height},
            device_scale_factor=SCALE,
            http_credentials=credentials,
            # Of a page that loads, Chromium draws sixty pictures a second, and none is taken.
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(STORE % json.dumps(BROWSER_STORAGE))
        return context

    def can_show(self, scene: Scene) -> bool:
        """Return whether this stack has what the scene needs."""
        if scene.when == "always":
            return True
        if scene.when == "cluster":
            return bool(CONTEXT)
        if scene.when == "previous":
            model = self._ask_mlflow("registered-models/get", name=self.settings.model_name)
            return '"previous"' in model
        return scene.when in {program.name for program in all_programs(self.settings)}

    def play(self, scene: Scene) -> list[Shot]:
        """Play a scene and return what each of its steps looks like.

        Raises:
            SceneFailed: the page does not show what a step does or points at.
        """
        is_of_mlflow = (scene.page or "").startswith("mlflow/")
        page = (self.mlflow_context if is_of_mlflow else self.context).new_page()
        try:
            address = self._open(page, scene)
        except Error as error:
            raise SceneFailed(f"scene {scene.id} cannot be opened: {error.message}") from error
        shots = []
        for step in scene.steps:
            try:
                shots.append(self._do(page, step, address))
            except Error as error:
                target = step.point or step.target
                page.screenshot(path=str(self.folder / f"failed-{scene.id}.png"))
                raise SceneFailed(
                    f"scene {scene.id}: {page.url} does not show {target}: {error.message}"
                ) from error
        page.close()
        return shots

    def _open(self, page: Page, scene: Scene) -> str:
        """Open what a scene shows, and return the line that stands above it in the film."""
        if scene.command is not None:
            self._run(page, scene.command)
            return "terminal"
        component, _, path = (scene.page or "").partition("/")
        if component not in self.components:
            raise SceneFailed(f"scene {scene.id}: there is no component {component}")
        if "{experiment}" in path:
            experiment = self._ask_mlflow("experiments/get-by-name", experiment_name=EXPERIMENT)
            [number] = re.findall(r'"experiment_id": *"(\d+)"', experiment)
            path = path.replace("{experiment}", number)
        path = path.replace("{model}", quote(self.settings.model_name))
        address = self.components[component]
        if component == "airflow":
            self._log_in_to_airflow(page, f"/{path}")
        elif component == "grafana":
            password = reveal(self.settings.grafana_admin_password)
            page.request.post(f"{address}/login", data={"user": "admin", "password": password})
            page.goto(f"{address}/{path}")
        else:
            response = page.goto(f"{address}/{path}")
            # Debian's Prometheus has its older pages only.
            if component == "prometheus" and response is not None and response.status == 404:
                page.goto(f"{address}/classic/{path}")
        return f"{address}/{path}"

    def _run(self, page: Page, command: str) -> None:
        """Run a command of this repository and show the end of what it prints."""
        command = command.replace("{context}", CONTEXT)
        result = subprocess.run(
            shlex.split(command),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        lines = COLOURS.sub("", result.stdout + result.stderr).rstrip().splitlines()
        output = "\n".join(lines[-LINES_OF_TERMINAL:])
        page.set_content(TERMINAL.format(command=html.escape(command), output=html.escape(output)))
        if result.returncode != 0:
            raise SceneFailed(f"`{command}` failed: {output}")

    def _do(self, page: Page, step: Step, address: str) -> Shot:
        clicked = None
        if step.target is None:
            before = self._picture(page)
        else:
            target = self._visible(page, step.target)
            before = self._picture(page)
            clicked = _box(target)
            self._act(page, target, step)
        pointed = None
        if step.point is not None:
            target = self._visible(page, step.point)
            page.wait_for_timeout(self.fade_ms)
            pointed = _box(target)
        after = self._picture(page)
        if page.url.startswith("http"):
            address = page.url
        return Shot(before, after, address, clicked, pointed)

    def _act(self, page: Page, target: Locator, step: Step) -> None:
        if step.fill is not None:
            target.fill(step.fill.text)
            target.blur()  # the next field would show its tooltip
        elif step.upload is not None:
            target.locator("input[type=file]").set_input_files(FOLDER / step.upload.text)
        else:
            target.click()
            page.mouse.move(0, 0)  # what appears below a mouse would cover the page
        page.wait_for_timeout(self.fade_ms)

    def _visible(self, page: Page, name: str) -> Locator:
        target = page.locator(self.targets[name]).first
        target.wait_for(state="visible")
        # Playwright's own scrolling fails where a page draws itself anew, as MLflow's does.
        target.evaluate("element => element.scrollIntoViewIfNeeded()")
        return target

    def _picture(self, page: Page) -> Path:
        self.n_pictures += 1
        path = self.folder / f"page-{self.n_pictures:03}.png"
        page.screenshot(path=str(path))
        return path

    def _log_in_to_airflow(self, page: Page, path: str) -> None:
        address = self.components["airflow"]
        page.goto(f"{address}/auth/login?next={quote(address + path, safe='')}")
        if "/auth/login" in page.url:
            page.get_by_label("Username").fill("admin")
            page.get_by_label("Password").fill(reveal(self.settings.airflow_admin_password))
            page.get_by_role("button", name=re.compile("sign in|log ?in", re.IGNORECASE)).click()
        page.wait_for_url(f"{address}{path}**")

    def _ask_mlflow(self, path: str, **parameters: str) -> str:
        response = httpx.get(
            f"{self.settings.mlflow_tracking_uri}/api/2.0/mlflow/{path}",
            params=parameters,
            auth=self.settings.mlflow_login(),
            trust_env=False,
        )
        return response.raise_for_status().text


def _box(target: Locator) -> Box | None:
    """Return left, top, right and bottom of what is visible of a target, in pixels."""
    box = target.bounding_box()
    if box is None:
        return None
    left = max(box["x"], 0)
    top = max(box["y"], 0)
    right = min(box["x"] + box["width"], WIDTH)
    bottom = min(box["y"] + box["height"], HEIGHT)
    return (left * SCALE, top * SCALE, right * SCALE, bottom * SCALE)
