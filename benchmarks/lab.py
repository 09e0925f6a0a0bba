"""The picture of docs/lab.md: expected quality against KL in two worlds.

python -m benchmarks.lab
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pluralign import lab
from pluralign.lab.reward_against_kl import draw

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "lab-frontier.png"
QUALITY = np.array([1.2, 0.9, 0.5, 0.3, 0.0, -0.3, -0.6, -1.0])
LENGTH = np.array([4.0, 6.0, 3.0, 8.0, 5.0, 10.0, 7.0, 12.0])
REFERENCE = np.array([0.05, 0.1, 0.1, 0.15, 0.2, 0.2, 0.1, 0.1])
BETAS = np.geomspace(0.15, 5, 8)


def main() -> None:
    noisy = lab.bandit(QUALITY, reference=REFERENCE, preference=lab.flipped(lab.bradley_terry(QUALITY), 0.3))
    long_winded = lab.confounded(QUALITY, LENGTH, 0.25, length=LENGTH, reference=REFERENCE)
    simpo = ("simpo", {"gamma": 0.0})
    worlds = {
        "three of ten labels wrong": (
            noisy,
            {"dpo": ("dpo", {}), "rdpo": ("rdpo", {"label_smoothing": 0.3}), "ipo": ("ipo", {}), "simpo": simpo},
        ),
        "judges who like length": (
            long_winded,
            {"dpo": ("dpo", {}), "r_dpo": ("r_dpo", {"alpha": 0.25}), "ipo": ("ipo", {}), "simpo": simpo},
        ),
    }
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, (title, (world, objectives)) in zip(figure.subplots(1, 2, sharey=True), worlds.items(), strict=True):
        draw(axes, lab.frontier(objectives, world, betas=BETAS), world)
        axes.set_title(title, fontsize="medium")
    figure.savefig(PICTURE, dpi=130)
    print(f"written: {PICTURE}")


if __name__ == "__main__":
    main()
