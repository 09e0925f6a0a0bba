"""Objectives made of objectives: weighted sums, label models, divergences, weights; and how they are written.

>>> from pluralign.objectives import find
>>> find("0.8*dpo + 0.2*bco(beta=0.1) + sft").rows
(<Rows.PAIRS: 'pairs'>,)
>>> find("debiased(simpo)")
<objective debiased(simpo): ((1 - eps) * L - eps * L flipped) / (1 - 2 eps),  L: -log sigmoid(beta * ...>
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import expm1, log
from typing import Any, Literal

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods import debiased as debiased_loss
from pluralign.likelihoods import expected
from pluralign.likelihoods.numerics import Array
from pluralign.objectives.batch import PolicyBatch
from pluralign.objectives.objective import (
    FlipRate,
    Inside,
    Need,
    Objective,
    Options,
    Positive,
    Rows,
    declared,
    with_options,
)
from pluralign.objectives.tokens import on_policy_weight
from pluralign.objectives.values import Scores


def _made(
    name: str, doc: str, function: Callable[..., Array], options: Options, parts: Sequence[Objective], **differs: Any
) -> Objective:
    """An objective from a function over the batch; what `differs` leaves out is taken from the parts."""

    def losses(batch: PolicyBatch, **values: Any) -> Array:
        return function(batch, **values)

    losses.__name__, losses.__doc__ = name, doc
    with_options(losses, options)
    first = parts[0]

    def only(part: Objective, values: Mapping[str, Any]) -> dict[str, Any]:
        return _own(part, values)

    def score(batch: PolicyBatch, **values: Any) -> Scores:
        return first._score(_for_part(first, batch), **only(first, values))

    def needs(values: dict[str, Any]) -> set[Need]:
        return {need for part in parts for need in part._needs(only(part, values))}

    tracking = [part for part in parts if part._tracks is not None]

    def tracks(batch: PolicyBatch, **values: Any) -> Array:
        return tracking[0].tracked(_for_part(tracking[0], batch), **only(tracking[0], values))

    given: dict[str, Any] = {
        "paper": "; ".join(dict.fromkeys(part.paper for part in parts)),
        "arxiv": first.arxiv,
        "score": score,
        "needs": needs,
        "rows": tuple(kind for kind in first.rows if all(kind in part.rows for part in parts)),
        "uses": frozenset().union(*(part.uses for part in parts)),
        "refuses": {key: f"{part.name}: {why}" for part in parts for key, why in part.refuses.items()},
        "relative": all(part.relative for part in parts),
        "logistic": False,
        "tracks": tracks if tracking else None,
    }
    return Objective(losses, **{**given, **differs})


def _own(part: Objective, values: Mapping[str, Any]) -> dict[str, Any]:
    """A part's options: those given, else its own defaults."""
    return {
        name: default if values.get(name) is None else values[name] for name, (_, default) in declared(part).items()
    }


def _for_part(part: Objective, batch: PolicyBatch) -> PolicyBatch:
    """The batch without the row fields that this part has no use for and another part asked for."""
    return batch if "margin" in part.uses else replace(batch, margin=0.0)


def bound(objective: Objective, **fixed: Any) -> Objective:
    """The objective with some options fixed; they are no longer options."""
    values = objective.checked(fixed)
    left = {name: about for name, about in declared(objective).items() if name not in fixed}
    fixed = {name: values[name] for name in fixed}
    written = ", ".join(f"{name}={value!r}" for name, value in fixed.items())

    def function(batch: PolicyBatch, **options: Any) -> Array:
        return objective.function(batch, **fixed, **options)

    def score(batch: PolicyBatch, **options: Any) -> Scores:
        return objective._score(batch, **fixed, **options)

    def tracks(batch: PolicyBatch, **options: Any) -> Array:
        return objective.tracked(batch, **fixed, **options)

    return _made(
        f"{objective.name[:-1]}, {written})" if objective.name.endswith(")") else f"{objective.name}({written})",
        objective.doc,
        function,
        left,
        [objective],
        score=score,
        needs=lambda options: objective._needs({**fixed, **options}),
        logistic=objective.logistic,
        tracks=tracks if objective._tracks else None,
    )


