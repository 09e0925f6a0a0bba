"""Filter: kept and dropped together are all rows, in order, each dropped row with its reasons."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import FeedbackError
from pluralign.feedback.filter import ROW_FINDINGS
from tests.feedback.audit.build import feedback, pair

WORDS = ["yes", "no", "perhaps", "yes ", "", "12345678901234567890123"]
ROWS = st.lists(
    st.builds(
        pair, st.sampled_from(["p", "q"]), st.sampled_from(WORDS), st.sampled_from(WORDS),
        ranks=st.sampled_from([(1, 2), (2, 1), (1, 1), None]), annotator=st.sampled_from([None, "a", "b"]),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_nothing_is_lost(rows):
    source = feedback([pair("p", "x", "y"), *rows])
    kept, dropped = source.filter(*(n for n in ROW_FINDINGS if n != "over-max-length"))
    assert len(kept) + len(dropped) == len(source)

    def bare(j):
        return repr(type(j)(**{f: getattr(j, f) for f in j.__slots__ if f != "meta"}))

    together = sorted([bare(j) for j in kept] + [bare(j) for j in dropped])
    assert together == sorted(bare(j) for j in source)
    assert all(j.meta["dropped_by"] for j in dropped)
    assert not any("dropped_by" in j.meta for j in kept)


def test_reasons_and_history():
    source = feedback(
        [pair("p", "same", "same", meta={"a": 1}), pair("p", "x", "y"), pair("p", "y", "x"), pair("r", "k", "l")]
    )
    kept, dropped = source.filter("contradiction", "equal-responses")
    assert [j.meta for j in dropped] == [{"a": 1, "dropped_by": ["equal-responses"]}] + [
        {"dropped_by": ["contradiction"]}
    ] * 2
    assert len(kept) == 1
    assert kept.history[-1] == {
        "step": "filter", "drop": {"contradiction": 2, "equal-responses": 1}, "rows_in": 4, "rows_dropped": 3,
    }  # fmt: skip


def test_names_that_cannot_be_dropped():
    source = feedback([pair(f"p{i}", f"longer {i}", "s") for i in range(5)])
    with pytest.raises(FeedbackError, match=r"no finding 'near-dup'.*near-duplicate-pair"):
        source.filter("near-dup")
    with pytest.raises(FeedbackError, match="whole file"):
        source.filter("longer-wins")


def test_commands(tmp_path):
    rows = [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {"prompt": "2+2?", "chosen": "5", "rejected": "4"},
            {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}]  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "clean.jsonl"
    done = CliRunner().invoke(app, ["filter", str(path), str(out), "--drop", "contradiction"])
    assert done.exit_code == 0, done.output
    assert len(pluralign.read(out)) == 1
    assert [j.meta["dropped_by"] for j in pluralign.read(tmp_path / "clean.dropped.jsonl")] == [["contradiction"]] * 2
    page = tmp_path / "a.html"
    done = CliRunner().invoke(app, ["audit", str(path), "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "contradiction" in done.output
    assert "contradiction" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["sizes"]["rows"] == 3
