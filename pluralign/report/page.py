"""The look that every page shares: `page.html` (blocks), `page.css`, `charts.html` (macros), and how to fill them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """A template as one self-contained HTML page.

    The template may say `{% extends "page.html" %}` and `{% import "charts.html" as charts %}`. Every value is escaped:
    feedback is other people's text, and a page that is sent round must not run it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "hello.html"
    >>> _ = path.write_text('{% extends "page.html" %}{% block title %}{{ name }}{% endblock %}')
    >>> "<h1>a &lt;b&gt;</h1>" in render(path, name="a <b>")
    True
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from pluralign import __version__

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(version=__version__, **values)
