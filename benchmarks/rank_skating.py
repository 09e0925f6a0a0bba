"""Nine judges order the figure skaters of a men's Olympic competition: few rankings, close agreement, a few ties.

    python -m benchmarks.rank_skating --data FOLDER

FOLDER holds 00006-00000013.toc (short program) and 00006-00000014.toc (free skate) of PrefLib. Rewrites
docs/rank-skating.md and its picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.data_page import axes, publish, save, table
from pluralign.feedback.audit.agreement import krippendorff, krippendorff_interval
from pluralign.rank import Leaderboard, Mallows, PlackettLuce, Rankings, rank

Array = NDArray[np.float64]

PROGRAMS = {"short program": "00006-00000013.toc", "free skate": "00006-00000014.toc"}
BREAKS = 100


def places(rankings: Rankings) -> Array:
    """[R, n] place of every item in whole rankings, from 1, ties sharing the middle of theirs."""
    out = np.empty((len(rankings), rankings.n))
    starts, ends = rankings.blocks()
    for start, end in zip(starts, ends, strict=True):
        row = int(rankings.owner[start])
        out[row, rankings.flat[start:end]] = (start + end - 1) / 2 - rankings.offsets[row] + 1
    return out


def picture(programs: dict[str, tuple[Rankings, Leaderboard]], name: str) -> None:
    """Every judge's place of every skater less the skater's rank."""
    figure, panels = axes(10.4, 7.2, len(programs))
    for panel, (title, (rankings, board)) in zip(panels, programs.items(), strict=True):
        names = board.table["item"].to_list()
        order = [rankings.items.index(name) for name in names]
        off = places(rankings)[:, order].T - np.arange(1, len(order) + 1)[:, None]
        # Judges in the order in which they agree with the board.
        judges = np.argsort(np.abs(off).sum(0))
        image = panel.imshow(off[:, judges], cmap="RdBu", vmin=-6, vmax=6, aspect="auto")
        panel.set_yticks(range(len(names)), [f"{name}  {k + 1}" for k, name in enumerate(names)], fontsize=8)
        panel.set_xticks(range(len(rankings)), [str(j + 1) for j in judges])
        panel.set_xlabel(f"judges of the {title}")
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    figure.colorbar(image, ax=panels, shrink=0.5, label="place by the judge less rank by all (red: higher)")
    save(figure, name)


def broken(rankings: Rankings) -> Array:
    """[BREAKS, n] Plackett-Luce scores where every tie is broken at random."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(BREAKS):
        rows = [
            [group[k] for group in rankings.names(r) for k in rng.permutation(len(group))] for r in range(len(rankings))
        ]
        out.append(PlackettLuce().fit(Rankings.of(rows).renumbered(rankings.items)).scores_)
    return np.array(out)


def judges(rankings: Rankings) -> list[float]:
    """Kendall's tau of every judge with the central order of all others."""
    found = []
    for r in range(len(rankings)):
        others = Mallows().fit(rankings.where(np.arange(len(rankings)) != r))
        found.append(float(kendalltau(-places(rankings)[r], others.scores_).statistic))
    return found


def page(folder: Path) -> str:
    """The page, as Markdown; writes its picture."""
    programs = {}
    for title, name in PROGRAMS.items():
        rankings = Rankings.of(folder / name)
        programs[title] = rankings, rank(rankings, "plackett-luce", interval="model")
    picture(programs, "rank-skating.png")
    rows = []
    for title, (rankings, _) in programs.items():
        mallows, seen = Mallows().fit(rankings), places(rankings)
        units = np.tile(np.arange(rankings.n), len(rankings))
        alpha, (low, high) = (f(units, seen.ravel(), "ordinal") for f in (krippendorff, krippendorff_interval))
        taus = judges(rankings)
        rows.append(
            [
                title,
                rankings.n,
                len(rankings.ties()[0]),
                f"{alpha:.3f} [{low:.3f}, {high:.3f}]",
                f"{mallows.theta_:.3f} ± {mallows.error_:.3f}",
                f"{mallows.kemeny_.cost:,.0f} of {rankings.matrix().sum():,.0f}",
                f"{min(taus):.3f} to {max(taus):.3f}",
            ]
        )
    head = [
        "",
        "skaters",
        "ties",
        "alpha, ordinal",
        "theta of Mallows",
        "pairs that contradict the central order",
        "a judge's tau with the others",
    ]
    lines = [
        "Nine judges, two programs. They agree closely; where they do not is where to look (a column a judge, those "
        "who agree most with all on the left):",
        "",
        "![Places by judge against ranks by all](rank-skating.png)",
        "",
        *table(head, rows),
        "",
        "No order contradicts fewer pairs than the central ones: all orders within circles were compared. "
        "Intervals below are by the model's curvature, as nine rankings are too few for a sandwich.",
    ]
    for title, (rankings, board) in programs.items():
        lines += ["", f"## {title.capitalize()}", "", board.to_markdown(most=10), "", *ties(rankings)]
    return "\n".join(lines)


def ties(rankings: Rankings) -> list[str]:
    """What ties do to the scores, by the three things that can be done with them."""
    exact, own = PlackettLuce().fit(rankings), PlackettLuce(ties="davidson-luce").fit(rankings)
    error = np.sqrt(np.diag(exact.covariance("model")))
    drawn = broken(rankings)
    touched = np.unique(np.concatenate(rankings.ties()[:2]))
    spread = float(np.ptp(drawn[:, touched], axis=0).max())
    names = ", ".join(rankings.items[i] for i in touched)
    return [
        f"Ties touch {names}. Breaking them at random moves the score of one by up to {spread:.2f} logits between "
        f"{BREAKS} draws (standard errors of these scores: {error[touched].min():.2f} to {error[touched].max():.2f}); "
        f"the sum over all orders has one answer, {np.abs(drawn.mean(0) - exact.scores_).max():.3f} logits from the "
        f"draws' mean at most. Ties as outcomes of their own (delta {own.tie_[2]:.4f}: a tie of two is rare) move no "
        f"score by more than {np.abs(own.scores_ - exact.scores_).max():.2f}."
    ]


if __name__ == "__main__":
    publish(
        page,
        "Judges of figure skating",
        "the judges' orders in [PrefLib](https://preflib.org)",
    )
