"""Plots and the self-contained HTML page. Never imports torch."""

from pluralign._callable import make_callable
from pluralign.report.runs import report

__all__ = ["report"]

make_callable(__name__)
