"""Learning while asking: a policy samples, a judge says what it thinks, the policy learns, round after round.

A learner is a pure function of a `SampleBatch`, as an objective is of a `PolicyBatch`. It declares which laws it
samples from, what it asks of the judge and which snapshots it is anchored at; loops and tables carry that out.

>>> import numpy as np
>>> from pluralign.online import SampleBatch, find
>>> samples = SampleBatch(
...     logp=np.log([[0.5, 0.25]]),
...     snapshots={"reference": np.log([[0.4, 0.4]])},
...     preference=np.array([[[0.5, 0.9], [0.1, 0.5]]]),
... )
>>> find("dpo")(samples, beta=1.0).round(4)
array([0.4748])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluralign.online.kl import adapted, estimate
from pluralign.online.learner import DATA, PREVIOUS, REFERENCE, Judge, Learner, Plan, Stage, learner
from pluralign.online.learners import catalogue, direct, find, preferences
from pluralign.online.rewards import Multipliers, overlong, without_length, worst_first
from pluralign.online.samples import Anchors, SampleBatch, SampleTokens

if TYPE_CHECKING:
    from pluralign.online.folder import OnlineRun
    from pluralign.online.loop import run

__all__ = [
    "DATA",
    "PREVIOUS",
    "REFERENCE",
    "Anchors",
    "Judge",
    "Learner",
    "Multipliers",
    "OnlineRun",
    "Plan",
    "SampleBatch",
    "SampleTokens",
    "Stage",
    "adapted",
    "catalogue",
    "direct",
    "estimate",
    "find",
    "learner",
    "overlong",
    "preferences",
    "run",
    "without_length",
    "worst_first",
]


def __getattr__(name: str) -> Any:
    # Learners alone must not cost an import of torch.
    if name == "run":
        from pluralign.online.loop import run

        return run
    if name == "OnlineRun":
        from pluralign.online.folder import OnlineRun

        return OnlineRun
    raise AttributeError(f"module 'pluralign.online' has no attribute '{name}'")
