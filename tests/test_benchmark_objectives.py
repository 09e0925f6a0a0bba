"""The benchmark of objectives in the lab: what it compares is fair, and its page says what was found."""

import numpy as np
import pytest

from benchmarks import objectives as bench
from benchmarks import objectives_page
from pluralign.objectives import find


@pytest.mark.parametrize("key", list(bench.SETTINGS))
def test_judgements_are_of_the_first_prompts_and_figures_of_the_others(key: str) -> None:
    found = bench.scene(bench.SETTINGS[key], seed=3)
    for rows in found.data.values():
        assert rows.prompt.max() < bench.TRAIN
    changed = found.whole.reference.copy()
    changed[: bench.TRAIN] = changed[: bench.TRAIN, ::-1]
    assert bench.figures(found, found.whole.reference) == pytest.approx(bench.figures(found, changed), nan_ok=True)


def test_lists_and_their_pairs_say_the_same() -> None:
    data = bench.scene(bench.SETTINGS["lists"], seed=0).data
    lists, pairs = data["rankings"], data["pairs"]
    assert len(pairs.prompt) == 6 * len(lists.prompt)
    order = lists.response[0].tolist()
    assert all(order.index(a) < order.index(b) for a, b in pairs.response[:6])


def test_labels_are_flipped_at_the_stated_rate() -> None:
    scenes = [bench.scene(bench.SETTINGS["flips-40"], seed) for seed in range(8)]
    clean = [bench.scene(bench.SETTINGS["clean"], seed) for seed in range(8)]

    def right(found: list[bench.Scene]) -> float:
        rows = [s.data["pairs"] for s in found]
        gaps = [r.reward[r.prompt, r.response[:, 0]] - r.reward[r.prompt, r.response[:, 1]] for r in rows]
        return float((np.concatenate(gaps) > 0).mean())

    agreed = right(clean)
    assert right(scenes) == pytest.approx(0.6 * agreed + 0.4 * (1 - agreed), abs=0.03)


def test_the_best_policy_of_its_kl_has_all_that_its_kl_can_buy() -> None:
    found = bench.scene(bench.SETTINGS["clean"], seed=1)
    assert bench.figures(found, found.whole.tilted(0.7))["share"] == pytest.approx(1, abs=1e-6)
    assert bench.figures(found, found.whole.tilted(0.7, -found.whole.quality))["share"] < -0.5


def test_the_page_says_what_shows_and_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STEPS", 30)
    names = ("dpo", "todo", "dmpo", "fpo")
    results = {key: {s: bench.run((key, s, names))[2] for s in range(3)} for key in ("clean", "ties")}
    results |= {key: results["clean"] for key in bench.SETTINGS if key not in results}
    page = objectives_page.page(results, names)
    assert "todo gains from ties" in page
    assert "- `dpo`: `dmpo`" in page  # one token a response
    assert "fpo needs features" in page
    assert objectives_page.verdict("better", (0.1, 0.05, 0.15)) == "**shows**"
    assert objectives_page.verdict("better", (0.1, -0.05, 0.25)) == "not shown"
    assert objectives_page.verdict("better", (-0.1, -0.15, -0.05)) == "**the opposite shows**"


def test_claims_name_objectives_and_settings_that_exist() -> None:
    for _, key, ours, theirs, figure in objectives_page.CLAIMS:
        assert key in bench.SETTINGS
        assert figure in objectives_page.FIGURES
        for name in (ours, theirs):
            find(name)
