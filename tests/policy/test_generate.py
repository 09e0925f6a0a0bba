"""Generation: the tokens of `generate`, the law of the logits, and each response by itself."""

import logging

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from pluralign.errors import OptionError
from pluralign.policy.batch import collate
from pluralign.policy.encode import Encoded
from pluralign.policy.generate import Writer, _filled, fitting, generate
from pluralign.policy.logprobs import logprobs
from pluralign.policy.nucleus import choose, distribution
from tests.tiny_models import FAMILIES, REFUSED, tiny, tokenizer

EOS = 1


def prompts_of(lengths, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(3, len(tokenizer()), (n,), generator=draw).tolist() for n in lengths]


def drawn(model, prompts, k=1, **options):
    seeds = [[100 * i + j for j in range(k)] for i in range(len(prompts))]
    writers = model if isinstance(model, list) else [Writer(model)]
    found = dict(generate(writers, prompts, seeds, **{"eos": EOS, "max_new_tokens": 8, **options}))
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize("family", [*FAMILIES, "mistral", "gemma2", "gemma3", *REFUSED])
def test_greedy_tokens_are_those_of_generate(family):
    model = tiny(family)
    prompts = prompts_of((3, 9, 3))
    for prompt, ours in zip(prompts, drawn(model, prompts, k=2, temperature=0, max_new_tokens=4), strict=True):
        ids = torch.tensor([prompt])
        settings = {"do_sample": False, "max_new_tokens": 4, "eos_token_id": EOS, "pad_token_id": 2}
        theirs = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :]
        assert [each.tokens for each in ours] == [theirs.tolist()] * 2


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_log_probs_are_those_of_the_scoring_engine(family):
    model = tiny(family)
    prompts = prompts_of((4, 11))
    stops = set()
    for prompt, samples in zip(prompts, drawn(model, prompts, k=6, max_new_tokens=20), strict=True):
        rows = [Encoded(prompt, (s.tokens,), ([True] * len(s.tokens),)) for s in samples]
        with torch.no_grad():
            scored = logprobs(model, collate(rows, pad_id=0)).logp[:, 0].tolist()
        assert scored == pytest.approx([sum(s.logp) for s in samples], abs=1e-3)
        for s in samples:
            stops.add(s.stop)
            assert len(s.tokens) == len(s.logp)
            assert (s.tokens[-1] == EOS) == (s.stop == "eos")
            assert EOS not in s.tokens[:-1]
            assert s.stop == "eos" or len(s.tokens) == 20
    assert "length" in stops


