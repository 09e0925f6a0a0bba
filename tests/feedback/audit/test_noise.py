"""Cross-fitted label noise: planted flips come first, and a file whose words tell nothing is not doubted."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pluralign.cli import app
from pluralign.feedback.audit.noise import cross_fitted

from .build import audited, pair

WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in "rstvz"]


@pytest.mark.parametrize("seed", range(3))
def test_planted_flips_fill_the_top_tenth_of_a_separable_linear_world(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2000, 20))
    x *= np.sign(x @ rng.normal(size=20))[:, None]
    flipped = rng.choice(2000, 200, replace=False)
    x[flipped] *= -1
    worst = np.argsort(cross_fitted(x, np.arange(2000)))[:200]
    assert np.isin(worst, flipped).mean() > 0.8


def test_a_row_is_never_judged_by_a_model_that_saw_its_group():
    rng = np.random.default_rng(0)
    x = np.zeros((200, 200))
    group = np.arange(200) // 2
    # Both rows of a group share a feature that no other has: seen from outside, it tells nothing.
    x[np.arange(200), group] = rng.normal(size=200) + 3
    assert np.allclose(cross_fitted(x, group), 0.5)
    assert (cross_fitted(x, np.arange(200)) > 0.5).mean() > 0.5


def rows(rng, told, flipped=()):
    out = []
    for i in range(400):
        good, bad = (" ".join(rng.choice(WORDS, 8)) for _ in range(2))
        if told:
            good, bad = f"{good} thanks kindly", f"{bad} nonsense rubbish"
        out.append(pair(f"question {i}", *((bad, good) if i in flipped else (good, bad))))
    return out


def test_flipped_preferences_are_named_and_others_are_not():
    flipped = {3, 77, 140, 222, 399}
    finding = audited(rows(np.random.default_rng(1), True, flipped), label_noise=True)["suspect-label"]
    assert set(finding.rows.tolist()) == flipped
    assert "suspect-label" not in audited(rows(np.random.default_rng(1), True, flipped))


def test_where_words_tell_nothing_nothing_is_doubted():
    finding = audited(rows(np.random.default_rng(2), False), label_noise=True)["suspect-label"]
    assert finding.n == 0
    assert "can doubt none of them" in finding.message
    assert "suspect-label" not in audited(rows(np.random.default_rng(2), True)[:50], label_noise=True)


def test_the_commands(tmp_path):
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    flipped = {5, 6, 7}
    sides = [[r.messages[0].content for r in j.responses] for j in rows(np.random.default_rng(3), True, flipped)]
    path.write_text(
        "".join(json.dumps({"prompt": f"q {i}", "chosen": a, "rejected": b}) + "\n" for i, (a, b) in enumerate(sides))
    )
    done = CliRunner().invoke(app, ["filter", str(path), str(out), "--drop", "suspect-label"])
    assert done.exit_code == 0, done.output
    assert "suspect-label: 3 rows" in done.output
    done = CliRunner().invoke(app, ["audit", str(path), "--label-noise", "-o", str(tmp_path / "o.html")])
    assert done.exit_code == 0, done.output
    assert "suspect-label" in done.output