def weighted_sum(terms: Sequence[tuple[float, Objective]]) -> Objective:
    """The sum of weight * objective. An option of several terms goes to all of them; rewards are the first term's.

    Left out, an option whose default differs from term to term keeps each term's own (shown as None). Raises
    `OptionError` where no kind of row serves all terms, or two of them keep running statistics.
    """
    parts = [part for _, part in terms]
    name = " + ".join(part.name if weight == 1 else f"{weight:g}*{part.name}" for weight, part in terms)
    for need in (Need.RUNNING, Need.RUNNING_REWARD):
        keepers = [part.name for part in parts if need in part.needs()]
        if len(keepers) > 1:
            raise OptionError(f"'{name}' cannot be: {' and '.join(keepers)} each keep a running statistic of their own")
    options: Options = {}
    for part in parts:
        for key, (hint, default) in declared(part).items():
            known = options.setdefault(key, (hint, default))
            if known[1] != default:
                options[key] = (known[0] | None, None)

    def function(batch: PolicyBatch, **values: Any) -> Array:
        each = (weight * part.function(_for_part(part, batch), **_own(part, values)) for weight, part in terms)
        return sum(each, start=0 * batch.logp[:, 0])

    doc = f"{name}.\n\nUse it as the sum of its terms: " + "; ".join(f"{p.name} = {p.equation}" for p in parts)
    made = _made(name, doc, function, options, parts)
    if not made.rows:
        learns = "; ".join(f"{part.name} learns from {' or '.join(part.rows)}" for part in parts)
        raise OptionError(f"'{name}' cannot be, no kind of row serves all its terms: {learns}")
    shifting = [part for part in parts if Need.RUNNING_REWARD in part.needs()]
    if shifting:
        made._shifts = lambda batch, **values: shifting[0].shifted_reward(
            _for_part(shifting[0], batch), **_own(shifting[0], values)
        )
    return made


def _pairs_only(objective: Objective, word: str) -> tuple[Rows, ...]:
    if Rows.PAIRS not in objective.rows:
        raise OptionError(f"{word}({objective.name}) cannot be: {word} exchanges the two responses of a pair")
    if "probability" in objective.refuses:
        raise OptionError(f"{word}({objective.name}) cannot be: {objective.refuses['probability']}")
    return (Rows.PAIRS,)


def _noise(word: str, doc: str, loss: Callable[[Array, Array, float], Array], objective: Objective) -> Objective:
    rows = _pairs_only(objective, word)

    def function(batch: PolicyBatch, *, flip_rate: float, **options: Any) -> Array:
        right, wrong = (objective.function(b, **options) for b in (batch, batch.flipped()))
        return loss(right, wrong, flip_rate)

    options = declared(objective) | {"flip_rate": (FlipRate, 0.1)}
    return _made(f"{word}({objective.name})", f"{doc}  L: {objective.doc}", function, options, [objective], rows=rows)


def smoothed(objective: Objective) -> Objective:
    """A pairwise objective under labels wrong at flip_rate, averaged over both directions (label smoothing).

    >>> from pluralign.objectives import simpo
    >>> smoothed(simpo).options.model_fields["flip_rate"].default
    0.1
    """
    doc = "(1 - eps) * L + eps * L flipped,"
    return _noise("smoothed", doc, lambda a, b, rate: expected(a, b, 1 - rate), objective)


def debiased(objective: Objective) -> Objective:
    """A pairwise objective whose mean over labels flipped at flip_rate is that on clean ones (robust)."""
    return _noise("debiased", "((1 - eps) * L - eps * L flipped) / (1 - 2 eps),", debiased_loss, objective)


def diverging(objective: Objective) -> Objective:
    """An objective on log-ratios under another f-divergence: log pi / pi_ref becomes f'(pi / pi_ref)."""
    word = f"diverging({objective.name}) cannot be"
    needs = objective.needs()
    if Need.REFERENCE not in needs:
        raise OptionError(f"{word}: a divergence is from a reference, and {objective.name} has none")
    if not objective.relative:
        raise OptionError(f"{word}: f' is known up to a constant, and {objective.name} is not blind to constants")
    if needs & {Need.TOKENS, Need.TOKEN_KL}:
        raise OptionError(f"{word}: it weighs single tokens, and f' is of the whole response")

    def function(batch: PolicyBatch, *, divergence: str, alpha_divergence: float, **options: Any) -> Array:
        return objective.function(batch.diverged(divergence, alpha_divergence), **options)

    def score(batch: PolicyBatch, *, divergence: str, alpha_divergence: float, **options: Any) -> Scores:
        return objective._score(batch.diverged(divergence, alpha_divergence), **options)

    kinds = Literal["reverse_kl", "forward_kl", "jensen_shannon", "alpha"]
    options = declared(objective) | {"divergence": (kinds, "jensen_shannon"), "alpha_divergence": (Inside, 0.5)}
    doc = f"L with f'(pi / pi_ref) for log pi / pi_ref,  L: {objective.doc}"
    logistic = objective.logistic
    return _made(f"diverging({objective.name})", doc, function, options, [objective], score=score, logistic=logistic)


