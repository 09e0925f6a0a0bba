"""What 5,000 people like on their sushi, and how many tastes they have.

    python -m benchmarks.rank_sushi --data FOLDER

FOLDER holds sushi_rankings.csv: one row a person, one column a kind, 1 the best. Rewrites docs/rank-sushi.md and its
pictures; takes some minutes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.data_page import BLUE, GREY, ORANGE, axes, publish, save, table
from pluralign.rank import Mallows, Mixture, Rankings, rank

Array = NDArray[np.float64]

MOST = 8
"""Tastes tried."""
SHOWN = 3
"""Tastes looked at closely."""


def place_shares(rankings: Rankings) -> Array:
    """[n, n] share of whole rankings that put the item of the row on the place of the column."""
    n = rankings.n
    place = np.tile(np.arange(n), len(rankings))
    return np.bincount(rankings.flat * n + place, minlength=n * n).reshape(n, n) / len(rankings)


def drawn(scores: Array, shares: Array, draws: int = 200_000) -> Array:
    """[n, n] the same shares under a mixture of Plackett-Luce with these scores [k, n]."""
    rng = np.random.default_rng(0)
    taste = rng.choice(len(shares), size=draws, p=shares / shares.sum())
    utility = scores[taste] + rng.gumbel(size=(draws, scores.shape[1]))
    n = scores.shape[1]
    order = np.argsort(-utility, 1)
    return np.asarray(np.bincount((order * n + np.arange(n)).ravel(), minlength=n * n).reshape(n, n) / draws)


def tastes_picture(model: Mixture, name: str) -> None:
    """Scores by taste, kinds in the order of the whole crowd's mean place."""
    k, n = model.scores_.shape
    order = np.argsort(-(model.shares_ @ model.scores_))
    figure, panel = axes(1.9 + 1.05 * k, 4.6)
    most = float(np.abs(model.scores_).max())
    panel.imshow(model.scores_[:, order].T, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for row, item in enumerate(order):
        for c in range(k):
            score = model.scores_[c, item]
            panel.text(
                c, row, f"{score:+.1f}", ha="center", va="center", color="w" if abs(score) > 0.6 * most else "#222222"
            )
    panel.set_xticks(range(k), [f"taste {c + 1}\n{share:.0%}" for c, share in enumerate(model.shares_)])
    panel.set_yticks(range(n), [model.items_[i] for i in order])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    save(figure, name)


def places_picture(seen: Array, one: Array, many: Array, item: int, kind: str, losses: Array, name: str) -> None:
    """Left: log-loss of people left out by number of tastes. Right: where people put one kind, and models expect it."""
    figure, (left, right) = axes(9.6, 3.8, 2)
    k = np.arange(1, len(losses) + 1)
    left.plot(k, losses, "o-", color=BLUE, markersize=5)
    left.set_xlabel("tastes")
    left.set_ylabel("log-loss of people left out, nats")
    left.grid(axis="y", color="#dddddd", linewidth=0.6)
    places = np.arange(1, len(seen) + 1)
    right.bar(places, seen[item], color="#b9c7da", label="people")
    right.plot(places, one[item], "o--", color=GREY, markersize=4, label="one taste")
    right.plot(places, many[item], "o-", color=ORANGE, markersize=4, label=f"{SHOWN} tastes")
    right.set_xticks(places)
    right.set_xlabel(f"place of {kind}")
    right.set_ylabel("share of people")
    right.legend(frameon=False)
    save(figure, name)


def page(folder: Path) -> str:
    """The page, as Markdown; writes its pictures."""
    rankings = Rankings.of(folder / "sushi_rankings.csv")
    board = rank(rankings, "plackett-luce")
    people, n = len(rankings), rankings.n
    mallows = Mallows().fit(rankings)
    chosen = Mixture(most=MOST, restarts=4).fit(rankings)
    shown = Mixture(SHOWN, restarts=10).fit(rankings)
    assert chosen.held_out_ is not None
    losses = chosen.held_out_["loss"].to_numpy()
    seen = place_shares(rankings)
    one, many = drawn(board.model.scores_[None], np.ones(1)), drawn(shown.scores_, shown.shares_)
    off = [float(np.abs(model - seen).sum() / 2 / n) for model in (one, many)]
    item = int(np.abs(one - seen).sum(1).argmax())
    tastes_picture(shown, "rank-sushi-tastes.png")
    places_picture(seen, one, many, item, rankings.items[item], losses, "rank-sushi.png")
    errors = np.sqrt(np.diag(shown.covariance())).reshape(SHOWN, n)
    sure = shown.responsibilities_.max(1)
    gain = (losses[0] - losses) / (losses[0] - losses.min())
    lines = [
        f"{people:,} people put {n} kinds of sushi in order. One scale for all, by Plackett-Luce:",
        "",
        board.to_markdown(),
        "",
        f"The central order of Mallows' model is {', '.join(mallows.center_)} (theta {mallows.theta_:.3f}; no order "
        f"contradicts fewer pairs). It costs {mallows.nll_ / people:.3f} nats a person, Plackett-Luce "
        f"{board.model.nll_ / people:.3f}, guessing {np.log(np.arange(1, n + 1)).sum():.3f}.",
        "",
        "## One scale is nobody's",
        "",
        f"![Log-loss by number of tastes, and the places of {rankings.items[item]}](rank-sushi.png)",
        "",
        f"Many put {rankings.items[item]} first or last and few in between, which no single scale can say (grey). "
        f"Averaged over all kinds, places are off by {off[0]:.1%} of people under one taste and by {off[1]:.1%} under "
        f"{SHOWN}.",
        "",
        "## How many tastes",
        "",
        "Whole people are left out of the fit, a fifth at a time:",
        "",
        *table(
            ["tastes", "log-loss a person, nats", "above the lowest", "standard error", "of the gain of all tastes"],
            [
                [row["k"], f"{row['loss']:.4f}", f"{row['above']:.4f}", f"{row['error']:.4f}", f"{g:.0%}"]
                for row, g in zip(chosen.held_out_.iter_rows(named=True), gain, strict=True)
            ],
            left=0,
        ),
        "",
        f"By the rule (the fewest tastes within one standard error of the lowest) there are {len(chosen.shares_)}. "
        + " ".join(chosen.warnings_)
        + " People left out are foretold better by every taste more: tastes vary by degrees rather than in kinds. "
        f"{SHOWN} make {gain[SHOWN - 1]:.0%} of the gain and can be read at a glance.",
        "",
        f"## {SHOWN} of them",
        "",
        f"![Scores of the kinds by {SHOWN} tastes](rank-sushi-tastes.png)",
        "",
        *table(
            ["", *(f"taste {c + 1}" for c in range(SHOWN))],
            [
                ["share of people", *(f"{share:.1%}" for share in shown.shares_)],
                ["like most", *(", ".join(_names(shown, c, slice(0, 3))) for c in range(SHOWN))],
                ["like least", *(", ".join(_names(shown, c, slice(-3, None))) for c in range(SHOWN))],
                ["median standard error of a score", *(f"{e:.3f}" for e in np.median(errors, 1))],
            ],
            left=SHOWN + 1,
        ),
        "",
        "Scores are in logits, mean zero in each taste. A person's own taste shows in one ranking: the likeliest has a "
        f"chance of {sure.mean():.0%} in the mean, and {float((sure > 0.9).mean()):.0%} of people are placed with more "
        f"than 90%. Of {len(shown.starts_)} searches {int((shown.starts_ > shown.starts_.max() - 1).sum())} ended "
        "within one nat of the best. The release has no ages, sexes or regions beside the rankings, so who these "
        "people are otherwise is not told here.",
        "",
        *divided(shown),
    ]
    return "\n".join(lines)


def _names(model: Mixture, c: int, part: slice) -> list[str]:
    return [model.items_[i] for i in np.argsort(-model.scores_[c])[part]]


def divided(model: Mixture) -> list[str]:
    """The pairs of kinds on which tastes differ most."""
    n = len(model.items_)
    p = 1 / (1 + np.exp(model.scores_[:, None, :] - model.scores_[:, :, None]))
    spread = p.max(0) - p.min(0)
    i, j = np.unravel_index(np.argsort(-np.triu(spread, 1), axis=None)[:5], (n, n))
    rows = [
        [f"{model.items_[a]} above {model.items_[b]}", *(f"{p[c, a, b]:.0%}" for c in range(len(p)))]
        for a, b in zip(i, j, strict=True)
    ]
    head = ["chance of", *(f"taste {c + 1}" for c in range(len(p)))]
    return ["Where they part most:", "", *table(head, rows)]


if __name__ == "__main__":
    publish(
        page,
        "How many tastes in sushi",
        "the survey of T. Kamishima (KDD 2003) as kept by [BayesMallows](https://github.com/ocbe-uio/BayesMallows)",
    )
