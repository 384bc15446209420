"""Hooks of MkDocs for the guide (`mkdocs.yml`): root pages, decisions, diagrams.

Source of the hooks' names and arguments: MkDocs, "Developing plugins".
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# Pages that stand where their readers look for them, at the root of the repository.
ROOT_PAGES = {
    "README.md": "index.md",
    "README.es.md": "index.es.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
}
DECISIONS = "adr/index.md"
FAVICON = Path(__file__).parent / "assets" / "favicon.png"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every decision (ADR) in the navigation."""
    decisions = [DECISIONS, *_decisions(Path(config.docs_dir))]
    config.nav = [*(config.nav or []), {"Decisions": decisions}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, an index of the decisions, and the icon."""
    for source, name in ROOT_PAGES.items():
        text = (ROOT / source).read_text()
        content = text.replace("](docs/adr/)", f"]({DECISIONS})").replace("](docs/", "](")
        for linked, page in ROOT_PAGES.items():
            content = content.replace(f"]({linked}", f"]({page}")
        files.append(File.generated(config, name, content=content))
    lines = ["# Decisions", "", "Why things are as they are, one decision a page.", ""]
    for name in _decisions(Path(config.docs_dir)):
        title = (Path(config.docs_dir) / name).read_text().splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({Path(name).name})")
    files.append(File.generated(config, DECISIONS, content="\n".join(lines)))
    files.append(File.generated(config, FAVICON.name, content=FAVICON.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of `docs/` to the copies of their pages, and load Mermaid where it draws."""
    del config, files
    for source, name in ROOT_PAGES.items():
        markdown = markdown.replace(f"](../{source})", f"]({name})")
    markdown = markdown.replace("](adr/)", f"]({DECISIONS})")
    if "```mermaid" in markdown:
        to_root = "../" * page.url.count("/")
        markdown += f'\n\n<script src="{to_root}javascripts/mermaid.min.js"></script>\n'
    return markdown


def _decisions(docs: Path) -> list[str]:
    """Return the paths of all decisions below `docs/`, in their order."""
    return [f"adr/{path.name}" for path in sorted((docs / "adr").glob("[0-9]*.md"))]
