"""Prompts of a benchmark inside the rows: planted ones are found, edited ones told apart, innocent ones left alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.feedback.record import Judgement, text

from .build import audited, feedback, pair, table

VOCABULARY = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in "rstvz"]


def sentences(rng, count, words=60):
    return [" ".join(rng.choice(VOCABULARY, words)) for _ in range(count)]


def prompts(texts):
    return table([Judgement(text(t)) for t in texts])


def found(rows, benchmark):
    return audited(rows, against={"benchmark": prompts(benchmark)})["contaminated"]


def test_verbatim_edited_and_innocent_rows_are_told_apart():
    rng = np.random.default_rng(0)
    benchmark, innocent = sentences(rng, 40), sentences(rng, 100)
    edited = []
    for item in benchmark[20:]:
        words = item.split()
        for i in rng.choice(len(words), len(words) // 5, replace=False):
            words[i] = "EDITED"
        edited.append(" ".join(words))
    rows = [pair(t, "a", "b") for t in [*benchmark[:20], *edited, *innocent]]
    finding = found(rows, benchmark)
    hit = set(finding.rows.tolist())
    assert hit >= set(range(20)), "planted word for word"
    assert not hit & set(range(40, 140)), "innocent"
    share = {prompt.split(" …")[0]: words for _, words, prompt in finding.details[1].body}
    verbatim = [share[b[:100].rstrip()] for b in benchmark[:20] if b[:100].rstrip() in share]
    assert set(verbatim) == {"100.0%"}
    assert all(
        words != "100.0%" for start, words in share.items() if not any(b.startswith(start) for b in benchmark[:20])
    )
    only_edited = found([pair(t, "a", "b") for t in edited], benchmark)
    mean = float(only_edited.details[0].body[0][4].rstrip("%") or 0)
    assert mean < 60, "a fifth of the words changed leaves whole runs in few places"


def test_prompts_and_responses_are_both_searched_whatever_case_and_marks():
    item = "Which of the two rivers is longer, the Nile or the Amazon, and by how many kilometres?"
    loud = item.upper().replace(",", " -- ")
    hidden = pair("p", "x", loud + " Hm.")
    rows = [pair("p", "x", "y"), pair("Question: " + item, "x", "y"), hidden, pair("p", item[:40], "y")]
    finding = found(rows, [item])
    assert finding.rows.tolist() == [1, 2]
    assert finding.severity == "error"
    assert finding.details[0].body == (("benchmark", 1, 1, 2, "100.0%"),)


def test_short_prompts_are_found_whole_only_and_shorter_ones_are_counted():
    rows = [
        pair("what is two plus two", "4", "5"),
        pair("say what is two plus two again", "4", "5"),
        pair("go on", "a", "b"),
    ]
    finding = found(rows, ["What is two plus two?", "Go on."])
    assert finding.rows.tolist() == [0]
    assert "1 prompt of fewer than 5 words was not looked for" in finding.message


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_same_rows_as_the_plain_search(data):
    word = st.sampled_from(["a", "b"])
    run = st.lists(word, min_size=0, max_size=20).map(" ".join)
    benchmark = data.draw(st.lists(run, min_size=1, max_size=3))
    rows = [pair(p, c, r) for p, c, r in data.draw(st.lists(st.tuples(run, run, run), min_size=1, max_size=6))]

    def grams(words):
        return {tuple(words[i : i + 13]) for i in range(len(words) - 12)}

    plain = []
    for i, j in enumerate(rows):
        texts = [" ".join(m.content for m in part) for part in (j.prompt, *(r.messages for r in j.responses))]
        for item in (b.split() for b in benchmark):
            whole = 5 <= len(item) < 13 and texts[0].split() == item
            if whole or any(grams(item) & grams(t.split()) for t in texts):
                plain.append(i)
    assert found(rows, benchmark).rows.tolist() == sorted(set(plain))


def test_filtering_is_idempotent_and_reads_the_other_file_from_the_command_line(tmp_path):
    rng = np.random.default_rng(1)
    benchmark = sentences(rng, 3, 20)
    rows = [{"prompt": t, "chosen": "a", "rejected": "b"} for t in [*benchmark[:2], *sentences(rng, 4, 20)]]
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    test.write_text("".join(json.dumps({"prompt": t}) + "\n" for t in benchmark))
    first, second = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    for source, out in ((train, first), (first, second)):
        done = CliRunner().invoke(
            app, ["filter", str(source), str(out), "--drop", "contaminated", "--against", str(test)]
        )
        assert done.exit_code == 0, done.output
    assert [j.prompt for j in pluralign.read(first)] == [text(row["prompt"]) for row in rows[2:]]
    assert len(pluralign.read(tmp_path / "one.dropped.jsonl")) == 2
    assert len(pluralign.read(second)) == 4
    page = tmp_path / "audit.html"
    done = CliRunner().invoke(app, ["audit", str(train), "--against", str(test), "--out", str(page)])
    assert done.exit_code == 0, done.output
    content = json.loads(page.with_suffix(".json").read_text())
    assert [f["rows"] for f in content["findings"] if f["name"] == "contaminated"] == [[0, 1]]


@pytest.mark.parametrize("words", ["猫は窓の外の鳥をじっと見ています", "один"])
def test_other_scripts(words):
    item = words if len(words) > 13 else " ".join(words + str(i) for i in range(14))
    assert found([pair("x " + item, "a", "b"), pair("nothing", "a", "b")], [item]).rows.tolist() == [0]


def test_without_other_files_there_is_no_finding_and_with_one_its_absence_is_said():
    rows = [pair("p q r", "a", "b")]
    assert "contaminated" not in feedback(rows).audit()
    finding = found(rows, ["one two three four five six seven eight nine ten eleven twelve thirteen"])
    assert (finding.n, finding.severity) == (0, "info")
