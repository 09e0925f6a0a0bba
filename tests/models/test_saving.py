"""Every fitted model is kept in a folder and comes back the same to the last bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pluralign import models
from pluralign.errors import FeedbackError, OptionError
from pluralign.models import (
    Adapter,
    Answers,
    Categorical,
    Compositional,
    Conditioned,
    ContrastiveHead,
    FewShot,
    GeneralPreference,
    Head,
    Hierarchical,
    LowRank,
    MeanVariance,
    MetaRewardModel,
    MixtureModel,
    MultiSource,
    Pairwise,
    PeerReview,
    Population,
    PreferenceModel,
    ReliableModel,
    RewardModel,
    RoutedMixture,
    Score,
    Ties,
    TwoTower,
    Variational,
    fit,
    load,
)
from pluralign.models.fitted import Fitted
from pluralign.models.losses import reward
from pluralign.objectives import Objective, objective
from tests.models.test_population import opposite

QUICK: dict[str, Any] = {"epochs": 2, "batch": 60, "lr": 0.05}
MADE: dict[type, Callable[[Answers], Any]] = {
    RewardModel: lambda a: RewardModel(Head(3, hidden=4), "smoothed(bradley_terry, flip_rate=0.2)", **QUICK).fit(a),
    MetaRewardModel: lambda a: MetaRewardModel(Head(3), eta=0.3, **QUICK).fit(a, torch.randn(2, 3, 3)),
    ReliableModel: lambda a: ReliableModel(Head(3), "temperature", **QUICK).fit(a),
    PeerReview: lambda a: PeerReview(Head(3), noise=0.3, **QUICK).fit(a),
    Compositional: lambda a: Compositional(["x", "y", "z"], strengths=[0.1, 1.0], folds=2).fit(a),
    PreferenceModel: lambda a: PreferenceModel(LowRank(3, 2), epochs=2).fit(a),
    MixtureModel: lambda a: MixtureModel(2, restarts=1).fit(a),
    RoutedMixture: lambda a: RoutedMixture(2, epochs=2, hidden=4).fit(a),
    Hierarchical: lambda a: Hierarchical(spread=1.0).fit(a),
    Variational: lambda a: Variational(1, steps=3, hidden=4).fit(a),
    FewShot: lambda a: FewShot(1, steps=3, hidden=4).fit(a),
    MultiSource: lambda a: MultiSource(steps=3).fit(a),
}
ANSWERS = opposite(6, 20)
NUMBERS = "weights.safetensors"


def public(of: type) -> list[type]:
    found = [getattr(models, name) for name in models.__all__]
    return [each for each in found if isinstance(each, type) and issubclass(each, of)]


def test_every_class_that_is_fitted_is_tried() -> None:
    fitted = {each for each in public(object) if hasattr(each, "fit") and not getattr(each, "__abstractmethods__", ())}
    assert fitted == set(MADE)
    assert set(public(Fitted)) - {Population} == fitted


@pytest.fixture(scope="module", params=list(MADE), ids=lambda kind: kind.__name__)
def kept(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    model = MADE[request.param](ANSWERS)
    return model, model.save(tmp_path_factory.mktemp("kept") / "model")


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same to the last bit."""
    if isinstance(ours, torch.Tensor | np.ndarray):
        a, b = torch.as_tensor(ours), torch.as_tensor(theirs)
        return type(ours) is type(theirs) and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(ours, torch.nn.Module):
        one, two = ours.state_dict(), theirs.state_dict()
        alike = one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
        return alike and type(ours) is type(theirs) and not any(p.requires_grad for p in theirs.parameters())
    if isinstance(ours, Objective):
        return ours.name == str(theirs.name)
    if isinstance(ours, Fitted):
        return vars(ours).keys() == vars(theirs).keys() and all(same(v, vars(theirs)[k]) for k, v in vars(ours).items())
    if isinstance(ours, list | tuple):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and (ours == theirs or (ours != ours and theirs != theirs))


