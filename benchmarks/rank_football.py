"""All international football matches, 1872 to 2019: ratings over time, and who predicts 2010 to 2019 best.

    python -m benchmarks.rank_football --data FOLDER

FOLDER holds results.csv.gz. Rewrites docs/rank-football.md and its two pictures; takes some minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit

from benchmarks.data_page import publish
from benchmarks.rank_football_page import page, predictions_picture, ratings_picture
from pluralign.rank import BradleyTerry, Elo, Glicko2, TrueSkill, Votes, WholeHistory
from pluralign.rank.families import Davidson
from pluralign.rank.stream import VALUE, Stream, log_loss, sides

Array = NDArray[np.float64]

START, JUDGED = 14_610.0, 7_305.0
"""Days since 1970: 2010-01-01, where the test begins, and 1990-01-01, from where the past is predicted for tuning."""

REFIT = 28.0
"""Days between fits of the models that look at everything at once; streams look at every match."""


@dataclass(frozen=True)
class Forecast:
    """name, settings: for people. p: [m, 3] of home (or left) win, loss and draw for every match of the test."""

    name: str
    settings: str
    p: Array


def stream(name: str, make: Callable[..., Stream], start: dict[str, float], votes: Votes) -> Forecast:
    """A stream whose parameters predicted 1990 to 2009 best, and what it says of every match before it is played.

    start: positive parameters to begin the search with. A share of a win becomes win, draw and loss by Davidson's
    model, whose slope and share of draws are those of 1990 to 2009 as well.
    """
    assert votes.days is not None
    past = votes.where(votes.days < START)
    assert past.days is not None
    judged = past.days >= JUDGED
    points = VALUE[past.outcome]

    def loss(logs: Array) -> float:
        options = dict(zip(start, np.exp(logs).tolist(), strict=True))
        return log_loss(make(**options).fit(past).expected_[judged], points[judged])

    found = minimize(
        loss,
        np.log(list(start.values())),
        method="Nelder-Mead",
        options={"maxfev": 80, "xatol": 0.03, "fatol": 1e-5, "initial_simplex": _simplex(np.log(list(start.values())))},
    )
    options = dict(zip(start, np.exp(found.x).tolist(), strict=True))
    expected = make(**options).fit(votes).expected_
    margin = logit(expected)
    then = (votes.days >= JUDGED) & (votes.days < START)
    slope, tie = _calibrated(margin[then], votes.outcome[then])
    p = Davidson().probabilities(slope * margin[votes.days >= START], tie)
    settings = ", ".join(f"{key} {value:.3g}" for key, value in options.items())
    return Forecast(name, settings, p)


def _simplex(centre: Array) -> Array:
    """Corners a factor of two apart: the parameters are scales."""
    return np.vstack([centre, centre + np.log(2) * np.eye(len(centre))])


def _calibrated(margin: Array, outcome: NDArray[np.int8]) -> tuple[float, float]:
    """Slope of margins and log nu of Davidson's model that make these outcomes most likely."""
    won = np.eye(3)[outcome]

    def loss(x: Array) -> float:
        return Davidson().terms(x[0] * margin, won, x[1]).nll / len(margin)

    found = minimize(loss, np.array([1.0, 0.0]), method="BFGS")
    return float(found.x[0]), float(found.x[1])


def refitted(name: str, model: WholeHistory | BradleyTerry, votes: Votes) -> Forecast:
    """A model that is fitted to everything before a stretch of days, predicts it, and goes on to the next."""
    assert votes.days is not None
    names = np.array(votes.items, dtype=object)
    edges = np.arange(START, votes.days.max() + REFIT, REFIT)
    side, parts = sides(votes), []
    for number, low in enumerate(edges):
        fresh = (votes.days >= low - REFIT) & (votes.days < low)
        if isinstance(model, WholeHistory) and number:
            model.update(votes.where(fresh))
        else:
            model.fit(votes.where(votes.days < low))
        ahead = (votes.days >= low) & (votes.days < low + REFIT)
        if not ahead.any():
            continue
        a, b = names[votes.left[ahead]], names[votes.right[ahead]]
        if isinstance(model, WholeHistory):
            parts.append(model.predict_proba(a, b, votes.days[ahead], side[ahead]))
        else:
            margin = model.scores_[votes.left[ahead]] - model.scores_[votes.right[ahead]]
            margin = margin + model.coefficients_["order"] * side[ahead]
            parts.append(model.family_.probabilities(margin, model.solution_.tie))
    settings = f"drift {model.variance_:.3g} squared logits a day" if isinstance(model, WholeHistory) else ""
    return Forecast(name, settings, np.concatenate(parts))


def base_rate(votes: Votes) -> Forecast:
    """How often the home side won, lost and drew until 2009, on home ground and on neutral ground."""
    assert votes.days is not None
    past, home = votes.days < START, sides(votes) > 0
    p = np.empty((len(votes), 3))
    for ground in (home, ~home):
        count = np.bincount(votes.outcome[past & ground], minlength=3).astype(float)
        # Nobody is at home on neutral ground, where the order of names means nothing.
        if ground is not home:
            count[:2] = count[:2].mean()
        p[ground] = count / count.sum()
    return Forecast("rates of home wins and draws", "home and neutral ground apart", p[votes.days >= START])


def forecasts(votes: Votes) -> list[Forecast]:
    """Every model's predictions of 2010 to 2019."""
    assert votes.days is not None
    past = votes.where(votes.days < START)
    history = WholeHistory(ties="davidson", order=True).fit(past)
    chosen = WholeHistory(ties="davidson", order=True, variance=history.variance_)
    static = BradleyTerry(ties="davidson", order=True, virtual=1.0)
    draws = float((past.outcome == 2).mean())

    def trueskill(**options: float) -> TrueSkill:
        return TrueSkill(draws=draws, **options)

    return [
        refitted("whole-history rating", chosen, votes),
        stream("Glicko-2", Glicko2, {"deviation": 200.0, "volatility": 0.06, "period": 30.0, "order": 80.0}, votes),
        stream("TrueSkill", trueskill, {"deviation": 5.0, "drift": 0.2, "order": 2.0}, votes),
        stream("Elo", Elo, {"k": 20.0, "order": 80.0}, votes),
        refitted("Bradley-Terry, no drift", static, votes),
        base_rate(votes),
    ]


def football(folder: Path) -> str:
    """The page, as Markdown; writes its pictures."""
    votes = Votes.of(folder / "results.csv.gz")
    history = WholeHistory(ties="davidson", order=True).fit(votes)
    ratings_picture(history, "rank-football.png")
    assert votes.days is not None
    test = votes.where(votes.days >= START)
    found = {forecast.name: forecast for forecast in forecasts(votes)}
    losses = {name: -np.log(f.p[np.arange(len(test)), test.outcome]) for name, f in found.items()}
    points = VALUE[test.outcome]
    shares = {name: log_loss(f.p[:, 0] + f.p[:, 2] / 2, points) for name, f in found.items()}
    settings = {name: f.settings for name, f in found.items()}
    predictions_picture(losses, test, "rank-football-predictions.png")
    return page(history, votes, test, losses, shares, settings)


if __name__ == "__main__":
    publish(
        football,
        "Football: ratings over time",
        "the [results of international matches](https://github.com/martj42/international_results) (CC0)",
    )
