"""The pages of reward models and of labels in trouble, from made-up results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import label_trouble_page, reward_models_page
from benchmarks.label_trouble import WORLDS, World, judged


def test_the_page_of_reward_models_is_written_from_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_models_page, "DOCS", tmp_path)
    draw, n = np.random.default_rng(0), 60
    fold = np.arange(n) % 3
    margins = {
        rule: {str(i): draw.normal(shift, 1, int((fold == i).sum())).tolist() for i in range(3)}
        for rule, shift in ((reward_models_page.FIRST, 1.0), (reward_models_page.LM, 0.0))
    }
    known = {
        "margins": margins,
        "seconds": dict.fromkeys(margins, 1.0),
        "reading": [9.0, 0.5],
        "fold": fold.tolist(),
        "group": "debate",
        "groups": [f"d{i % 12}" for i in range(n)],
        "characters": [[100 + i, 100] for i in range(n)],
        "of": 2 * n,
    }
    reward_models_page.write({"ukpconvarg1": known}, 10, 3)
    page = (tmp_path / "reward-models.md").read_text()
    assert "60 of 120 pairs of arguments" in page
    assert "| longer wins | 0.992" in page
    assert (tmp_path / "reward-models-ukpconvarg1.png").is_file()


def test_the_page_of_labels_in_trouble_names_what_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_trouble_page, "DOCS", tmp_path)
    draw = np.random.default_rng(0)
    kept = {
        f"{world}|{seed}": {
            "as they are": {"accuracy": 0.8 + draw.normal(0, 0.01), "log_loss": 0.5},
            "better": {"accuracy": 0.9 + draw.normal(0, 0.01), "log_loss": 0.6},
        }
        for world in WORLDS
        for seed in range(4)
    }
    label_trouble_page.write(kept, list(WORLDS), {"epochs": 1, "batch": 2, "lr": 0.1})
    page = (tmp_path / "label-trouble.md").read_text()
    assert page.count("more often right: better; lower log-loss: none") == len(WORLDS)


def test_a_world_flips_as_many_labels_as_it_says() -> None:
    world = World(4000, 0, rate=0.25)
    assert world.wrong.mean() == pytest.approx(0.25, abs=0.03)
    left, right = world.test.features
    truth = judged(world, lambda a: (left - right).numpy() @ world.w)
    assert truth["accuracy"] == 1
    people = World(3000, 0, people=True)
    assert people.wrong.mean() == pytest.approx(1 / 6 + 1 / 3 * 0.5, abs=0.06)
