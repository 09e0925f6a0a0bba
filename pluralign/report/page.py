"""The look that every page shares: `page.html` (blocks), `page.css`, `charts.html` (macros), and how to fill them."""

from __future__ import annotations

import os
import tempfile
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


def write_whole(path: str | os.PathLike[str], content: str) -> Path:
    """Write `content` to `path` in one step: a reader sees the old file or the new one, never half a file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(content)
        # mkstemp is private to the owner; a page to send round gets the permissions any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
