"""The populations that `fit` knows by name, each made for some answers and K groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pluralign.errors import OptionError
from pluralign.models.answers import Answers
from pluralign.models.attribute_attention import AttributeAttention
from pluralign.models.few_shot import FewShot
from pluralign.models.hierarchical import Hierarchical
from pluralign.models.mixture import MixtureModel
from pluralign.models.multi_source import MultiSource
from pluralign.models.population import Population
from pluralign.models.preference_model import TRAINING, PreferenceModel
from pluralign.models.routed import RoutedMixture
from pluralign.models.scores import IdealPoint, LowRank, Score, TwoTower
from pluralign.models.variational import Variational

Options = dict[str, Any]


def build(answers: Answers, population: str, k: int, options: Options) -> Population:
    """A population of this kind that is not fitted yet. Raises `OptionError` for options that it does not take."""
    try:
        return KINDS[population](answers, k, options)
    except TypeError as error:
        raise OptionError(f"population {population!r}: {str(error).partition('() ')[2]}") from None


def _prototypes(score: type[Score], of_score: Options, k: int, options: Options) -> PreferenceModel:
    """A score over K prototypes: options that training knows are its own, the rest are the score's."""
    names = set(TRAINING)
    of_score = of_score | {name: value for name, value in options.items() if name not in names}
    training = {"epochs": 40, "batch": 512, **{name: options[name] for name in names & set(options)}}
    return PreferenceModel(score(groups=k, **of_score), **training)


def _ideal_point(answers: Answers, k: int, options: Options) -> Population:
    size = answers.items.shape[1]
    of_score = {"features": size, "distance": "squared", "projector": "linear", "width": min(size, 16)}
    return _prototypes(IdealPoint, of_score, k, options)


def _two_tower(answers: Answers, k: int, options: Options) -> Population:
    size, prompts = answers.items.shape[1], _prompts(answers)
    return _prototypes(TwoTower, {"features": size, "prompt_features": prompts, "width": min(size, 64)}, k, options)


def _low_rank(answers: Answers, k: int, options: Options) -> Population:
    return _prototypes(LowRank, {"features": answers.items.shape[1]}, k, options)


def _mixture(answers: Answers, k: int, options: Options) -> Population:
    return MixtureModel(k, **options)


def _prompts(answers: Answers) -> int:
    """Features of a prompt. Raises `OptionError` where there are none."""
    if answers.prompts is None:
        raise OptionError("this population reads prompts; give feedback with prompts, or Answers with their features")
    return answers.prompts.shape[1]


def _routed(answers: Answers, k: int, options: Options) -> Population:
    _prompts(answers)
    return RoutedMixture(k, **options)


def _hierarchical(answers: Answers, k: int, options: Options) -> Population:
    return Hierarchical(**({**options, "spread": 0.0} if k == 1 else options))


def _variational(answers: Answers, k: int, options: Options) -> Population:
    return Variational(k - 1, **options)


def _few_shot(answers: Answers, k: int, options: Options) -> Population:
    return FewShot(k - 1, **options)


def _attribute_attention(answers: Answers, k: int, options: Options) -> Population:
    communities = 1 if k == 1 else len(answers.people)
    of_score = {"features": answers.items.shape[1]}
    return _prototypes(AttributeAttention, of_score, communities, {**options, "apart": communities > 1})


def _multi_objective(answers: Answers, k: int, options: Options) -> Population:
    return MultiSource(**options)


KINDS: dict[str, Callable[[Answers, int, Options], Population]] = {
    "ideal-point": _ideal_point,
    "two-tower": _two_tower,
    "low-rank": _low_rank,
    "mixture": _mixture,
    "routed": _routed,
    "hierarchical": _hierarchical,
    "variational": _variational,
    "few-shot": _few_shot,
    "attribute-attention": _attribute_attention,
    "multi-objective": _multi_objective,
}
READ_PROMPTS = {"two-tower", "routed"}
"""Of these, those that read prompts and responses apart."""
MOST = {"hierarchical": 2, "attribute-attention": 2, "multi-objective": 1}
"""Of those without groups: 1 stands for one crowd, 2 for everybody apart."""
