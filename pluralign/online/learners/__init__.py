"""Learners: losses of what a policy sampled and a judge said, one family a file.

>>> from pluralign.online.learners import find
>>> find("dpo").plan().stages[0].law
{'previous': 1.0}
"""

import difflib

from pluralign.errors import OptionError
from pluralign.objectives import catalogue as objectives
from pluralign.online.learner import Learner
from pluralign.online.learners.direct import direct, preferences
from pluralign.online.learners.exploration import hypo, vpo, xpo
from pluralign.online.learners.games import accelerated, dno, egpo, inpo, nash_md, online_ipo, onpo, spo, sppo
from pluralign.online.learners.policy_gradient import dapo, dr_grpo, grpo, gspo, reinforce, remax, rloo
from pluralign.online.learners.ppo import ppo
from pluralign.online.learners.regression import brain, copg, rebel
from pluralign.online.learners.self_training import curated, own_labels, raft, spa, spin
from pluralign.online.learners.several import constrained, maxmin

__all__ = [
    "accelerated",
    "brain",
    "catalogue",
    "constrained",
    "copg",
    "curated",
    "dapo",
    "direct",
    "dno",
    "dr_grpo",
    "egpo",
    "find",
    "grpo",
    "gspo",
    "hypo",
    "inpo",
    "maxmin",
    "nash_md",
    "online_ipo",
    "onpo",
    "own_labels",
    "ppo",
    "preferences",
    "raft",
    "rebel",
    "reinforce",
    "remax",
    "rloo",
    "spa",
    "spin",
    "spo",
    "sppo",
    "vpo",
    "xpo",
]


def catalogue() -> dict[str, Learner]:
    """Every learner of the package by name, in the order of their names, without `direct` ones."""
    return {name: value for name, value in sorted(globals().items()) if isinstance(value, Learner)}


def find(text: str) -> Learner:
    """The learner of this name, or `direct` of the objective that the text names (`"dpo"`, `"smoothed(simpo)"`).

    Raises `OptionError` if there is neither.
    """
    known = catalogue()
    if text in known:
        return known[text]
    names = [*known, *objectives()]
    if text.isidentifier() and text not in names:
        close = difflib.get_close_matches(text, names, n=3)
        near = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise OptionError(
            f"there is no learner '{text}'{near}; there are {', '.join(known)}, and the objectives that align takes"
        )
    return direct(text)