def on_policy(objective: Objective) -> Objective:
    """A pairwise objective with WPO's weights: pairs the policy could have written count more."""
    if "weight" in objective.refuses:
        raise OptionError(f"on_policy({objective.name}) cannot be: {objective.refuses['weight']}")

    def function(batch: PolicyBatch, *, clip: bool, **options: Any) -> Array:
        return on_policy_weight(batch, clip) * objective.function(batch, **options)

    def needs(options: dict[str, Any]) -> set[Need]:
        return objective._needs(_own(objective, options)) | {Need.TOKENS, Need.COLLISION}

    options = declared(objective) | {"clip": (bool, False)}
    doc = f"w_w * w_l * L, w as in wpo,  L: {objective.doc}"
    return _made(f"on_policy({objective.name})", doc, function, options, [objective], needs=needs)


def ties(objective: Objective) -> Objective:
    """A logistic objective that learns from ties too, by Rao and Kupper's model (todo is ties(dpo))."""
    if not objective.logistic:
        raise OptionError(f"ties({objective.name}) cannot be: its loss is not -log sigmoid of a margin")

    def function(batch: PolicyBatch, *, threshold: float, **options: Any) -> Array:
        right, wrong = (_shifted(objective.function(b, **options), threshold) for b in (batch, batch.flipped()))
        tie = 0 * right if batch.tie is None else batch.tie
        return right + tie * (wrong - log(expm1(2 * threshold)))

    options = declared(objective) | {"threshold": (Positive, 0.5)}
    doc = f"-log sigmoid(z - threshold) for a win, -log of what is left for a tie,  -log sigmoid(z): {objective.doc}"
    uses = objective.uses | {"tie"}
    return _made(f"ties({objective.name})", doc, function, options, [objective], uses=uses)


def _shifted(loss: Array, threshold: float) -> Array:
    """logistic(z - threshold) from logistic(z) = loss, without the z: log(1 + e^threshold * (e^loss - 1))."""
    xp = array_namespace(loss)
    # As a sum of three exponentials whose first two dwarf the third where e^loss would overflow.
    small = xp.log1p(xp.exp(threshold + 0 * loss) * xp.expm1(xp.clip(loss, max=1.0)))
    big = xp.clip(loss, min=1.0)
    tail = threshold + big + xp.log1p(-xp.exp(-big) * (1 - xp.exp(-threshold + 0 * big)))
    return xp.where(loss < 1, small, tail)


MODIFIERS = {f.__name__: f for f in (smoothed, debiased, diverging, on_policy, ties)}


def parse(text: str, known: Mapping[str, Objective]) -> Objective:
    """The objective that an expression means: names, `name(option=value)`, `modifier(objective)`, sums, multiples.

    Raises `OptionError` that names the part which cannot be read.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise OptionError(f"'{text}' is neither an objective nor a sum such as 0.8*dpo + 0.2*bco + sft") from None
    terms = list(_terms(tree, known))
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else weighted_sum(terms)


def _terms(tree: ast.expr, known: Mapping[str, Objective], weight: float = 1.0) -> Any:
    match tree:
        case ast.BinOp(left, ast.Add(), right):
            yield from _terms(left, known, weight)
            yield from _terms(right, known, weight)
        case ast.BinOp(ast.Constant(int() | float() as factor), ast.Mult(), inner):
            yield from _terms(inner, known, weight * factor)
        case ast.BinOp(inner, ast.Mult(), ast.Constant(int() | float() as factor)):
            yield from _terms(inner, known, weight * factor)
        case _:
            yield weight, _one(tree, known)


def _one(tree: ast.expr, known: Mapping[str, Objective]) -> Objective:
    match tree:
        case ast.Name(name) if name in known:
            return known[name]
        case ast.Call(ast.Name(name), arguments, keywords) if name in MODIFIERS and len(arguments) == 1:
            made = MODIFIERS[name](parse(ast.unparse(arguments[0]), known))
            return bound(made, **_values(keywords)) if keywords else made
        case ast.Call(ast.Name(name), [], keywords) if name in known:
            return bound(known[name], **_values(keywords)) if keywords else known[name]
    raise OptionError(
        f"'{ast.unparse(tree)}' is no objective and no {', '.join(MODIFIERS)} of one; "
        f"write name, name(option=value), modifier(name), or a sum such as 0.8*dpo + 0.2*bco + sft"
    )


def _values(keywords: list[ast.keyword]) -> dict[str, Any]:
    try:
        return {str(word.arg): ast.literal_eval(word.value) for word in keywords}
    except ValueError:
        written = ", ".join(ast.unparse(word) for word in keywords)
        raise OptionError(f"in '{written}' every option must be a plain number or a quoted word") from None
