"""Policy objectives: one equation, one short function, over log-probabilities from anywhere.

>>> import numpy as np
>>> from pluralign.objectives import PolicyBatch, dpo
>>> chosen, rejected = np.array([-9.0, -20.0]), np.array([-12.0, -18.0])
>>> ref_chosen, ref_rejected = np.array([-10.0, -20.0]), np.array([-10.0, -20.0])
>>> dpo(PolicyBatch.from_pairs(chosen, rejected, ref_chosen, ref_rejected), beta=0.1).round(4)
array([0.5544, 0.7981])
"""

import difflib

from pluralign.errors import OptionError
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.combine import bound, debiased, diverging, on_policy, parse, smoothed, ties, weighted_sum
from pluralign.objectives.comparisons import (
    apo_down,
    apo_zero,
    cal_dpo,
    discopop,
    dpo_shift,
    dpop,
    f_dpo,
    flex_dpo,
    gpo,
    mappo,
    sppo_hard,
)
from pluralign.objectives.coupled import alpha_dpo, aot, aot_unpaired, beta_dpo, napo, rpo_relative
from pluralign.objectives.length import ld_dpo, ln_dpo, r_dpo, sampo
from pluralign.objectives.lists import exo, infonca, lipo, nca, pl_dpo, pro, rrhf, tree_tpo
from pluralign.objectives.margins import margin_reg, mmpo, odpo, todo
from pluralign.objectives.mixtures import (
    c3po,
    mpo_mixed,
    nll_augmented,
    rationale,
    rationale_dpo,
    sft_fdiv,
    spo_selfsup,
)
from pluralign.objectives.noise import cdpo, rdpo
from pluralign.objectives.objective import FlipRate, Need, NonNegative, Objective, Positive, Rows, Share, objective
from pluralign.objectives.reference import dpo, hinge_norm, ipo
from pluralign.objectives.reference_free import alphapo, asft, cpo, cpo_simpo, orpo, sft, simper, simpo, slic, tpo
from pluralign.objectives.several import dove, mapl, modpo, spo_seq
from pluralign.objectives.tokens import dmpo, fpo, sparse_po, tdpo, wpo
from pluralign.objectives.unpaired import bco, kto, pmpo
from pluralign.objectives.values import Running, Scores, Tokens, Totals

__all__ = [
    "FlipRate",
    "Need",
    "NonNegative",
    "Objective",
    "PolicyBatch",
    "Positive",
    "Rows",
    "Running",
    "Scores",
    "Share",
    "Tokens",
    "Totals",
    "alpha_dpo",
    "alphapo",
    "aot",
    "aot_unpaired",
    "apo_down",
    "apo_zero",
    "asft",
    "bco",
    "beta_dpo",
    "bound",
    "c3po",
    "cal_dpo",
    "catalogue",
    "cdpo",
    "cpo",
    "cpo_simpo",
    "debiased",
    "discopop",
    "diverging",
    "dmpo",
    "dove",
    "dpo",
    "dpo_shift",
    "dpop",
    "exo",
    "f_dpo",
    "find",
    "flex_dpo",
    "fpo",
    "gpo",
    "hinge_norm",
    "infonca",
    "ipo",
    "kto",
    "ld_dpo",
    "lipo",
    "ln_dpo",
    "mapl",
    "mappo",
    "margin_reg",
    "mmpo",
    "modpo",
    "mpo_mixed",
    "napo",
    "nca",
    "nll_augmented",
    "objective",
    "odpo",
    "on_policy",
    "orpo",
    "pl_dpo",
    "pmpo",
    "pro",
    "r_dpo",
    "rationale",
    "rationale_dpo",
    "rdpo",
    "rpo_relative",
    "rrhf",
    "sampo",
    "sft",
    "sft_fdiv",
    "simper",
    "simpo",
    "slic",
    "smoothed",
    "sparse_po",
    "spo_selfsup",
    "spo_seq",
    "sppo_hard",
    "tdpo",
    "ties",
    "todo",
    "tpo",
    "tree_tpo",
    "weighted_sum",
    "wpo",
]


def catalogue() -> dict[str, Objective]:
    """Every objective of the package by name, in the order of their names."""
    return {name: value for name, value in sorted(globals().items()) if isinstance(value, Objective)}


def find(text: str) -> Objective:
    """The objective of this name, or the one an expression describes: `0.8*dpo + 0.2*bco + sft`, `smoothed(simpo)`.

    Raises `OptionError` if there is none, with names that are close.

    >>> find("dpo").name, find("ties(simpo)").name
    ('dpo', 'ties(simpo)')
    """
    known = catalogue()
    if text in known:
        return known[text]
    if text.isidentifier():
        close = difflib.get_close_matches(text, known, n=3)
        near = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise OptionError(f"there is no objective '{text}'{near}; there are {', '.join(known)}")
    return parse(text, known)
