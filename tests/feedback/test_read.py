"""Reading: what is bad is said in one sentence, counted, and loses nothing else."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pluralign.errors import FeedbackError, PluralignError
from pluralign.feedback import Feedback, Judgement, Response, read, text
from pluralign.feedback.checks import LONGEST_TEXT

PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
VOTE = {"model_a": "x", "model_b": "y", "winner": "model_a"}


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def adds_up(feedback: Feedback) -> bool:
    report = feedback.report
    assert report is not None
    return report.read == report.kept + sum(report.dropped.values()) and report.judgements == len(feedback)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        ('{"prompt": ', "invalid-json", "row 2, field '(line)': not JSON"),
        ("[1, 2]", "not-a-row", "row 2, field '(row)'"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "missing-field", "row 2, field 'rejected'"),
        ({"prompt": "p", "chosen": 7, "rejected": "a"}, "wrong-type", "row 2, field 'chosen'"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "equal-sides", "row 2, field 'responses'"),
        ({**PAIR, "prompt": "x" * (LONGEST_TEXT + 1)}, "too-long", "row 2, field 'prompt': 1,000,001 characters"),
        ({**PAIR, "weight": -1}, "out-of-range", "row 2, field 'weight'"),
        ({**PAIR, "probability": 1.5}, "out-of-range", "row 2, field 'probability'"),
        ({**PAIR, "margin": "much"}, "not-a-number", "row 2, field 'margin'"),
        ({**PAIR, "time": "yesterday"}, "not-a-time", "row 2, field 'time'"),
    ],
)
def test_a_bad_row_is_dropped_with_its_sentence(bad: Any, reason: str, says: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "pairs.jsonl", [PAIR, bad, {**PAIR, "prompt": "other"}])
    feedback = read(path, "table")
    assert len(feedback) == 2
    assert feedback.report.dropped == {reason: 1}
    assert adds_up(feedback)
    assert says in feedback.report.examples[reason][0]
    assert str(path) in feedback.report.examples[reason][0]
    assert ";" in feedback.report.examples[reason][0], "no remedy"
    with pytest.raises(FeedbackError, match="row 2"):
        read(path, "table", strict=True)


@pytest.mark.parametrize(
    ("label", "remedy"),
    [("gauche", "use model_a"), ("1", "write model_a"), ("0", "write model_a"), ("", "say who won")],
)
def test_an_unknown_label_is_never_a_tie(label: str, remedy: str) -> None:
    feedback = read([VOTE, {**VOTE, "winner": label}], "table")
    assert feedback.kinds["ties"] == 0
    assert len(feedback) == 1
    assert remedy in next(iter(feedback.report.examples.values()))[0]


def test_labels_ties_and_both_bad_are_told_apart() -> None:
    rows = [{**VOTE, "winner": w} for w in ("model_b", "right", "y", "B", "tie", "tie (bothbad)", "both_bad")]
    found = [(j.ranks, j.both_bad) for j in read(rows, "table")]
    assert found == [((2, 1), None)] * 4 + [((1, 1), None), ((1, 1), True), ((1, 1), True)]


def test_duplicate_ids_are_dropped_unless_somebody_else_says_it() -> None:
    rows = [{**PAIR, "id": "a"}, {**PAIR, "id": "a"}, {**PAIR, "id": "a", "annotator": "ada"}]
    feedback = read(rows, "table")
    assert len(feedback) == 2
    assert feedback.report.dropped == {"duplicate-id": 1}


def test_nan_scores_are_dropped() -> None:
    import pandas as pd

    frame = pd.DataFrame({"prompt": ["a", "b"], "response": ["c", "d"], "rating": [1.0, float("nan")]})
    feedback = read(frame)
    assert len(feedback) == 1
    assert adds_up(feedback)
    both = read([{"prompt": "a", "chosen": "b", "rejected": "c", "margin": float("inf")}, PAIR], "table")
    assert both.report.dropped == {"not-a-number": 1}


def test_a_truncated_gzip_keeps_the_rows_before_the_break(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = [{**PAIR, "prompt": "".join(draw.choices("abcdefgh ", k=200))} for _ in range(400)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    feedback = read(path, "table")
    assert 0 < len(feedback) < 400
    assert feedback.report.dropped["truncated-file"] == 1
    assert adds_up(feedback)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json", "a.parquet"])
def test_an_empty_file_is_said_to_be_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FeedbackError, match="empty"):
        read(tmp_path / name)


def test_files_that_cannot_be_feedback_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n" + bytes(range(256)))
    (tmp_path / "noise.jsonl").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "broken.json").write_text('[{"a": 1}, ')
    (tmp_path / "fake.parquet").write_text("not parquet")
    (tmp_path / "folder").mkdir()
    for name in ("nothing.csv", "picture.png", "noise.jsonl", "broken.json", "fake.parquet", "folder"):
        with pytest.raises(FeedbackError) as refused:
            read(tmp_path / name)
        assert "\n" not in str(refused.value)
        assert name in str(refused.value)


def test_mixed_shapes_in_one_file_are_counted_apart() -> None:
    feedback = read([VOTE, {"model_a": "x"}, {"something": "else"}, VOTE])
    assert len(feedback) == 2
    assert sum(feedback.report.dropped.values()) == 2
    assert adds_up(feedback)


def test_no_format_and_a_wrong_format_name_what_there_is() -> None:
    with pytest.raises(FeedbackError, match=r"no known format fits \(columns: colour\)"):
        read([{"colour": "red"}])
    with pytest.raises(FeedbackError, match="no format 'csv'; known ones are"):
        read([VOTE], "csv")


def test_columns_can_be_given_their_meaning() -> None:
    rows = [{"L": "tea", "R": "coffee", "choice": "left", "who": 3, "note": "n"}]
    columns = {"model_a": "L", "model_b": "R", "winner": "choice", "annotator": "who"}
    j = read(rows, columns=columns)[0]
    assert ([r.model for r in j.responses], j.ranks, j.annotator, j.meta) == (
        ["tea", "coffee"],
        (1, 2),
        "3",
        {"note": "n"},
    )
    with pytest.raises(FeedbackError, match="no column 'sieger' to use as winner; its columns are"):
        read(rows, columns={"winner": "sieger"})


def test_encodings_and_quotes(tmp_path: Path) -> None:
    latin = tmp_path / "votes.csv"
    latin.write_bytes("model_a,model_b,winner\ncafé,thé,left\n".encode("latin-1"))
    feedback = read(latin)
    assert feedback[0].responses[0].model == "café"
    assert "not UTF-8 (byte 0xe9 near offset 26)" in feedback.report.remarks[0]
    marked = tmp_path / "bom.csv"
    marked.write_bytes(b"\xef\xbb\xbfmodel_a,model_b,winner\nx,y,left\n")
    assert len(read(marked)) == 1
    literal = tmp_path / "votes.tsv"
    literal.write_text('model_a\tmodel_b\twinner\n"x\ty"\tleft\n')
    assert [r.model for r in read(literal)[0].responses] == ['"x', 'y"']
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("model_a,model_b,winner\nx,y,left\nx,y\nx,y,left,more\n")
    assert read(ragged).report.dropped == {"ragged-row": 2}


def test_an_empty_reply_is_kept_and_noted() -> None:
    feedback = read([{**PAIR, "rejected": " "}], "table")
    assert len(feedback) == 1
    assert feedback.report.noted == {"empty-response": 1}


def test_several_splits_ask_which() -> None:
    import datasets

    whole = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list([PAIR]), "test": datasets.Dataset.from_list([PAIR])}
    )
    with pytest.raises(FeedbackError, match="has the splits train, test"):
        read(whole)
    assert len(read(whole["train"])) == 1


SAMPLES: list[tuple[str, list[dict[str, Any]]]] = [
    ("a.jsonl", [{**PAIR, "prompt": f"p{i}", "margin": i, "id": f"i{i}"} for i in range(6)]),
    ("b.csv", [{**VOTE, "worker": f"w{i}", "tstamp": 1.6e9 + i} for i in range(6)]),
    ("c.json", [{"instruction": "q", "output_1": "a", "generator_1": "g", "output_2": "b", "generator_2": "h",
                 "preference": 1.5, "annotator": "judge"}] * 5),
    ("d.jsonl.gz", [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}] * 5),
    ("e.parquet", [{"prompt": "q", "completion": f"c{i}", "label": bool(i % 2)} for i in range(6)]),
]  # fmt: skip


def as_bytes(name: str, rows: list[dict[str, Any]]) -> bytes:
    if name.endswith(".csv"):
        lines = [",".join(rows[0]), *(",".join(str(row.get(key, "")) for key in rows[0]) for row in rows)]
        return ("\n".join(lines) + "\n").encode()
    if name.endswith(".parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue().to_pybytes()
    if name.endswith(".json"):
        return json.dumps(rows).encode()
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return gzip.compress(text, mtime=0) if name.endswith(".gz") else text


nested = st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
strange = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.booleans() | nested


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutated_file_ever_ends_in_a_traceback(data: st.DataObject, tmp_path: Path) -> None:
    name, rows = data.draw(st.sampled_from(SAMPLES))
    rows = [dict(row) for row in rows]
    kind = data.draw(st.sampled_from(["bytes", "cut", "drop-key", "retype", "swap"]))
    row = data.draw(st.integers(0, len(rows) - 1))
    key = data.draw(st.sampled_from(sorted(rows[row])))
    if kind == "drop-key":
        del rows[row][key]
    elif kind == "swap" and not name.endswith(".parquet"):
        other = data.draw(st.sampled_from(sorted(rows[row])))
        rows[row][key], rows[row][other] = rows[row][other], rows[row][key]
    elif kind == "retype" and not name.endswith((".parquet", ".csv")):
        rows[row][key] = data.draw(strange)
    content = bytearray(as_bytes(name, rows))
    if kind == "cut":
        content = content[: data.draw(st.integers(1, len(content)))]
    elif kind == "bytes":
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(bytes(content))
    # Any other exception fails the test.
    with contextlib.suppress(PluralignError):
        assert adds_up(read(path))


def test_a_vote_between_two_models_that_said_the_same_counts_for_leaderboards_and_not_for_training() -> None:
    row = {"model_a": "x", "model_b": "y", "response_a": "yes", "response_b": "yes", "prompt": "p"}
    rows = [{**row, "winner": "model_a"}, {**row, "winner": "tie"}, {**row, "response_b": "no", "winner": "model_b"}]
    same_model = {**row, "model_b": "x", "winner": "first"}
    nameless = {key: row[key] for key in ("response_a", "response_b", "prompt")} | {"winner": "a"}
    feedback = read([*rows, same_model, nameless], "table")
    assert feedback.report.noted == {"equal-texts": 1}
    assert feedback.report.dropped == {"equal-sides": 2}
    assert adds_up(feedback)
    assert len(feedback.votes()) == 3
    training = feedback.pairs()
    assert len(training) == 2, "the tie between equal texts is no preference and stays"
    assert training.history[-1]["left_out"] == {"equal texts": 1}
    assert len(feedback.pairs(equal_texts="keep")) == 3
    assert feedback.unpaired().history[-1]["left_out"] == {"equal texts": 1, "tie": 1}


def test_equal_texts_inside_a_ranking_make_no_training_pair() -> None:
    same = [Response(text("yes"), model="x"), Response(text("yes"), model="y"), Response(text("no"), model="z")]
    ranking = Feedback.from_judgements([Judgement(responses=tuple(same), ranks=(1, 2, 3))])
    pairs = ranking.pairs()
    assert [[r.model for r in j.responses] for j in pairs] == [["x", "z"], ["y", "z"]]
    assert pairs.history[-1]["left_out"] == {"equal texts": 1}
