"""Duplicates, contents, lengths, graph, sources: planted faults are found with their rows, innocent rows are not."""

import json
import re

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.feedback.audit import audit

from .build import audited, match, pair, table

LONG = "The river rises in the hills to the north and flows past the old mill before it reaches the sea"


def test_exact_and_near_duplicates_of_pairs():
    rows = [
        pair("What is the river?", LONG, "It is wet."),
        pair("What is the river?", "It is wet.", LONG, ranks=(2, 1)),  # the same, sides exchanged
        pair("What is the river?", LONG + "!", "It is wet."),
        pair("What is the mill?", LONG, "It grinds corn."),
    ]
    report = audited(rows)
    assert report["duplicate-pair"].rows.tolist() == [1]
    assert report["near-duplicate-pair"].rows.tolist() == [2]
    assert report["duplicate-response"].rows.tolist() == [3]
    assert report["near-duplicate-response"].rows.tolist() == [2]


def test_two_people_on_one_pair_are_no_duplicates():
    rows = [pair("p", LONG, "short", annotator=a) for a in ("ann", "ben")]
    assert "duplicate-pair" not in audited(rows)
    assert "near-duplicate-pair" not in audited(rows)


def test_contents():
    rows = [
        pair("Why?", LONG, "Because it does so every single year."),
        pair("Why?", "  ", LONG + " again"),
        pair("Why not?", "12345 67890 12345 67890", LONG + " twice"),
        pair("Why ever?", "caf� au lait, please and thank you", LONG + " thrice"),
        pair("", LONG + " with no prompt", "no prompt here either, as it seems"),
        *(pair(f"Why {i}?", f"{LONG} {i}", f"so {i} it is, as everyone knows") for i in range(10)),
        pair("Why indeed?", "Потому что река течёт с севера на юг", LONG + " finally"),
    ]
    report = audited(rows)
    assert report["empty-response"].rows.tolist() == [1]
    assert report["non-text"].rows.tolist() == [2]
    assert report["broken-encoding"].rows.tolist() == [3]
    assert report["empty-prompt"].rows.tolist() == [4]
    assert report["other-script"].rows.tolist() == [15]


def test_lengths_in_words_and_in_tokens():
    rows = [pair("one two", "three four", "five"), pair("one", "a b c d e f", "g")]
    found = audited(rows, max_length=4)["over-max-length"]
    assert found.rows.tolist() == [1]
    assert "words (no tokenizer given)" in found.message
    letters = audited(rows, max_length=11, tokenize=lambda texts: [list(map(ord, t)) for t in texts], unit="letters")
    assert letters["over-max-length"].rows.tolist() == [0, 1]
    assert "letters" in letters["over-max-length"].message
    assert "prompt alone" in audited(rows, max_length=2)["over-max-length"].message


def test_a_real_tokenizer_counts_and_cuts(tmp_path):
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = ["the cat sat on the mat"] * 20 + ["a dog ran in the park"] * 20
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["?"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(words, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="?").save_pretrained(tmp_path / "tokenizer")
    rows = [("the cat", "sat on the mat", "zzzzzzzzzz"), ("a dog", "", "ran in the park ö"), ("zz", "a", "the")]
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": p, "chosen": c, "rejected": r}) + "\n" for p, c, r in rows), encoding="utf-8"
    )
    length = [[len(bpe.encode(p).ids) + len(bpe.encode(side).ids) for side in sides] for p, *sides in rows]
    limit = sorted(n for both in length for n in both)[-2]
    page = tmp_path / "audit.html"
    words = ["audit", path, "--tokenizer", tmp_path / "tokenizer", "--max-length", limit, "--out", page]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    content = json.loads(page.with_suffix(".json").read_text())
    assert content["lengths"]["quantiles"]["100%"] == max(n for both in length for n in both)
    assert content["lengths"]["unit"] == f"tokens of {tmp_path / 'tokenizer'}"
    (found,) = (f for f in content["findings"] if f["name"] == "over-max-length")
    assert found["rows"] == [i for i, both in enumerate(length) if max(both) > limit]
    assert len(found["rows"]) == 1


