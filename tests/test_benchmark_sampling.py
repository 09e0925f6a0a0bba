"""The page of sampling speed says what was measured, and what was measured shows the engine ahead."""

import json

import pytest

from benchmarks.sampling import COPIES, LENGTHS, PAGE, RESULTS, figures, page, prompts_of


def test_the_page_is_of_the_results_and_every_cell_is_ahead():
    results = json.loads(RESULTS.read_text())
    assert PAGE.read_text() == page(results)
    assert [(c["length"], c["k"]) for c in results["cells"]] == [(n, k) for n in LENGTHS for k in COPIES]
    for cell in results["cells"]:
        assert figures(cell["turns"])["over loop"][0] > 1


def test_ratios_are_of_tokens_a_second():
    turn = {
        name: {"samples": 2, "tokens": 10, "cpu_s": s} for name, s in (("ours", 1.0), ("batched", 2.0), ("loop", 5.0))
    }
    turn["loop"]["tokens"] = 20
    found = figures([turn])
    assert (found["ours"], found["over batched"], found["over loop"]) == (2.0, (2.0,) * 3, pytest.approx((2.5,) * 3))


def test_prompts_have_the_lengths_asked_for():
    texts = [[0, *range(3, 60)]]
    for length in (16, 128):
        lengths = [len(p) for p in prompts_of(20, length, texts, 0)]
        assert min(lengths) >= int(0.7 * length)
        assert max(lengths) <= length
