"""Every method the project promises, and where it is. Its own promises are tests whose names begin with its key."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest

from pluralign.objectives import catalogue

KEYS = """
sft dpo cdpo rdpo ipo slic rrhf kto bco cpo simpo alphapo alpha_dpo simper orpo asft tpo
ln_dpo r_dpo ld_dpo sampo tdpo sparse_po fpo dmpo rise
gpo f_dpo exo nca apo aot discopop sppo_hard cal_dpo dpop dpo_shift flex_dpo mappo nll_augmented mpo_mixed tr_dpo
odpo mmpo margin_reg todo napo beta_dpo wpo sem_dpo ddpo crpo
rpo_relative dove pmpo pl_dpo lipo pro tree_tpo
modpo spo_seq ra_dpo rationale_dpo spo_selfsup mapl c3po curry_dpo selective_dpo sft_fdiv
ranking_accuracy ches learning_dynamics mode_seeking
prefix_sharing fused_logprob padding_free ref_cache
"""
CARDS = KEYS.split()

ELSEWHERE = {
    # Under more than one name, or no loss of their own: what else there is beside the objective of this name.
    "apo": ["objectives:apo_zero", "objectives:apo_down"],
    "slic": ["objectives:slic", "objectives:hinge_norm"],
    "cpo": ["objectives:cpo", "objectives:cpo_simpo"],
    "nca": ["objectives:nca", "objectives:infonca"],
    "aot": ["objectives:aot", "objectives:aot_unpaired"],
    "bco": ["objectives:bco", "feedback.recipes:bco_match"],
    "rationale_dpo": ["objectives:rationale_dpo", "objectives:rationale", "feedback.recipes:rationale"],
    "spo_selfsup": ["objectives:spo_selfsup", "feedback.recipes:degraded", "train.heads:DegreeHead"],
    "sparse_po": ["objectives:sparse_po", "train.heads:MaskHead"],
    "mapl": ["objectives:mapl", "feedback.recipes:mapl"],
    "wpo": ["objectives:wpo", "objectives:on_policy"],
    "f_dpo": ["objectives:f_dpo", "objectives:diverging"],
    "rdpo": ["objectives:rdpo", "objectives:debiased"],
    "cdpo": ["objectives:cdpo", "objectives:smoothed"],
    "todo": ["objectives:todo", "objectives:ties"],
    "mpo_mixed": ["objectives:mpo_mixed", "objectives:weighted_sum"],
    # Data.
    "rise": ["feedback.recipes:rise"],
    "sem_dpo": ["feedback.recipes:sem_dpo"],
    "ddpo": ["feedback.recipes:ddpo"],
    "crpo": ["feedback.recipes:crpo"],
    "ra_dpo": ["feedback.recipes:ra_dpo"],
    "curry_dpo": ["feedback.recipes:curry_dpo", "train.rounds:align_rounds"],
    "selective_dpo": ["feedback.recipes:selective_dpo", "evaluate.difficulty:difficulty"],
    # Training, policy.
    "tr_dpo": ["train.moving:MovingReference"],
    "ref_cache": ["policy.reference:ReferenceCache"],
    "prefix_sharing": ["policy.layout:packed"],
    "padding_free": ["policy.attention:packed_attention"],
    "fused_logprob": ["policy.head:token_statistics"],
    # Diagnostics.
    "ranking_accuracy": [
        "evaluate.measures:Pairs",
        "evaluate.measures:idealised_accuracy",
        "evaluate.figures:idealised",
    ],
    "ches": ["evaluate.ches:ches"],
    "learning_dynamics": ["evaluate.diagnostics:distinguishability"],
    "mode_seeking": ["evaluate.diagnostics:peak_overlap"],
    "flex_dpo": ["objectives:flex_dpo", "evaluate.diagnostics:gradient_ratio"],
}

ENGINE = {"ref_cache", "prefix_sharing", "fused_logprob", "padding_free"}
"""Tested in tests/policy under the names of what they are made of."""


def places(card: str) -> list[str]:
    return ELSEWHERE.get(card, [f"objectives:{card}"])


@pytest.mark.parametrize("card", CARDS)
def test_every_card_is_somewhere(card: str) -> None:
    for place in places(card):
        module, _, name = place.partition(":")
        found = getattr(importlib.import_module(f"pluralign.{module}"), name)
        assert callable(found), place
        assert inspect.getdoc(found), place
        if module == "objectives" and name == card:
            assert card in catalogue()


def test_the_list_is_whole() -> None:
    assert len(CARDS) == len(set(CARDS)) == 77
    assert set(ELSEWHERE) <= set(CARDS)


@functools.cache
def names_of_tests() -> str:
    folder = Path(__file__).parents[1]
    return "\n".join(
        name for path in sorted(folder.rglob("test_*.py")) for name in re.findall(r"def (test_\w+)", path.read_text())
    )


@pytest.mark.parametrize("card", [c for c in CARDS if c not in ENGINE])
def test_every_card_has_a_test_of_its_name(card: str) -> None:
    """`pytest -k KEY` finds the promises of a card."""
    assert re.search(rf"^test_(\w+_)?{card}(_|$)", names_of_tests(), re.MULTILINE)