def test_islands_and_lonely_items_by_name():
    rows = [
        match("a", "b"),
        match("b", "c"),
        match("c", "a"),
        match("x", "y"),
        match("x", "y", (2, 1)),
        match("z", "a", None),
    ]
    report = audited(rows)
    assert report["disconnected"].n == 2
    assert "x, y" in report["disconnected"].message
    assert report["disconnected"].rows.tolist() == [3, 4]
    assert "z" in report["never-compared"].message
    assert "no-finite-strength" not in report
    assert "connected" in audited(rows[:3])
    assert "c" in audited([match("a", "b"), match("b", "a"), match("a", "c")])["no-finite-strength"].message


def test_prompts_shared_between_two_files():
    train = [pair(f"A question about the river, number {i}?", "yes", "no", source="train") for i in (1, 22, 333)]
    test = [pair("A question about the river, number 1?", "x", "y", source="test"),
            pair("Something else entirely", "x", "y", source="test")]  # fmt: skip
    found = audited(train + test)["shared-prompt"]
    assert found.rows.tolist() == [0]
    assert found.severity == "warning"
    assert "shared-prompt" not in audited(train)


def test_the_mislabelled_sushi_file_is_caught_by_its_pair(shared_data):
    files = [shared_data / "preflib/sushi_rankings.csv", shared_data / "preflib/00014-00000001.soc"]
    tables = [pluralign.read(f).table.replace_schema_metadata(None) for f in files]
    found = audit(pa.concat_tables(tables))["relabelled-items"]
    assert found.n == 10
    assert "exactly" in found.message
    names = (
        dict(found.details[0].body) if "csv" in found.details[0].header[0] else {b: a for a, b in found.details[0].body}
    )
    # number n of the .soc is name n + 1: what it calls tuna roll is fatty tuna... and so round
    order = [
        "shrimp",
        "sea eel",
        "tuna",
        "squid",
        "sea urchin",
        "salmon roe",
        "egg",
        "fatty tuna",
        "tuna roll",
        "cucumber roll",
    ]
    assert {a: re.search(r"\((.*)\)", b)[1] for a, b in names.items()} == {
        order[(i + 1) % 10]: order[i] for i in range(10)
    }
    half = tables[0].slice(0, 2500), tables[0].slice(2500)
    sources = [
        t.set_column(t.schema.get_field_index("source"), "source", pa.array([s] * len(t)))
        for t, s in zip(half, "ab", strict=True)
    ]
    assert "relabelled-items" not in audit(pa.concat_tables(sources))


def test_page_and_json(tmp_path):
    rows = [
        pair("p <script>alert(1)</script>", "same", "same"),
        *(pair(f"q{i}", f"longer {i}", "s") for i in range(30)),
    ]
    report = audited(rows, max_length=3)
    page = report.to_html(tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//|@import|url\(""", page)
    for finding in report.findings:
        assert f'id="{finding.name}"' in page
    data = json.loads(report.to_json(tmp_path / "a.json").read_text())
    assert [f["name"] for f in data["findings"]] == [f.name for f in report.findings]
    assert data["sizes"]["rows"] == 31
    assert next(f for f in data["findings"] if f["name"] == "equal-responses")["rows"] == [0]
    assert report.table().row_count == len(report.findings)


def test_every_finding_says_interval_or_why():
    rows = [pair(f"q{i % 7}", f"answer {i} is long", "s", annotator=f"a{i % 3}") for i in range(40)] + [match("a", "b")]
    for finding in audited(rows).findings:
        assert (finding.interval is None) == (finding.no_interval is not None), finding.name
        assert finding.message.endswith(".")
        assert finding.remedy


def test_an_empty_table_is_no_trouble():
    report = audit(table([]))
    assert report.sizes["rows"] == 0


@pytest.mark.parametrize(
    "rows", [[match("a", "b")], [pair("p", "a", "b")], [pair("", "a", "b", ranks=None, thumb=True)]]
)
def test_one_row_is_no_trouble(rows, tmp_path):
    audited(rows).to_html(tmp_path / "a.html")


def test_real_files_run_through(shared_data, tmp_path):
    for name in (
        "hh_rlhf",
        "llmfao/crowd-comparisons.csv",
        "pandalm/testset-v1.json",
        "starwars/StarWars.csv",
        "rankme/stp1_likert.csv",
    ):
        report = pluralign.read(shared_data / name).audit()
        assert report.findings
        report.to_html(tmp_path / "a.html")
    empty = pluralign.read(shared_data / "hh_rlhf").audit()["empty-response"]
    assert empty.n == 4
