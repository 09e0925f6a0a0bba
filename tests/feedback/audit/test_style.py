"""What wins: planted biases come back within error, style-free labels give one half."""

import numpy as np
import pytest

from pluralign.feedback.record import Judgement, Response, text

from .build import audited, pair


def world(rng, n, q, mark=lambda t: t + " and more words"):
    rows = []
    for i in range(n):
        plain = f"word{rng.integers(10**6)}"
        marked = mark(plain)
        wins = rng.random() < q
        first = rng.random() < 0.5
        responses = (Response(text(marked)), Response(text(plain)))
        ranks = (1, 2) if wins else (2, 1)
        if not first:
            responses, ranks = responses[::-1], ranks[::-1]
        rows.append(Judgement(text(f"p{i}"), responses, ranks=ranks, positions=(1, 2)))
    return rows


@pytest.mark.parametrize("q", [0.3, 0.5, 0.8])
def test_longer_wins_with_probability_q(q):
    found = audited(world(np.random.default_rng(0), 1500, q))["longer-wins"]
    assert found.rate == pytest.approx(q, abs=0.04)
    assert found.interval[0] < q < found.interval[1]
    assert found.n == 1500
    assert found.severity == ("info" if q == 0.5 else "warning")


MARKS = {
    "lists": lambda t: f"- {t}\n- b",
    "headers": lambda t: f"# {t}\nb",
    "bold": lambda t: f"**{t}**",
    "code": lambda t: f"```\n{t}\n```",
    "emoji": lambda t: t + " 🎉",
    "exclamation": lambda t: t + "!",
    "citation": lambda t: t + " [1]",
    "refusal": lambda t: "I'm sorry, but no. " + t,
    "hedge": lambda t: "I think " + t,
}


@pytest.mark.parametrize(("name", "mark"), MARKS.items())
def test_each_mark_is_seen_alone(name, mark):
    report = audited(world(np.random.default_rng(1), 400, 0.75, mark))
    assert report[f"{name}-wins"].n == 400
    assert report[f"{name}-wins"].rate == pytest.approx(0.75, abs=0.07)
    marked = {"lists", "headers", "bold", "code"}
    assert ("markdown-wins" in report) == (name in marked)
    others = marked | {"emoji", "exclamation", "citation", "refusal", "hedge"}
    assert not [other for other in others - {name} if f"{other}-wins" in report]


def test_marks_inside_code_are_not_marks():
    report = audited(world(np.random.default_rng(2), 30, 0.9, lambda t: f"```\n# {t}\n- a\n**b**\n```"))
    assert "headers-wins" not in report
    assert "lists-wins" not in report
    assert report["code-wins"].n == 30


def test_first_shown_needs_positions():
    rows = world(np.random.default_rng(3), 200, 0.5)
    assert audited(rows)["first-shown-wins"].n == 200
    assert "first-shown-wins" not in audited([pair(f"p{i}", f"a{i}", "b") for i in range(20)])


def test_copies_of_a_question_do_not_narrow_the_interval():
    rows = world(np.random.default_rng(4), 100, 0.6)
    one, five = audited(rows)["longer-wins"], audited(rows * 5)["longer-wins"]
    assert five.n == 500
    assert five.interval[1] - five.interval[0] == pytest.approx(one.interval[1] - one.interval[0], rel=0.05)
