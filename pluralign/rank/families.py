"""How a margin between two items becomes a vote: outcome probabilities with their derivatives.

A family says three things about margins d [m], score of one item minus score of the other, with a tie parameter that
is None where it has none. `probabilities`: of winning, losing and tying, [m, 3]. `terms`: the negative log-likelihood
of counts `won` [m, 3] and its derivatives by d, and by the tie parameter. `scores`: the derivative of the
log-likelihood of one vote, by outcome [m, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr, ndtr

Array = NDArray[np.float64]

BLOCK = 1 << 13

FLAT = 36.0
"""Logits beyond which rounding leaves a logistic curve no curvature."""

NODES, MASSES = np.polynomial.hermite_e.hermegauss(21)
MASSES = MASSES / MASSES.sum()


@dataclass(frozen=True)
class Terms:
    """nll: sum, in nats. d, dd: first and second derivative by the margin [m]. tie, tie_tie: by the tie parameter.
    d_tie: mixed, [m]."""

    nll: float
    d: Array
    dd: Array
    tie: float = 0.0
    tie_tie: float = 0.0
    d_tie: Array | None = None


class Family(Protocol):
    """What a model of votes must offer."""

    start: float | None
    """Where the search for the tie parameter begins; None where there is none."""

    def probabilities(self, d: Array, tie: float | None) -> Array:
        """[..., 3]"""

    def terms(self, d: Array, won: Array, tie: float | None, *, value: bool = True) -> Terms:
        """Of all rows together; nll may be NaN where the value is not asked for."""

    def scores(self, d: Array, tie: float | None) -> tuple[Array, Array | None]:
        """By the margin and by the tie parameter, [m, 3] each."""


class Logistic:
    """Bradley-Terry: P(win) = sigmoid(d); a tie counts as half a win and half a loss.

    Zermelo 1929; Bradley and Terry 1952.
    """

    start: float | None = None

    def probabilities(self, d: Array, tie: float | None) -> Array:
        """Of winning, losing and tying."""
        p = expit(d)
        return np.stack([p, 1 - p, np.zeros_like(p)], -1)

    def terms(self, d: Array, won: Array, tie: float | None, *, value: bool = True) -> Terms:
        """Negative log-likelihood and derivatives."""
        nll, slope, curvature = 0.0 if value else np.nan, np.empty_like(d), np.empty_like(d)
        tied = bool(won[:, 2].any())
        # Where no curvature is left, nothing would hold an item.
        flat = max(d.max(initial=0.0), -d.min(initial=0.0)) > FLAT
        # Blocks that stay in the cache: a million pairs at a time would move every temporary through memory.
        for start in range(0, len(d), BLOCK):
            inside = slice(start, start + BLOCK)
            margin, wins = d[inside], won[inside, 0]
            total = wins + won[inside, 1]
            if tied:
                wins = wins + 0.5 * won[inside, 2]
                total += won[inside, 2]
            near = np.clip(margin, -FLAT, FLAT) if flat else margin
            p = np.negative(near)
            np.exp(p, out=p)
            p += 1
            np.divide(1, p, out=p)
            h = np.subtract(1, p, out=curvature[inside])
            expected = total * p
            h *= expected
            np.subtract(expected, wins, out=slope[inside])
            if value:
                # -w log p - (n - w) log(1 - p) = n softplus(d) - w d
                softplus = np.maximum(near, margin) - np.log(p)
                nll += float(total @ softplus - wins @ margin)
        return Terms(nll, slope, curvature)

    def scores(self, d: Array, tie: float | None) -> tuple[Array, Array | None]:
        """Of one vote, by its outcome."""
        p = expit(d)
        return np.stack([1 - p, -p, 0.5 - p], -1), None


class Probit:
    """Thurstone's case V: P(win) = Phi(d), the difference having unit deviation; a tie is half a win and half a loss.

    Thurstone 1927; Mosteller 1951.
    """

    start: float | None = None

    def probabilities(self, d: Array, tie: float | None) -> Array:
        """Of winning, losing and tying."""
        return np.stack([ndtr(d), ndtr(-d), np.zeros_like(d)], -1)

    def terms(self, d: Array, won: Array, tie: float | None, *, value: bool = True) -> Terms:
        """Negative log-likelihood and derivatives."""
        wins, losses = won[:, 0] + 0.5 * won[:, 2], won[:, 1] + 0.5 * won[:, 2]
        up, down = _hazard(d), _hazard(-d)
        nll = -float(wins @ log_ndtr(d) + losses @ log_ndtr(-d))
        return Terms(nll, losses * down - wins * up, wins * up * (up + d) + losses * down * (down - d))

    def scores(self, d: Array, tie: float | None) -> tuple[Array, Array | None]:
        """Of one vote, by its outcome."""
        up, down = _hazard(d), _hazard(-d)
        return np.stack([up, -down, (up - down) / 2], -1), None


def _hazard(d: Array) -> Array:
    """phi(d) / Phi(d), stable far below zero."""
    return np.asarray(np.exp(-0.5 * d * d - 0.5 * np.log(2 * np.pi) - log_ndtr(d)))


class Davidson:
    """P(win) : P(loss) : P(tie) = exp(d / 2) : exp(-d / 2) : nu; the tie parameter is log nu.

    Davidson 1970.
    """

    start: float | None = 0.0

    def probabilities(self, d: Array, tie: float | None) -> Array:
        """Of winning, losing and tying."""
        return np.exp(self._log(d, tie))

    def _log(self, d: Array, tie: float | None) -> Array:
        logits = np.stack([d / 2, -d / 2, np.full_like(d, tie)], -1)
        top = logits.max(-1, keepdims=True)
        return np.asarray(logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True)))

    def terms(self, d: Array, won: Array, tie: float | None, *, value: bool = True) -> Terms:
        """Negative log-likelihood and derivatives."""
        logp = self._log(d, tie)
        p, total = np.exp(logp), won.sum(1)
        mean = (p[:, 0] - p[:, 1]) / 2
        return Terms(
            -float((won * logp)[won > 0].sum()),
            total * mean - (won[:, 0] - won[:, 1]) / 2,
            total * ((p[:, 0] + p[:, 1]) / 4 - mean**2),
            float(total @ p[:, 2] - won[:, 2].sum()),
            float(total @ (p[:, 2] * (1 - p[:, 2]))),
            -total * mean * p[:, 2],
        )

    def scores(self, d: Array, tie: float | None) -> tuple[Array, Array | None]:
        """Of one vote, by its outcome."""
        p = self.probabilities(d, tie)
        mean = (p[:, 0] - p[:, 1]) / 2
        by_d = np.array([0.5, -0.5, 0.0]) - mean[:, None]
        return by_d, np.array([0.0, 0.0, 1.0]) - p[:, 2:]


class RaoKupper:
    """P(win) = sigmoid(d - eta), P(loss) = sigmoid(-d - eta), the rest ties; the tie parameter is eta > 0.

    Rao and Kupper 1967, whose threshold is exp(eta).
    """

    start: float | None = 0.5

    def probabilities(self, d: Array, tie: float | None) -> Array:
        """Of winning, losing and tying."""
        assert tie is not None
        win, loss = expit(d - tie), expit(-d - tie)
        # The product form does not cancel where ties are rare.
        return np.stack([win, loss, np.expm1(2 * tie) * win * loss], -1)

    def terms(self, d: Array, won: Array, tie: float | None, *, value: bool = True) -> Terms:
        """Negative log-likelihood and derivatives."""
        assert tie is not None
        if tie <= 0:
            return Terms(np.inf, d, d)
        wins, losses, ties = won[:, 0] + won[:, 2], won[:, 1] + won[:, 2], float(won[:, 2].sum())
        u, v = expit(tie - d), expit(tie + d)
        nll = wins @ np.logaddexp(0, tie - d) + losses @ np.logaddexp(0, tie + d) - ties * np.log(np.expm1(2 * tie))
        up, down = wins * u * (1 - u), losses * v * (1 - v)
        return Terms(
            float(nll),
            losses * v - wins * u,
            up + down,
            float(wins @ u + losses @ v - ties * 2 / -np.expm1(-2 * tie)),
            float(up.sum() + down.sum() + ties * 4 * np.exp(-2 * tie) / np.expm1(-2 * tie) ** 2),
            down - up,
        )

    def scores(self, d: Array, tie: float | None) -> tuple[Array, Array | None]:
        """Of one vote, by its outcome."""
        assert tie is not None
        u, v = expit(tie - d), expit(tie + d)
        by_tie = np.stack([-u, -v, 2 / -np.expm1(-2 * tie) - u - v], -1)
        return np.stack([u, -v, u - v], -1), by_tie


def averaged(family: Family, tie: float | None, mean: Array, variance: Array) -> Array:
    """Outcome probabilities [m, 3] over normal margins, by Gauss and Hermite.

    >>> averaged(Logistic(), None, np.array([1.0]), np.array([4.0])).round(3).tolist()
    [[0.648, 0.352, 0.0]]
    """
    d = mean[:, None] + np.sqrt(variance)[:, None] * NODES
    p = family.probabilities(d.ravel(), tie).reshape(*d.shape, 3)
    return np.asarray(np.einsum("mkc,k->mc", p, MASSES))


def log_half(family: Family, p: Array) -> Array:
    """Logarithms of outcome probabilities [m, 3]; a tie is half a win and half a loss where the model knows none."""
    log = np.log(np.maximum(p, 1e-300))
    if isinstance(family, Logistic | Probit):
        log[:, 2] = (log[:, 0] + log[:, 1]) / 2
    return np.asarray(log)


def tie_words(ties: str, tie: float) -> str:
    """How a model treats ties, as part of a sentence; tie: nu of Davidson or eta of Rao and Kupper."""
    return {
        "davidson": f"ties by Davidson's model (nu {tie:.3f})",
        "rao-kupper": f"ties by Rao and Kupper's model (eta {tie:.3f})",
        "half": "a tie counts as half a win each",
        "drop": "ties left out",
    }[ties]
