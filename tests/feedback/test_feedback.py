"""The table and its round trips, the conversions, the splits."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError
from pluralign.feedback import Feedback, Judgement, Message, Response, read, storage, text

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
extras = st.dictionaries(
    words.filter(bool), st.one_of(st.integers(-9, 9), words, st.booleans()), min_size=1, max_size=2
)
messages = st.builds(
    Message,
    words | st.none(),
    st.none() | st.sampled_from(["user", "assistant"]),
    st.none() | finite,
    st.none() | extras,
)
responses = st.builds(
    Response,
    st.lists(messages, min_size=1, max_size=2).map(tuple),
    st.none() | words,
    st.none() | words,
    st.dictionaries(words, finite, max_size=2),
)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@st.composite
def judgements(draw: st.DrawFn) -> Judgement:
    k = draw(st.integers(1, 3))
    return Judgement(
        prompt=tuple(draw(st.lists(messages, max_size=2))),
        responses=tuple(draw(st.lists(responses, min_size=k, max_size=k))),
        ranks=draw(st.none() | st.lists(st.none() | st.integers(1, 3), min_size=k, max_size=k).map(tuple)),
        unranked_below=draw(st.none() | st.booleans()),
        strength=draw(st.none() | finite),
        probability=draw(st.none() | st.floats(0, 1, width=32)),
        thumb=draw(st.none() | st.booleans()),
        rationale=draw(st.none() | words),
        weight=draw(st.none() | st.floats(0, 9, width=32)),
        annotator=draw(st.none() | words),
        annotator_attributes=draw(st.none() | extras),
        time=draw(st.none() | moments),
        positions=draw(st.none() | st.permutations(range(1, k + 1)).map(tuple)),
        tools=draw(st.none() | st.lists(extras, max_size=1)),
        meta=draw(st.just({}) | extras),
        source="s",
        row=draw(st.integers(0, 99)),
        format="f",
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(judgements(), min_size=1, max_size=6))
def test_every_field_survives_every_container(rows: list[Judgement], tmp_path: Path) -> None:
    feedback = Feedback.from_judgements(rows)
    assert list(feedback) == rows
    assert list(read(feedback.write(tmp_path / "f.parquet"))) == rows
    for other in (
        Feedback.from_arrow(feedback.to_arrow()),
        Feedback.from_polars(feedback.to_polars()),
        Feedback.from_pandas(feedback.to_pandas()),
    ):
        assert other.fingerprint == feedback.fingerprint


def pairs(n: int = 30) -> Feedback:
    rows = [
        Judgement(
            text(f"prompt {i % 7}"),
            (Response(text(f"good {i}"), model=f"m{i % 3}"), Response(text(f"bad {i}"), model=f"m{(i + 1) % 3}")),
            ranks=(1, 2) if i % 2 else (2, 1),
            annotator=f"a{i % 4}",
            time=datetime(2024, 1, 1 + i % 28, tzinfo=UTC),
            id=f"id{i}",
        )
        for i in range(n)
    ]
    return Feedback.from_judgements(rows)


def test_json_lines_and_datasets_give_the_same_rows_back(tmp_path: Path) -> None:
    feedback = pairs()
    assert [j.responses for j in read(feedback.write(tmp_path / "f.jsonl"))] == [j.responses for j in feedback]
    again = read(feedback.write(tmp_path / "f.jsonl.gz"))
    once_more = read(again.write(tmp_path / "g.jsonl"))
    assert again.fingerprint == once_more.fingerprint
    assert Feedback.from_datasets(feedback.to_datasets()).fingerprint == feedback.fingerprint


def test_the_fingerprint_sees_values_and_not_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    feedback = pairs()
    chunked = Feedback(pa.concat_tables([feedback.table.slice(0, 7), feedback.table.slice(7)]))
    assert chunked.fingerprint == feedback.fingerprint
    assert feedback[1:].fingerprint != feedback[:-1].fingerprint
    monkeypatch.setattr(storage, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(storage, "BATCH_ROWS", 4)
    assert pairs().fingerprint == feedback.fingerprint


def test_history_travels_in_parquet_and_nothing_is_written_half(tmp_path: Path) -> None:
    up = pairs().unpaired()
    kept = read(up.write(tmp_path / "u.parquet"))
    assert kept.history == up.history
    assert kept.history[0]["conversion"] == "unpaired"
    with pytest.raises(FeedbackError, match="row 1 cannot be written as"):
        up.write(tmp_path / "bad.jsonl", "trl_preference")
    with pytest.raises(FeedbackError, match="change the ending"):
        up.write(tmp_path / "bad.xlsx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["u.parquet"]


def ranking(*ranks: int | None, below: bool | None = None) -> Feedback:
    rows = tuple(Response(model=str(i)) for i in range(len(ranks)))
    return Feedback.from_judgements([Judgement(responses=rows, ranks=ranks, unranked_below=below)])


@given(ranks=st.lists(st.integers(1, 4), min_size=2, max_size=6))
@settings(deadline=None, max_examples=40)
def test_a_ranking_gives_every_pair_and_ties_are_never_ordered(ranks: list[int]) -> None:
    k = len(ranks)
    tied = sum(a == b for i, a in enumerate(ranks) for b in ranks[i + 1 :])
    strict = list(ranking(*ranks).pairs(ties="drop"))
    assert len(strict) == k * (k - 1) // 2 - tied
    assert all(ranks[int(j.responses[0].model)] < ranks[int(j.responses[1].model)] for j in strict)
    assert Counter(j.ranks for j in ranking(*ranks).pairs()) == Counter({(1, 2): len(strict), (1, 1): tied}) - Counter()


def test_a_choice_orders_the_chosen_above_the_rest_only() -> None:
    found = list(ranking(None, 1, None, below=True).pairs())
    assert [[r.model for r in j.responses] for j in found] == [["1", "0"], ["1", "2"]]
    partial = ranking(1, None, 2).pairs()
    assert len(partial) == 1
    assert partial.history[-1]["left_out"] == {"not compared": 2}


def test_unpairing_gives_two_rows_a_pair_half_of_them_up() -> None:
    up = pairs().unpaired()
    thumbs = [j.thumb for j in up]
    assert (len(thumbs), sum(thumbs)) == (60, 30)
    assert all(
        ("good" in j.responses[0].messages[0].content) == (j.thumb == (i // 2 % 2 == 1)) for i, j in enumerate(up)
    )


def test_numbers_of_a_pair_turn_round_with_it() -> None:
    sides = (Response(model="a"), Response(model="b"))
    j = Judgement(responses=sides, ranks=(2, 1), strength=-2.0, margin=-1.0, probability=0.2, positions=(1, 2))
    turned = Feedback.from_judgements([j]).pairs()[0]
    assert [r.model for r in turned.responses] == ["b", "a"]
    assert (turned.strength, turned.margin, turned.probability, turned.positions) == (2.0, 1.0, 0.8, (2, 1))


def test_the_cap_per_prompt_does_not_depend_on_row_order() -> None:
    feedback = pairs()
    turned = feedback[::-1]
    first = {j.responses[0].messages[0].content for j in feedback.pairs(max_per_prompt=2, seed=5)}
    assert first == {j.responses[0].messages[0].content for j in turned.pairs(max_per_prompt=2, seed=5)}
    assert len(first) == 14
    assert first != {j.responses[0].messages[0].content for j in feedback.pairs(max_per_prompt=2, seed=6)}


def test_ratings_become_rankings_votes_and_ratings_again() -> None:
    rated = [
        Judgement(text("q"), (Response(text(str(v)), model=f"m{i}", ratings={"taste": v}),), annotator="ada")
        for i, v in enumerate((3.0, 5.0, 3.0))
    ]
    feedback = Feedback.from_judgements(rated)
    ranked = feedback.rankings()
    assert [j.ranks for j in ranked] == [(2, 1, 2)]
    assert len(ranked.ratings()) == 3
    assert [r.messages for r in ranked.votes()[0].responses] == [()] * 3
    two = Judgement(responses=(Response(ratings={"a": 1.0, "b": 2.0}), Response(ratings={"a": 2.0, "b": 1.0})))
    with pytest.raises(FeedbackError, match="rated on a, b; name the one"):
        Feedback.from_judgements([two]).pairs()
    assert Feedback.from_judgements([two]).pairs(aspect="a")[0].responses[0].ratings["a"] == 2.0


@pytest.mark.parametrize("by", ["prompt", "annotator"])
@pytest.mark.parametrize("seed", range(4))
def test_groups_stay_together_and_sides_do_not_move(by: str, seed: int) -> None:
    feedback = pairs(60)
    train, test = feedback.split(0.4, by=by, seed=seed)
    name = (lambda j: j.prompt) if by == "prompt" else (lambda j: j.annotator)
    assert not {name(j) for j in train} & {name(j) for j in test}
    assert len(train) + len(test) == 60
    _, fewer = feedback[::-1][:50].split(0.4, by=by, seed=seed)
    assert {j.id for j in fewer} <= {j.id for j in test}


def test_splits_by_item_by_time_and_by_a_function() -> None:
    feedback = pairs(40)
    train, test = feedback.split(0.3, by="item")
    assert not {r.messages for j in train for r in j.responses} & {r.messages for j in test for r in j.responses}
    train, test = feedback.split(0.3, by="time")
    assert max(j.time for j in train) < min(j.time for j in test)
    train, test = feedback.split(0.3, by=lambda j: j.id[-1], seed=3)
    assert not {j.id[-1] for j in train} & {j.id[-1] for j in test}


def test_a_split_that_leaves_a_side_empty_says_so() -> None:
    with pytest.raises(FeedbackError, match="leaves no test rows"):
        pairs(3).split(0.01)
    with pytest.raises(FeedbackError, match="some chain of comparisons"):
        Feedback.from_judgements([Judgement(responses=(Response(model="a"), Response(model="b")))] * 4).split(
            0.5, by="item"
        )
    with pytest.raises(FeedbackError, match="cannot split by 'colour'"):
        pairs().split(0.5, by="colour")
    with pytest.raises(FeedbackError, match="rows do not say it"):
        pairs().split(0.5, by="meta.topic")


def test_rows_can_be_picked_by_place_and_by_mask() -> None:
    feedback = pairs(5)
    assert feedback[-1] == list(feedback)[-1]
    assert [j.id for j in feedback.where(np.array([0, 1, 0, 0, 1]))] == ["id1", "id4"]
    assert feedback.without("annotator").table["annotator"].null_count == 5
    with pytest.raises(IndexError):
        feedback[5]
