"""Which objective for my data, and by how much: the same model, data, seeds and budget for each, on one page."""

from pluralign._callable import make_callable
from pluralign.compare.comparison import Comparison, compare
from pluralign.compare.plan import Cell, Plan

__all__ = ["Cell", "Comparison", "Plan", "compare"]

make_callable(__name__)