class TwoSteps(torch.nn.Module):
    """A model of transformers only in name: the next token depends on the newest by a table [V, V]."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(torch.log(torch.tensor(table, dtype=torch.float64)))
        self.config, self.device = None, torch.device("cpu")

    def forward(self, input_ids, attention_mask=None):
        class Out:
            logits = self.table[input_ids]

        return Out()


TABLE = [[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.05, 0.6, 0.15, 0.2], [0.7, 0.1, 0.1, 0.1]]


@pytest.mark.parametrize(
    ("options", "bent"),
    [
        ({}, lambda p: p),
        ({"temperature": 0.5}, lambda p: p**2 / (p**2).sum()),
        ({"top_k": 2}, lambda p: np.where(p >= np.sort(p)[-2], p, 0) / p[p >= np.sort(p)[-2]].sum()),
        ({"temperature": 2.0, "top_p": 0.75}, None),
    ],
    ids=["plain", "temperature", "top_k", "top_p"],
)
def test_sequences_come_as_often_as_their_law_says(options, bent):
    """Chi-square over the 13 sequences of two tokens (EOS ends), 4,000 draws; the log-probs are those of the law."""
    table = np.array(TABLE)
    if bent is None:
        bent = lambda p: _nucleus(np.sqrt(p) / np.sqrt(p).sum(), 0.75)  # noqa: E731
    law = {}
    first = bent(table[3])
    for a in range(4):
        second = bent(table[a])
        for b in range(4) if a != EOS else [None]:
            law[(a,) if b is None else (a, b)] = first[a] * (1 if b is None else second[b])
    law = {tokens: p for tokens, p in law.items() if p > 0}
    samples = drawn(TwoSteps(TABLE), [[3]], k=4000, max_new_tokens=2, **options)[0]
    count = dict.fromkeys(law, 0)
    for s in samples:
        count[tuple(s.tokens)] += 1
        assert sum(s.logp) == pytest.approx(np.log(law[tuple(s.tokens)]), abs=1e-5)
    assert sum(law.values()) == pytest.approx(1)
    assert chisquare([count[t] for t in law], [4000 * p for p in law.values()]).pvalue > 1e-3


def _nucleus(p, mass):
    order = np.argsort(-p, kind="stable")
    kept = order[: int((np.cumsum(p[order]) < mass).sum()) + 1]
    q = np.zeros_like(p)
    q[kept] = p[kept]
    return q / q.sum()


def test_the_mixture_is_exact_token_by_token():
    """pi^0.75 ref^0.25 renormalised at each token; weights beyond one extrapolate."""
    a, b = tiny("llama"), tiny("llama", seed=1)
    prompt = prompts_of((5,))[0]
    for w in (0.75, 1.5):
        writers = [Writer(a, w), Writer(b, 1 - w)]
        for s in drawn(writers, [prompt], k=4)[0]:
            ids = torch.tensor([prompt + s.tokens])
            with torch.no_grad():
                mixed = w * a(ids).logits[0] + (1 - w) * b(ids).logits[0]
            place = torch.arange(len(s.tokens))
            expected = mixed.log_softmax(-1)[len(prompt) - 1 + place, torch.tensor(s.tokens)]
            assert s.logp == pytest.approx(expected.tolist(), abs=1e-3)
    alone, both = drawn(a, [prompt], k=3), drawn([Writer(a, 1.0), Writer(b, 0.0)], [prompt], k=3)
    assert [s.tokens for s in alone[0]] == [s.tokens for s in both[0]]
    with pytest.raises(OptionError, match="one tokenizer to all"):
        drawn([Writer(a, 0.5), Writer(tiny("llama", vocabulary=50), 0.5)], [[3, 4]])


def test_a_response_depends_on_its_seed_and_prompt_alone():
    model = tiny("llama").double()
    prompts = prompts_of((3, 12, 7, 7))
    together = drawn(model, prompts, k=5, max_new_tokens=12)
    small = drawn(model, prompts, k=5, max_new_tokens=12, batch_tokens=100)
    assert [[s.tokens for s in own] for own in small] == [[s.tokens for s in own] for own in together]
    found = dict(generate([Writer(model)], [prompts[2]], [[203]], eos=EOS, max_new_tokens=12))
    assert found[0][0].tokens == together[2][3].tokens
    assert len({tuple(s.tokens) for own in together for s in own}) == 20


def test_rows_that_end_make_room_for_none_and_lose_none():
    """A model that ends often: every row has its own length, and the cache follows the rows that stay."""
    model = tiny("llama").double()
    with torch.no_grad():
        model.lm_head.weight[EOS] = model.lm_head.weight[5:60].mean(0)
    prompts = prompts_of((3, 12, 7))
    samples = drawn(model, prompts, k=16, max_new_tokens=30, temperature=1.5)
    lengths = {len(s.tokens) for own in samples for s in own}
    assert len(lengths) > 5
    for prompt, own in zip(prompts, samples, strict=True):
        rows = [Encoded(prompt, (s.tokens,), ([True] * len(s.tokens),)) for s in own]
        batch = collate(rows, pad_id=0)
        logits = model(batch.input_ids, attention_mask=batch.attention_mask).logits / 1.5
        each = logits[:, :-1].log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None])[..., 0]
        expected = (each * batch.response_mask[:, 1:]).sum(-1).tolist()
        assert [sum(s.logp) for s in own] == pytest.approx(expected, abs=1e-3)


def test_gaps_are_filled_from_the_end():
    for gone in ([False] * 4, [True, False, False, True], [True, True, False, False], [False, True, True, True]):
        places = _filled(gone)
        assert sorted(places) == [i for i, g in enumerate(gone) if not g]
        assert all(p == j or p >= len(places) for j, p in enumerate(places))


def test_a_rule_of_ones_own_ends_a_response():
    samples = drawn(tiny("llama"), prompts_of((4,)), k=20, max_new_tokens=9, ended=lambda tokens: len(tokens) == 3)[0]
    assert {len(s.tokens) for s in samples if s.stop == "stop"} == {3}
    assert all(len(s.tokens) <= 3 for s in samples)


def test_models_come_back_as_they_were_and_are_not_asked_for_gradients():
    model = tiny("llama").train()
    settings = model.generation_config
    sample = drawn(model, [[3, 4]])[0][0]
    assert model.training
    assert model.generation_config is settings
    assert all(p.grad is None for p in model.parameters())
    assert sample.logp[0] < 0


def test_a_context_is_entered_around_each_pass():
    from contextlib import contextmanager

    entered = []

    @contextmanager
    def context():
        entered.append(True)
        yield

    drawn([Writer(tiny("llama"), context=context)], [[3, 4]], max_new_tokens=4)
    assert len(entered) == 4


def test_a_model_without_a_cache_is_used_and_named(caplog):
    with caplog.at_level(logging.WARNING):
        drawn(TwoSteps(TABLE), [[3], [2, 3]], k=3, max_new_tokens=3)
    assert "TwoSteps keeps no cache" in caplog.text or not caplog.text  # said once a process


@pytest.mark.parametrize("options", [{"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}, {"top_k": -1}])
def test_options_out_of_bounds_are_named(options):
    with pytest.raises(OptionError, match="at least one new token"):
        drawn(tiny("llama"), [[3]], **options)
    with pytest.raises(OptionError, match="a prompt has no tokens"):
        drawn(tiny("llama"), [[]])


def test_the_nucleus_keeps_the_fewest_that_reach_the_mass():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.15, 0.1]]))
    for mass, kept in ((0.4, 1), (0.5, 1), (0.51, 2), (0.76, 3), (1.0, 4)):
        assert int((distribution(logits, top_p=mass) > -torch.inf).sum()) == kept
    equal = distribution(torch.zeros(1, 4), top_k=2)
    assert torch.isfinite(equal).all()  # all equal the second: none is worse than another


def test_tokens_without_mass_are_never_chosen():
    logp = torch.log(torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]])).expand(4, 5)
    numbers = torch.tensor([0.0, 0.49999999, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert choose(logp, numbers)[0].tolist() == [1, 1, 3, 3]


def test_a_prompt_beyond_the_window_loses_its_beginning():
    model, words = tiny("llama"), tokenizer()
    prompt = [words.bos_token_id, *range(3, 303)]
    assert fitting(prompt, model, words, 6) == [words.bos_token_id, *prompt[-249:]]
    assert fitting(prompt[:250], model, words, 6) == prompt[:250]
    with pytest.raises(OptionError, match="window of 256"):
        fitting(prompt, model, words, 256)
