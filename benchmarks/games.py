"""Every learner of games in one game, round by round: docs/games.md and docs/games.png.

`python -m benchmarks.games` (some minutes of one core; `--rounds` for fewer). Runs that stand in
benchmarks/results/games.json are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pluralign import lab
from pluralign.feedback.storage import whole_file
from pluralign.lab.dynamics import mixture
from pluralign.lab.games import divergence
from pluralign.online import Plan, Stage, find, learner
from pluralign.rank.plots import COLOURS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "games.json"
PAGE = ROOT / "docs" / "games.md"
GAME, TAU = lab.game(), 0.1
UNIFORM = np.full(3, 1 / 3)
Policies = NDArray[np.float64]


def shrinking(rounds: int) -> Policies:
    """Nash-MD with steps 2 / (tau (t + 1)), a learner of constant step made anew each round."""
    found = [GAME.reference]
    for t in range(1, rounds + 1):
        size = 2 / (TAU * (t + 1))
        options = {"learning_rate": size, "mixing": min(size * TAU, 1.0)}
        found.append(lab.play("nash_md", GAME, rounds=1, natural=True, tau=TAU, start=found[-1], **options)[-1])
    return np.array(found)


def played(name: str, **options: Any) -> Callable[[int], Policies]:
    return lambda rounds: lab.play(name, GAME, rounds=rounds, **options)


def careless_egpo(rounds: int) -> Policies:
    """EGPO whose full step plays against the old policy instead of the half-step one."""
    first = find("egpo").plan().stages[0]
    plan = Plan((first, Stage(first.law, opponent={"previous": 1.0}, one_step=True)))
    bug = learner(paper="a common mistake", plan=plan)(find("egpo").function)
    return lab.play(bug, GAME, rounds=rounds, tau=TAU, learning_rate=0.075, laws={"draws": UNIFORM})


RUNS: dict[str, dict[str, Callable[[int], Policies]]] = {
    "without a price": {
        "SPO": played("spo", learning_rate=0.5, natural=True),
        "SPPO": played("sppo", eta=0.5),
        "DNO": played("dno", eta=2.0),
        "ONPO": played("onpo", eta=0.5),
        "iterative DPO": played("dpo", beta=0.5, anchor="previous"),
    },
    "KL at a price of 0.1": {
        "Nash-MD, steps of 1": played("nash_md", tau=TAU, mixing=TAU, learning_rate=1.0, natural=True),
        "Nash-MD, steps of 1/2": played("nash_md", tau=TAU, mixing=TAU / 2, learning_rate=0.5, natural=True),
        "Nash-MD, shrinking steps": shrinking,
        "INPO": played("inpo", tau=TAU, eta=1.0),
        "INPO, step too large": played("inpo", tau=TAU, eta=0.15),
        "EGPO": played("egpo", tau=TAU, learning_rate=0.075, laws={"draws": UNIFORM}),
        "EGPO against the old policy": careless_egpo,
        "online IPO": played("online_ipo", tau=TAU, learning_rate=0.01, natural=True),
    },
    "KL at a price of 1": {"online DPO": played("dpo", beta=1.0, anchor="reference")},
}
PRICE = {"without a price": 0.0, "KL at a price of 0.1": TAU, "KL at a price of 1": 1.0}
DRAWN = 2
MOST = {"iterative DPO": 20, "online DPO": 100}
"""Rounds after which there is nothing more to see: at a corner a logistic loss has hardly a slope."""
WIDE = {"SPO": 5.0, "SPPO": 3.0, "DNO": 1.2, "INPO": 4.0}
"""Lines that lie on each other show by their widths."""
AVERAGED = ("SPO", "SPPO", "DNO", "ONPO")


def measured(rounds: int) -> dict[str, Any]:
    """For each run the gap and KL(equilibrium || policy) of each round, and the gap of the mixture of all before."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for panel, runs in RUNS.items():
        tau = PRICE[panel]
        for name, run in runs.items():
            wanted = min(rounds, MOST.get(name, rounds))
            if name in found and len(found[name]["gap"]) > wanted:
                continue
            policies = run(wanted)
            found[name] = {
                "gap": rounded(lab.duality_gap(GAME, policies, tau)[:, 0]),
                "kl": rounded(divergence(lab.nash(GAME, tau), policies)[:, 0]),
                "mixture": rounded(lab.duality_gap(GAME, mixture(policies), tau)[:, 0]),
            }
            print(f"{name}: {wanted} rounds, gap {found[name]['gap'][-1]:.2e}", flush=True)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(RESULTS) as temporary:
                temporary.write_text(json.dumps(found))
    return dict(found)


def rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def picture(found: dict[str, Any]) -> None:
    figure = Figure(figsize=(11.5, 5.0), layout="constrained")
    for axes, (panel, runs) in zip(figure.subplots(1, DRAWN), RUNS.items(), strict=False):
        for i, name in enumerate(runs):
            style = {"color": COLOURS[i], "linewidth": WIDE.get(name, 1.4)}
            shown(axes, found[name]["gap"], name, **style)
            if name in AVERAGED:
                shown(axes, found[name]["mixture"], f"{name}, mixture", linestyle="--", **style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim((4e-4, 2) if panel == "without a price" else (1e-10, 2))
        axes.set_title(panel, fontsize="medium")
        axes.set_xlabel("round")
        axes.set_ylabel("duality gap")
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small", loc="lower left")
    figure.savefig(PAGE.with_suffix(".png"), dpi=130)


def shown(axes: Any, gap: list[float], label: str, **style: Any) -> None:
    values = np.maximum(gap[1:], 1e-17)
    axes.plot(np.arange(1, len(gap)), values, label=label, **style)


def claims(found: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Learner, what its card says, what was measured, and whether the two agree."""
    kl = {name: np.array(run["kl"]) for name, run in found.items()}
    gap = {name: np.array(run["gap"]) for name, run in found.items()}
    average = {name: np.array(run["mixture"]) for name, run in found.items()}
    last = min(1000, len(kl["SPO"]) - 1)
    for name in ("SPO", "SPPO", "DNO"):
        yield (
            name,
            "last policy spirals out: KL 0.347, then 0.533 (round 100), 2.11 (1000); gap of the mixture 0.043, 0.0077",
            f"KL {kl[name][0]:.3f}, {kl[name][100]:.3f}, {kl[name][last]:.2f}; mixture {average[name][100]:.3f}, "
            f"{average[name][last]:.4f}",
            # SPPO puts 1/2 where the normaliser belongs, and so takes slightly other steps.
            math.isclose(average[name][last], 0.0077, rel_tol=0.1) and kl[name][last] > 2 * kl[name][100],
        )
    yield (
        "ONPO",
        "gap of the mixture 4.16 / rounds; last policy's KL 8.4e-5 (1000)",
        f"{last * average['ONPO'][last - 1]:.2f} / rounds; {kl['ONPO'][last]:.1e}",
        math.isclose(kl["ONPO"][last], 8.4e-5, rel_tol=0.02),
    )
    yield (
        "iterative DPO",
        "collapses to one response by round 20, gap 0.6",
        f"gap {gap['iterative DPO'][20]:.3f}",
        math.isclose(gap["iterative DPO"][20], 0.6, abs_tol=1e-3),
    )
    for name, paper in (("Nash-MD, steps of 1/2", (5.7e-4, 4.1e-4)), ("Nash-MD, steps of 1", (2.42e-3, 1.70e-3))):
        here = (kl[name][last], gap[name][last])
        yield (
            name,
            f"stops at KL {paper[0]:.2e}, gap {paper[1]:.2e}",
            f"{here[0]:.2e}, {here[1]:.2e}",
            bool(np.allclose(here, paper, rtol=0.02)),
        )
    name = "Nash-MD, shrinking steps"
    yield (
        name,
        "KL 1.03e-4 (100), 1.06e-6 (1000)",
        f"{kl[name][100]:.2e}, {kl[name][last]:.2e}",
        math.isclose(kl[name][100], 1.03e-4, rel_tol=0.01) and math.isclose(kl[name][last], 1.06e-6, rel_tol=0.01),
    )
    yield (
        "INPO",
        "no plateau at a constant step: linear to the equilibrium; a step too large goes in circles",
        f"KL {kl['INPO'][100]:.1e} (100); with the large step {kl['INPO, step too large'][last]:.2f}",
        kl["INPO"][200] < 1e-9 and kl["INPO, step too large"][last] > 0.05,
    )
    slower = kl["EGPO against the old policy"][50]
    yield (
        "EGPO",
        "KL 2.6e-3 (20), 1.7e-6 (50), 9e-12 (100); against the old policy it is slower",
        f"{kl['EGPO'][20]:.1e}, {kl['EGPO'][50]:.1e}, {kl['EGPO'][100]:.0e}; {slower:.1e} (50)",
        math.isclose(kl["EGPO"][50], 1.7e-6, rel_tol=0.05) and slower > kl["EGPO"][50],
    )
    yield (
        "online IPO",
        "rests at the equilibrium",
        f"gap {gap['online IPO'][last]:.1e}",
        gap["online IPO"][last] < 1e-8,
    )
    end = gap["online DPO"][-1]
    said = "is no solver of games: at beta 1 it rests beside the equilibrium with price 1"
    yield ("online DPO", said, f"gap {end:.3f}, KL {kl['online DPO'][-1]:.3f}", end > 0.001)


TEXT = """# Learners of games

Three responses of which each beats one and loses to another, as often as the table says; the reference is
(.6, .3, .1). No reward explains such preferences, and no response is the best: what there is to find is an
equilibrium, a policy that nobody beats more than half the time. The duality gap is what the best answers to
a policy gain on it, 0 at the equilibrium only; `lab.nash` gives the equilibrium to rounding.

| | 1 | 2 | 3 |
|---|---|---|---|
{preference}

![Duality gap against rounds for every learner](games.png)

Each learner is the function of [`pluralign.online`](api/online.md) that also trains networks, here on a
table of probabilities with every expectation exact (`lab.play`): a round is a fit to its end, or, for
learners that take gradient steps, one step (natural, save for EGPO). Left the equilibrium without a price;
dashed lines are the mixture of all policies so far. Right the equilibrium when a nat of KL to the reference
costs 0.1.

| learner | its card says | measured | agrees |
|---|---|---|---|
{claims}

SPO, SPPO and DNO are one method on a table, multiplicative weights; SPPO differs by the 1/2 that stands for
its normaliser. INPO is drawn with the step of EGPO, which shows what the half step buys: EGPO against the
old policy lies on the line of INPO.

*Written by `python -m benchmarks.games`.*
"""


def page(found: dict[str, Any]) -> None:
    rows = [f"| {name} | {said} | {seen} | {'yes' if same else '**no**'} |" for name, said, seen, same in claims(found)]
    said = [f"| {i + 1} | " + " | ".join(f"{p:g}" for p in row) + " |" for i, row in enumerate(GAME.preference[0])]
    PAGE.write_text(TEXT.format(preference="\n".join(said), claims="\n".join(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    found = measured(parser.parse_args().rounds)
    picture(found)
    page(found)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
