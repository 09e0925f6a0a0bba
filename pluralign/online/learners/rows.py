"""Judged draws as the rows that offline objectives take: pairs, single labelled responses, ranked lists.

Each function gives the rows of all prompts as a `PolicyBatch`, and how much each counts for its prompt, shape
[B, ...]; None where they count by their weight alone, whatever prompt they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from pluralign.errors import OptionError
from pluralign.likelihoods.numerics import Array
from pluralign.objectives import PolicyBatch, Tokens
from pluralign.online.samples import Anchors, SampleBatch

Rows = tuple[PolicyBatch, Array | None]


def all_pairs(batch: SampleBatch, anchors: Anchors, _: object = None) -> Rows:
    """Every ordered pair, [B*K*K, 2], as often as it is drawn and that order is preferred, [B, K, K].

    The shares of a prompt sum to 1, or less where the judge gave no answer (both orders 0).
    """
    uniform = None if batch.uniform is None else array_namespace(batch.uniform).reshape(batch.uniform, (-1,))
    return _rows(batch, anchors, _pairs, _signs(batch), batch.won, uniform=uniform), batch.won


def likelier_pairs(batch: SampleBatch, anchors: Anchors, _: object = None) -> Rows:
    """Every two draws once, [n, 2], the likelier preferred first; those of which neither is are left out."""
    return _ordered(batch, anchors, batch.known("preference") > 0.5)


def rated_pairs(batch: SampleBatch, anchors: Anchors, _: object = None) -> Rows:
    """Every two draws once, [n, 2], the one with the higher reward first; those rewarded alike are left out."""
    reward = batch.known("reward")
    return _ordered(batch, anchors, reward[:, :, None] > reward[:, None, :])


def _ordered(batch: SampleBatch, anchors: Anchors, better: Array) -> Rows:
    xp = array_namespace(batch.logp)
    drawn = batch.pairs if batch.weight is None else batch.weight[:, None, None] * batch.pairs
    chosen = xp.reshape(better & (drawn > 0), (-1,))
    weight = xp.reshape(drawn, (-1,))[chosen]
    uniform = None if batch.uniform is None else xp.reshape(batch.uniform, (-1,))[chosen]
    made = _rows(
        batch, anchors, lambda v: _pairs(v)[chosen], _signs(batch)[chosen], None, weight=weight, uniform=uniform
    )
    return made, None


def _pairs(values: Array) -> Array:
    """Every two columns of [B, K, ...], in both orders, [B*K*K, 2, ...]."""
    xp = array_namespace(values)
    wide = values[:, :, None] + 0 * values[:, None, :], values[:, None, :] + 0 * values[:, :, None]
    return xp.stack([xp.reshape(side, (-1, *values.shape[2:])) for side in wide], axis=1)


def _signs(batch: SampleBatch) -> Array:
    """+1 for the first of every pair and -1 for the second, [B*K*K, 2]."""
    xp = array_namespace(batch.law)
    one = xp.ones_like(_pairs(batch.law)[:, 0])
    return xp.stack((one, -one), axis=1)


def labelled(batch: SampleBatch, anchors: Anchors, threshold: float | None = None) -> Rows:
    """Every draw as a good response and as a bad one, [2*B*K, 1], as often as it is that, [B, K, 2].

    Good: as often as it is preferred to another draw, or where its reward is at least the threshold.
    """
    xp = array_namespace(batch.logp)
    good = batch.win_rate if threshold is None else xp.astype(batch.known("reward") >= threshold, batch.logp.dtype)

    def twice(values: Array) -> Array:
        wide = xp.stack((values, values), axis=2)
        return xp.reshape(wide, (wide.shape[0] * wide.shape[1] * 2, 1, *values.shape[2:]))

    one = xp.ones_like(batch.law)
    sign = xp.reshape(xp.stack((one, -one), axis=2), (-1, 1))
    shares = xp.stack((batch.law * good, batch.law * (1 - good)), axis=2)
    return _rows(batch, anchors, twice, sign, shares), shares


def ranked(batch: SampleBatch, anchors: Anchors, _: object = None) -> Rows:
    """The draws of each prompt as one list, [B, K], ordered and rated by how often each is preferred to the others.

    Raises `OptionError` where the columns are not draws: of all responses there are no list is drawn.
    """
    xp = array_namespace(batch.logp)
    if batch.exact:
        raise OptionError("a ranked list is made of draws; in the lab, say how many a prompt with group=")
    wins = batch.win_rate
    order = xp.argsort(-wins, axis=1, stable=True)

    def sorted_(values: Array) -> Array:
        places = xp.reshape(order, (*order.shape, *(1 for _ in values.shape[2:])))
        return xp.take_along_axis(values, xp.broadcast_to(places, values.shape), axis=1)

    first = xp.astype(xp.cumulative_sum(xp.ones_like(wins), axis=1) == 1, wins.dtype)
    shares = xp.ones_like(wins[:, :1])
    return _rows(batch, anchors, sorted_, 2 * first - 1, shares, rating=sorted_(wins)), shares


def _rows(
    batch: SampleBatch,
    anchors: Anchors,
    arranged: Callable[[Array], Array],
    sign: Array,
    shares: Array | None,
    **fields: Any,
) -> PolicyBatch:
    """The rows that `arranged` makes of columns [B, K, ...], each weighed by its share of its prompt's weight."""
    xp, tokens = array_namespace(batch.logp), batch.tokens
    if shares is not None:
        whole = xp.ones_like(batch.logp[:, 0]) if batch.weight is None else batch.weight
        fields["weight"] = xp.reshape(shares * xp.reshape(whole, (-1, *(1 for _ in shares.shape[1:]))), (-1,))
    if batch.reward is not None:
        fields.setdefault("rating", arranged(batch.reward))
    if tokens is not None and tokens.logp is not None:
        fields["tokens"] = Tokens(
            mask=arranged(tokens.mask),
            logp=arranged(tokens.logp),
            ref_logp=arranged(tokens.anchor(anchors)),
            kl=None if tokens.reference_kl is None else arranged(tokens.reference_kl),
            turn=arranged(0 * tokens.mask),
            uniform=None if tokens.uniform is None else arranged(tokens.uniform),
        )
    return PolicyBatch(
        logp=arranged(batch.logp),
        length=None if batch.length is None else arranged(batch.length),
        sign=sign,
        ref_logp=arranged(batch.anchor(anchors)),
        **fields,
    )
