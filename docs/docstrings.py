"""How our docstrings become Markdown: doctests as code blocks, `name: meaning` lines as lists."""

import re
from typing import Any

import griffe

DEFINITION = re.compile(r"^([a-z_]+(?:, [a-z_]+)*): (?=\S)")


def to_markdown(text: str) -> str:
    """The docstring with its examples fenced and its definitions listed."""
    lines: list[str] = []
    inside = ""  # "code", "list" or nothing
    for line in text.splitlines():
        if inside != "code" and line.startswith(">>> "):
            lines += ["", "```pycon"]
            inside = "code"
        elif inside == "code" and not line.strip():
            lines.append("```")
            inside = ""
        elif inside != "code" and DEFINITION.match(line):
            if inside != "list":
                lines.append("")
            line = DEFINITION.sub(r"- **\1**: ", line)
            inside = "list"
        elif inside == "list" and not line.startswith(" "):
            lines.append("")
            inside = ""
        lines.append(line)
    return "\n".join([*lines, "```"] if inside == "code" else lines)


class Docstrings(griffe.Extension):
    """Applies `to_markdown` to every docstring before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