def test_all_that_was_learnt_comes_back_to_the_last_bit(kept: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = kept
    again = type(model).load(folder)
    assert same(model, again)
    assert np.array_equal(again.margins(ANSWERS), model.margins(ANSWERS))
    assert same(load(folder), model)
    # A second copy is the first one to the byte.
    once_more = again.save(tmp_path / "again")
    assert all((once_more / name).read_bytes() == (folder / name).read_bytes() for name in ("model.json", NUMBERS))
    if hasattr(model, "export"):
        items = ANSWERS.items[:5]
        asked = torch.ones(5, 2) if isinstance(model, RoutedMixture) else None
        assert torch.equal(again.export().of(items, asked), model.export().of(items, asked))


def test_another_kind_a_broken_file_and_other_versions_are_one_sentence(kept: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = kept
    wrong = Compositional if not isinstance(model, Compositional) else PeerReview
    with pytest.raises(OptionError, match=f"holds a {type(model).__name__}, no {wrong.__name__}; use"):
        wrong.load(folder)
    copy = tmp_path / "copy"

    def broken(name: str, content: bytes) -> Path:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        (copy / name).write_bytes(content)
        return copy

    about = json.loads((folder / "model.json").read_text())
    cases: list[tuple[str, bytes, type[Exception], str]] = [
        ("model.json", b"{", FeedbackError, "is damaged or not whole"),
        ("model.json", b"[]", FeedbackError, "is damaged or not whole"),
        ("model.json", b'{"version": 1}', FeedbackError, "is damaged or not whole"),
        (NUMBERS, (folder / NUMBERS).read_bytes()[:-1], FeedbackError, "is damaged or not whole"),
        ("model.json", json.dumps(about | {"version": 2}).encode(), OptionError, "format 2, .*update pluralign"),
        ("model.json", b"{}", OptionError, "before the first .* save the model again"),
        (
            "model.json",
            json.dumps(about | {"model": about["model"] | {"$model": "Oracle"}}).encode(),
            OptionError,
            "holds 'Oracle', which this pluralign does not know",
        ),
        # A name of Python is not enough: what is loaded is a model and nothing else.
        (
            "model.json",
            json.dumps(about | {"model": about["model"] | {"$model": "fit"}}).encode(),
            OptionError,
            "does not know",
        ),
    ]
    for name, content, kind, says in cases:
        with pytest.raises(kind, match=says) as found:
            load(broken(name, content))
        assert "\n" not in str(found.value)
    tensors = load_file(folder / NUMBERS)
    save_file({name: torch.zeros(1, 1, 9) for name in tensors}, tmp_path / "odd")
    if any(value.state_dict() for value in vars(model).values() if isinstance(value, torch.nn.Module)):
        with pytest.raises(FeedbackError, match="is damaged or not whole"):
            load(broken(NUMBERS, (tmp_path / "odd").read_bytes()))


SCORES: dict[type[Score], Callable[[], Score]] = {
    Head: lambda: Head(3, 2, hidden=4),
    Conditioned: lambda: Conditioned(3, prompt_features=2, hidden=4),
    ContrastiveHead: lambda: ContrastiveHead(3, hidden=4, weight=0.3),
    GeneralPreference: lambda: GeneralPreference(3, size=4, prompt_features=2),
    Pairwise: lambda: Pairwise(3, prompt_features=2),
    MeanVariance: lambda: MeanVariance(3, spread_penalty=0.1),
    Categorical: lambda: Categorical(3, atoms=4, entropy_penalty=0.1),
    TwoTower: lambda: TwoTower(3, 1, prompt_features=2, width=4),
}


@pytest.mark.parametrize("kind", list(SCORES), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("ties", ["rao-kupper", None])
def test_every_head_with_every_loss_comes_back(kind: type[Score], ties: Any, tmp_path: Path) -> None:
    loss: Any = Ties(ties, prompt_features=2) if ties else "bradley_terry + 0.1*centring"
    model = RewardModel(SCORES[kind](), loss, **QUICK).fit(ANSWERS)
    again = RewardModel.load(model.save(tmp_path))
    assert same(model, again)
    ours, theirs = (m.predict_proba(ANSWERS, outcomes=True) for m in (model, again))
    assert np.array_equal(ours, theirs)


def test_an_adapter_comes_back(tmp_path: Path) -> None:
    left, right = ANSWERS.features
    answers = Answers.of(left, right, ANSWERS.probability, prompt=left.roll(1, 0))
    model = RewardModel(Adapter(3, rank=2), **QUICK).fit(answers)
    assert same(RewardModel.load(model.save(tmp_path)), model)


def test_double_precision_stays_double(tmp_path: Path) -> None:
    model = RewardModel(Head(3), **QUICK).fit(ANSWERS)
    model.scorer.double()
    model.scorer.directions.data += 1e-12  # type: ignore[operator,union-attr]
    assert same(RewardModel.load(model.save(tmp_path)), model)


def test_names_of_people_and_texts_come_back(tmp_path: Path) -> None:
    rows = [{"prompt": "", "chosen": "aa", "rejected": "b", "annotator": "Zoë"}] * 3
    model = fit(rows, "low-rank", 1, lambda texts: [[len(t)] for t in texts], epochs=2)
    with pytest.raises(OptionError, match="function as encoder; give it"):
        load(model.save(tmp_path))
    again = load(tmp_path, lambda texts: [[len(t)] for t in texts])
    assert again.people_ == ("Zoë",)
    assert np.array_equal(again.score("", ["aaa", "b"]), model.score("", ["aaa", "b"]))


@objective(paper="ours", score=reward)
def louder(batch: Any) -> Any:
    """-log sigmoid of twice the gap.

    Use it where words are not loud enough.
    """
    return torch.nn.functional.softplus(-2 * (batch.logp[:, 0] - batch.logp[:, 1]))


class Own(Head):
    """A score of one's own."""


def test_what_cannot_be_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is not fitted"):
        RewardModel(Head(3)).save(tmp_path / "none")
    with pytest.raises(OptionError, match="Own is a class of your own"):
        RewardModel(Own(3), **QUICK).fit(ANSWERS).save(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    mine = RewardModel(Head(3), louder, **QUICK).fit(ANSWERS)
    with pytest.raises(OptionError, match="a loss of your own, louder; give it"):
        load(mine.save(tmp_path / "loss"))
    again = RewardModel.load(tmp_path / "loss", loss=louder)
    assert again.loss is louder
    assert np.array_equal(again.margins(ANSWERS), mine.margins(ANSWERS))
    with pytest.raises(FeedbackError, match="holds no fitted model"):
        load(tmp_path)
