"""HTML pages from Jinja2 templates. Every page of ours extends `templates/base.html.j2`."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: Path, **values: object) -> str:
    """Return the page of a template.

    Args:
        template: the file; it extends `base.html.j2`.
        values: the variables of the template. They are escaped unless they are `Markup`.

    Raises:
        jinja2.UndefinedError: the template uses a variable that is not among the values.
    """
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def from_markdown(text: str) -> Markup:
    """Return Markdown as HTML. It may contain tables; HTML in it is escaped."""
    from markdown_it import MarkdownIt  # not in the image of the docs site, which makes no pages

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return Markup(parser.render(text))  # noqa: S704 (the parser escapes HTML)
