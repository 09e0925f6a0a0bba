"""Bad input to audit, filter and convert: one sentence that says where, what and what to do, and never a traceback."""

import gzip
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import PluralignError

PAIRS = [{"prompt": f"question {i}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(5)]
VOTE = {"model_a": "x", "model_b": "y", "winner": "model_a"}


def lines(rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def packed(rows, share):
    whole = gzip.compress(lines(rows).encode())
    return whole[: int(len(whole) * share)]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal(*words) -> str:
    """The one sentence with which a command stops."""
    done = run(*words)
    assert done.exit_code != 0, done.output
    assert isinstance(done.exception, PluralignError), done.exception
    sentence = str(done.exception)
    assert "\n" not in sentence, sentence
    return sentence


draw = random.Random(0)
NOISE = bytes(draw.randrange(256) for _ in range(3000))
LONG = [{**row, "prompt": "".join(draw.choices("abcdefgh ", k=300))} for row in PAIRS * 20]

REFUSED = {
    "missing column": ("a.jsonl", lines([{"prompt": "p", "chosen": "c"}]), "lacks only 'rejected'.*; map its columns"),
    "wrong types": ("a.jsonl", lines([{"prompt": 1, "chosen": 7, "rejected": 8}]), "row 1, field 'chosen': holds int"),
    "no line is JSON": ("a.jsonl", "not json\nnor this\n", r"row 1, field '\(line\)': not JSON"),
    "unknown label": ("a.jsonl", lines([{**VOTE, "winner": "gauche"}]), "row 1, field 'winner': the label 'gauche'"),
    "equal sides": ("a.jsonl", lines([{**PAIRS[0], "rejected": "yes 0"}]), "both responses are the same"),
    "NaN score": ("a.jsonl", '{"prompt": "p", "response": "r", "rating": NaN}\n', "field 'rating': is empty; give"),
    "empty file": ("a.jsonl", "", "the file is empty"),
    "blank lines": ("a.jsonl", "\n\n\n", "no rows"),
    "header alone": ("a.csv", "prompt,chosen,rejected\n", "no rows"),
    "unclosed quote": ("a.csv", 'prompt,chosen,rejected\n"a,b,c\nd,e,f\n', r"row 1, field '\(row\)'.*a quote"),
    "binary JSON": ("a.jsonl", NOISE, "not text"),
    "binary CSV": ("a.csv", NOISE, "not text"),
    "binary Parquet": ("a.parquet", b"PAR1" + NOISE, "not a readable Parquet file"),
    "picture": ("a.png", NOISE, "'.png' files are not tables of rows; known ones are .csv"),
    "gzip cut at once": ("a.jsonl.gz", packed(LONG, 0.001), "the compressed data ends or breaks here"),
    "no gzip": ("a.jsonl.gz", b"hello\n", "not JSON"),
    "array cut": ("a.json", json.dumps(PAIRS)[:60], "the JSON array breaks off"),
    "number for rows": ("a.json", "42", "an? int where an object with named fields was expected"),
    "rows inside": ("a.json", json.dumps({"data": PAIRS}), "the rows lie inside 'data'"),
    "endless names": ("a.csv", ",".join(f"{'x' * 500}{i}" for i in range(99)) + "\n" + "1," * 98 + "1\n", "87 more"),
    "field too long": ("a.jsonl", lines([{**PAIRS[0], "prompt": "x" * 2_000_000}]), "2,000,000 characters"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_source_with_nothing_to_keep_is_refused_in_a_sentence(case, tmp_path):
    name, content, says = REFUSED[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in (["audit", path, "-o", tmp_path / "o.html"], ["convert", path, tmp_path / "o.parquet"]):
        sentence = refusal(*command)
        assert len(sentence) < 2000, "too long to be read"
        assert name in sentence
        assert re.search(says, sentence), sentence
    assert sorted(p.name for p in tmp_path.iterdir()) == [name], "something was left behind"


KEPT = {
    "line that is no JSON": ("a.jsonl", lines([*PAIRS[:2], '{"prompt": ', *PAIRS[2:]]), 5, "row 3, field '(line)'"),
    "duplicate ids": ("a.jsonl", lines([{**r, "id": "1"} for r in PAIRS]), 1, "row 2, field 'id': '1' was already"),
    "mixed shapes": ("a.jsonl", lines([*PAIRS, VOTE, {"text": "t"}]), None, "dropped"),
    "ragged rows": ("a.csv", "prompt,chosen,rejected\na,b,c\nd,e\nf,g,h,i\n", 1, "2 cells under 3 column names"),
    "gzip cut": ("a.jsonl.gz", packed(LONG, 0.5), None, "truncated-file"),
    "UTF-16": ("a.csv", "prompt,chosen,rejected\nä,b,c\n".encode("utf-16"), 1, "read as UTF-16"),
    "Latin-1": ("a.csv", "prompt,chosen,rejected\nä,b,c\n".encode("latin-1"), 1, "read as Latin-1"),
    "end inside a character": ("a.csv", b"prompt,chosen,rejected\na,b,c\xc2", 1, "read as Latin-1"),
    "too long": ("a.jsonl", lines([*PAIRS, {**PAIRS[0], "prompt": "x" * 2_000_000}]), 5, "row 6, field 'prompt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_rows_that_cannot_be_read_are_counted_and_strict_stops_at_them(case, tmp_path):
    name, content, kept, says = KEPT[case]
    path, out = tmp_path / name, tmp_path / "o.parquet"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("convert", path, out)
    assert done.exit_code == 0, done.output
    assert says in done.output
    if kept is not None:
        assert len(pluralign.read(out)) == kept
    if "read as" not in says:
        assert name in refusal("convert", path, tmp_path / "p.parquet", "--strict")
        assert not (tmp_path / "p.parquet").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("audit {ok} --format trl_prefrence", "no format 'trl_prefrence'; did you mean trl_preference"),
        ("audit {ok} --format arena", "none of 5 rows could be kept; 5 missing-field.*'winner'"),
        ("audit {ok} --format preflib", "none of 5 rows could be kept; 5 invalid-order"),
        ("audit {ok} --format prism_folder", "this format reads a folder, and this is a file"),
        ("audit {ok} --columns winner", "not of the form field=column"),
        ("audit {ok} --columns winner=nosuch", "no column 'nosuch' to use as winner; its columns are chosen"),
        ("audit {ok} --tokenizer {folder}", "tokenizer '.*' cannot be loaded .*; give a model name or a folder"),
        ("audit {ok} --against {tmp}/none.jsonl", "none.jsonl: no such file or folder"),
        ("audit {tmp}/none.jsonl", "none.jsonl: no such file or folder"),
        ("audit {folder}", "holds no files of rows"),
        ("audit {long}", "cannot be looked up"),
        ("audit {ok} -o {ok}", "is also the source"),
        ("audit {ok} -o {tmp}/page.json", "is also another result"),
        ("audit {ok} -o {folder}", "is a folder; name a file in it"),
        ("audit {ok} -o {ok}/page.html", "is a file and not a folder"),
        ("filter {ok} {tmp}/o.jsonl --drop contradictions", "no finding 'contradictions'; did you mean contradiction"),
        ("filter {ok} {tmp}/o.jsonl --drop longer-wins", "is about the whole file"),
        ("filter {ok} {tmp}/o.jsonl --drop ,", "--drop names no finding; give one"),
        ("filter {ok} {tmp}/o.jsonl --drop over-max-length", "needs --max-length"),
        ("filter {ok} {tmp}/o.jsonl --drop contaminated", "--drop contaminated and --against go together"),
        ("filter {ok} {ok} --drop tie", "is also the source"),
        ("filter {ok} {tmp}/o.txt --drop tie", "written as .parquet, .jsonl or .jsonl.gz"),
        ("filter {ok} {tmp}/o.jsonl --drop tie --dropped {tmp}/o.jsonl", "is also another result"),
        ("convert {ok} {tmp}/o.csv", "written as .parquet, .jsonl or .jsonl.gz; change the ending"),
        ("convert {ok} {tmp}/o", "change the ending"),
        ("convert {ok} {ok}", "is also the source"),
        ("convert {ok} {tmp}/o.jsonl --to arena", "cannot write 'arena'; formats that can be written are"),
        ("convert {ok} {tmp}/o.jsonl --to trl_stepwise", "row 1 cannot be written as trl_stepwise: field"),
        ("convert {ok} {tmp}/o.soc", "row 1 cannot be written as .soc: field 'prompt'"),
        ("convert {ok} {tmp}/o.jsonl --to preflib", "preflib is written as .soc, .soi, .toc or .toi"),
        ("convert {ok} {tmp}/o.jsonl --as nothing", "--as nothing: not one of pairs"),
        ("convert {ok} {tmp}/o.jsonl --as ratings", "nothing is left as ratings"),
        ("convert {ok} {tmp}/o.jsonl --as binarized", "no response has a rating 'overall'"),
        ("convert {ok} {tmp}/o.jsonl --aspect helpful", "--aspect needs --as"),
        ("convert {ok} {tmp}/o.jsonl --seed 1", "--seed needs --as binarized"),
        ("convert {ok} {tmp}/o.jsonl --without colour", "no field 'colour' to empty; the fields are prompt"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence_and_nothing_is_written(words, says, tmp_path):
    ok, folder = tmp_path / "ok.jsonl", tmp_path / "folder"
    ok.write_text(lines(PAIRS))
    folder.mkdir()
    places = {"ok": ok, "folder": folder, "tmp": tmp_path, "long": "x" * 5000 + ".jsonl"}
    sentence = refusal(*(word.format(**places) for word in words.split()))
    assert re.search(says, sentence), sentence
    assert ok.read_text() == lines(PAIRS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "ok.jsonl"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.floats(0, 1), st.integers(0, 255))
def test_a_damaged_file_of_our_own_is_refused_in_a_sentence(tmp_path, where, byte):
    path = tmp_path / "own.parquet"
    pluralign.read(PAIRS).write(path)
    content = bytearray(path.read_bytes())
    content[min(len(content) - 1, int(where * len(content)))] = byte
    path.write_bytes(content)
    try:
        list(pluralign.read(path))
    except PluralignError as error:
        said = str(error)
    else:
        return
    assert "own.parquet" in said
    assert "\n" not in said


def test_a_file_that_may_not_be_read_and_a_place_that_may_not_be_written_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text(lines(PAIRS))
    with monkeypatch.context() as patched:
        patched.setattr("pluralign.feedback.storage.os.access", lambda *_: False)
        assert "may not be written to" in refusal("convert", path, tmp_path / "o.parquet")
    opened = Path.open

    def forbidden(self, *rest, **more):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *rest, **more)

    monkeypatch.setattr(Path, "open", forbidden)
    assert "a.jsonl: may not be read" in refusal("audit", path, "-o", tmp_path / "o.html")


def test_a_folder_of_two_kinds_is_refused_with_the_parts_to_give(tmp_path):
    for part, row in (("pairs", PAIRS[0]), ("votes", VOTE)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.jsonl").write_text(lines([row]))
    assert refusal("audit", tmp_path).endswith(
        "holds files of 2 formats, arena (votes) and trl_preference (pairs); give one of these at a time, or read all"
        " files as one format with --format"
    )
    (tmp_path / "votes" / "a.jsonl").replace(tmp_path / "pairs" / "b.jsonl")
    assert "arena (pairs/b.jsonl) and trl_preference (pairs/a.jsonl)" in refusal("audit", tmp_path)


def test_what_is_taken_of_a_folder_is_said(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(PAIRS))
    (tmp_path / "b.csv").write_text("prompt,chosen,rejected\np,q,r\n")
    (tmp_path / "c.jsonl").write_text(lines([{"other": 1}]))
    (tmp_path / "notes.md").write_text("notes")
    report = pluralign.read(tmp_path).report
    assert report.kept == 6
    assert report.remarks == [
        "3 files of the folder taken",
        "read as trl_preference, though alone they would fit no format: c.jsonl",
        "not taken, as not files of rows: notes.md",
    ]


def test_the_argument_folder_names_its_two_subfolders(shared_data):
    sentence = refusal("audit", shared_data / "ukpconvarg1")
    assert "ukpconvarg (UKPConvArg1Strict-CSV) and ukpconvarg_ranking (UKPConvArg1-Ranking-CSV)" in sentence
