"""The command line: one file per command, each a thin wrapper over the Python function of the same name.

A module here that defines a function named like itself becomes a command. Commands import what is heavy (torch,
matplotlib) inside the function, so that `pluralign --help` stays quick.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer

from pluralign.errors import PluralignError

app = typer.Typer(
    name="pluralign",
    help="Learn what people prefer, from any kind of feedback, and make models follow it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _group() -> None:
    """Keep the app a group of commands even while it has only one."""


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _command = importlib.import_module(f"{__name__}.{_module.name}")
        _settings = getattr(_command, "SETTINGS", {})
        app.command(_module.name.replace("_", "-"), **_settings)(getattr(_command, _module.name))


def main() -> None:
    """Run a command. Errors meant for the user are printed as one sentence; exit status 1."""
    try:
        app()
    except PluralignError as error:
        print(f"pluralign: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        print(f"pluralign: {str(stop) or 'stopped'}", file=sys.stderr)
        sys.exit(130)
