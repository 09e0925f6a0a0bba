"""Agreement, calibration, win rates and displacement of a run, each with an interval."""

from pluralign._callable import make_callable
from pluralign.evaluate.evaluation import Evaluation, evaluate
from pluralign.evaluate.figures import Figure

__all__ = ["Evaluation", "Figure", "evaluate"]

make_callable(__name__)
