"""What leaderboards were meant to reach, beside what `benchmarks.rank` measured."""

from __future__ import annotations

from typing import Any

Measured = dict[str, Any]
CLOSE = 1e-6
"""Logits within which a contender counts as converged."""
SLOW = 1.0
"""Seconds from which a contender runs in one round only."""
PATIENCE = 60
"""Seconds of CPU time after which a peer is stopped."""
REPLICATES = 150
"""The same for a peer's replicates."""

FACTORS = {
    "a": {"arena_rank": 15, "evalica": 10, "fastchat": 10},
    "b": {"arena_rank": 15, "evalica": 10, "fastchat": 10},
    "c": {"evalica": 100, "fastchat": 4},
}
"""By case: how many times less CPU time than each contender was asked for."""
NAMES = {"arena_rank": "arena-rank", "evalica": "evalica", "fastchat": "FastChat's fit"}


def best(measured: Measured) -> float:
    """CPU seconds of the best run; NaN where there is none."""
    return min(measured["cpu"]) if "cpu" in measured else float("nan")


def targets(
    cases: dict[str, dict[str, Measured]], resampling: dict[str, Measured], votes: dict[str, dict[str, Measured]]
) -> list[tuple[str, str, str, bool]]:
    """Case, what was asked for, what was measured, whether it is enough; nothing where nothing was measured."""
    rows = []
    for case, found in cases.items():
        ours, floor = best(found["pluralign"]), best(found["floor"])
        error = found["pluralign"]["error"]
        rows.append((case, f"no score off by more than {CLOSE:.0e} logits", f"{error:.1e}", error <= CLOSE))
        for peer, factor in FACTORS.get(case, {}).items():
            theirs = found.get(peer, {})
            if "cpu" in theirs or "least" in theirs:
                rows.append((case, f"{factor} times below {NAMES[peer]}", *_times(theirs, ours, factor)))
        if case == "d":
            rows += _below_all(found, ours)
        rows.append((case, "within 2 times the floor", f"{ours / floor:.2f} times", ours / floor <= 2))
        if case == "c" and found["pluralign"]["above"] is not None:
            above = found["pluralign"]["above"] / 1e6
            rows.append((case, "under 250 MB above the table", f"{above:.0f} MB", above < 250))
    return rows + _resampling(resampling) + _streamed(votes)


def _times(theirs: Measured, ours: float, factor: float) -> tuple[str, bool]:
    """How many times the CPU time of ours, and whether that is enough; a lower bound where it did not finish."""
    times = theirs.get("least", best(theirs)) / ours
    return f"{times:.3g} times" + (", when it was stopped" if "least" in theirs else ""), times >= factor


def _below_all(found: dict[str, Measured], ours: float) -> list[tuple[str, str, str, bool]]:
    there = [m for name, m in found.items() if name.startswith(("arena", "evalica", "fastchat", "choix"))]
    arrived = [best(m) for m in there if m.get("error", 1.0) <= CLOSE]
    if not there:
        return []
    said = f"{min(arrived) / ours:.3g} times below the quickest of {len(arrived)}" if arrived else "none converges"
    return [("d", "below every peer that converges", said, not arrived or ours < min(arrived))]


def _resampling(found: dict[str, Measured]) -> list[tuple[str, str, str, bool]]:
    if not found:
        return []
    ours = best(found["pluralign_bootstrap"])
    rows = []
    theirs = found.get("evalica_bootstrap", {})
    if "cpu" in theirs or "least" in theirs:
        rows.append(("a", "1,000 replicates 50 times below evalica's", *_times(theirs, ours, 50)))
    times = ours / best(found["draws"])
    rows.append(("a", "1,000 replicates within 3 times their draws", f"{times:.2f} times", times <= 3))
    sandwich = best(found["pluralign_sandwich"]) * 1e3
    return [*rows, ("a", "sandwich errors in milliseconds", f"{sandwich:.2g} ms", sandwich < 10)]


def _streamed(votes: dict[str, dict[str, Measured]]) -> list[tuple[str, str, str, bool]]:
    both = [name for name, pair in votes.items() if all("cpu" in m for m in pair.values())]
    rows = []
    if both:
        times = best(votes[both[-1]]["pluralign_path"]) / best(votes[both[-1]]["path_group_by"])
        said = "within 2 times the group-by that counts pairs"
        rows.append((f"{both[-1]} votes", said, f"{times:.2f} times", times <= 2))
    peak = votes.get("1e8", {}).get("pluralign_path", {}).get("peak")
    if peak is not None:
        rows.append(("1e8 votes", "peak memory under 2 GB", f"{peak / 1e9:.2f} GB", peak < 2e9))
    return rows
