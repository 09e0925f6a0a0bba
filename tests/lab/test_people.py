"""Simulated people do what their parameters say, and planted faults are where they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from pluralign.feedback import plain
from pluralign.lab.faults import plant
from pluralign.lab.people import BRIEF, CLOSING, EXAMPLES, STEPS, WARM, WARM_AND_FULL, crowd, simulate
from pluralign.lab.tiny import build, written


def test_the_same_seed_gives_the_same_feedback() -> None:
    assert simulate(40, seed=3).fingerprint == simulate(40, seed=3).fingerprint
    assert simulate(40, seed=3).fingerprint != simulate(40, seed=4).fingerprint


def test_choices_follow_bradley_terry_on_each_taste() -> None:
    feedback = simulate(4000, seed=1)
    for taste in (BRIEF, WARM_AND_FULL):
        gaps, wins = [], []
        for j in feedback:
            if j.annotator_attributes["taste"] == taste.name:
                first, second = (taste.utility(plain(j.prompt), plain(r.messages)) for r in j.responses)
                gaps.append(first - second)
                wins.append(j.ranks == (1, 2))
        chance = 1 / (1 + np.exp(-np.array(gaps)))
        error = np.sqrt(np.mean(chance * (1 - chance)) / len(chance))
        assert abs(np.mean(wins) - chance.mean()) < 4 * error
        # Choices carry the taste: with the gap's sign they agree as often as Bradley-Terry says.
        agree = np.mean(np.where(np.array(gaps) > 0, wins, ~np.array(wins))[np.array(gaps) != 0])
        expected = np.mean(np.maximum(chance, 1 - chance)[np.array(gaps) != 0])
        assert abs(agree - expected) < 4 * error


def test_the_tastes_disagree_and_the_crowd_lies_between() -> None:
    warm, terse = f"{WARM[0]} {STEPS[1]} {CLOSING[0]}", EXAMPLES[0]
    assert BRIEF.utility("?", terse) > BRIEF.utility("?", warm)
    assert WARM_AND_FULL.utility("?", warm) > WARM_AND_FULL.utility("?", terse)
    assert crowd(1.0)("?", warm) == BRIEF.utility("?", warm)
    assert BRIEF.utility("?", "Bla bla bla.") < BRIEF.utility("?", STEPS[1])


def test_planted_faults_are_found_by_the_audit() -> None:
    feedback, planted = plant(simulate(400, seed=2), each=6)
    ids = feedback.table["id"].to_pylist()
    audit = feedback.audit()
    for name, rows in planted.items():
        flagged = {ids[i] for i in audit[name].rows}
        assert set(rows) <= flagged, name


def test_a_lab_model_is_reproducible_and_round_trips(tmp_path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = [written((*j.prompt, *j.responses[0].messages)) for j in simulate(30)]
    model, tokenizer = build("tiny", texts, steps=3)
    again, _ = build("tiny", texts, steps=3)
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert words(texts[0])["input_ids"] == tokenizer(texts[0])["input_ids"]
    assert all((a == b).all() for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert words.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    ) == ("<|begin|><|user|>Hi<|end|><|assistant|>")


@pytest.mark.slow
def test_the_demo_runs(tmp_path) -> None:
    from pluralign.lab.demo import demo

    page = demo(tmp_path / "demo")
    assert "Alignment report: dpo and simpo" in page.read_text()
