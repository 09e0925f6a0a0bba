"""Each public format: recognised among all others, and read as its card says."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pluralign
from pluralign.errors import BadRow, FeedbackError
from pluralign.feedback.formats import Record, Sample, formats
from pluralign.feedback.record import Judgement, Message, Response, from_row, to_row

from .format_samples import ASPECTS, SAMPLES, USER, assistant, prism, tree

# Read from files that are not rows, or from folders: they have tests of their own.
NOT_ROWS = {
    "pluralign",
    "preflib",
    "preflib_linked",
    "starwars",
    "lamp",
    "llmfao_folder",
    "polis_folder",
    "prism_folder",
}


def parse(name, row):
    return list(formats()[name].parse(Record("file", 1, row)))


def only(name, row):
    (judgement,) = parse(name, row)
    return judgement


def read(name):
    return list(pluralign.read(SAMPLES[name]))


def contents(j):
    return [[m.content for m in r.messages] for r in j.responses]


def test_every_format_of_rows_has_a_sample():
    assert set(SAMPLES) == set(formats()) - NOT_ROWS


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_sample_is_recognised_as_its_own_format_alone(name):
    sample = Sample(None, b"", tuple(Record("rows", i, row) for i, row in enumerate(SAMPLES[name], start=1)))
    found = {fmt.name: hit[0] for fmt in formats().values() if (hit := fmt.detect(sample))}
    best = max(found.values())
    assert [n for n, confidence in found.items() if confidence == best] == [name], found


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_sample_is_read_and_survives_the_table(name):
    feedback = pluralign.read(SAMPLES[name])
    assert feedback.report.format == name
    assert set(feedback.report.dropped) <= {"superseded-vote"}
    for j in feedback:
        assert from_row(to_row(j)) == j


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("value", [None, 3, "?", [], {}, [1], float("nan")])
def test_a_mutated_field_is_read_or_refused_in_one_sentence(name, value):
    for key in SAMPLES[name][0]:
        try:
            feedback = pluralign.read([{**SAMPLES[name][0], key: value}], format=name)
        except FeedbackError:
            continue
        assert feedback.report.read == feedback.report.kept + sum(feedback.report.dropped.values())


def test_an_unknown_file_is_refused_with_what_would_be_known():
    with pytest.raises(FeedbackError, match="no known format fits") as caught:
        pluralign.read([{"colour": "red", "shape": "round"}])
    assert "ultrafeedback" in str(caught.value)


# TRL: seven shapes, both ways.

CHAT = [USER]
TRL = {
    "trl_language_modelling": [{"text": "Blue."}, {"messages": [USER, assistant("Blue.")]}],
    "trl_prompt_only": [{"prompt": "Sky"}, {"prompt": CHAT}],
    "trl_prompt_completion": [
        {"prompt": "Sky", "completion": " blue"},
        {"prompt": CHAT, "completion": [assistant("Blue.")]},
    ],
    "trl_preference": [
        {"prompt": "Sky", "chosen": " blue", "rejected": " red", "margin": 0.5, "weight": 2.0, "annotator": "ann"},
        {"prompt": CHAT, "chosen": [assistant("Blue.")], "rejected": [assistant("Dog.")], "chosen_model": "gpt"},
        {
            "prompt": CHAT,
            "chosen": [{"role": "assistant", "tool_calls": [{"name": "look"}]}, assistant("Blue.")],
            "rejected": [assistant("")],
            "tools": [{"type": "function"}],
            "shop": {"kind": "kept as it is"},
        },
    ],
    "trl_preference_implicit": [
        {"chosen": "The sky is blue.", "rejected": "The sky is black."},
        {"chosen": "It is blue", "rejected": "It is"},
        {"chosen": [USER, assistant("Blue.")], "rejected": [USER, assistant("Dog.")]},
        {"chosen": [USER, assistant("Hm"), USER, assistant("b")], "rejected": [USER, assistant("Hm")]},
    ],
    "trl_unpaired": [
        {"prompt": "Sky", "completion": " blue", "label": True},
        {"prompt": CHAT, "completion": [assistant("Dog.")], "label": False, "beta": 0.2},
    ],
    "trl_stepwise": [
        {"prompt": "Sum?", "completions": ["a", "b"], "labels": [True, False]},
        {"prompt": "Sum?", "completions": ["a", "b"], "labels": [0.25, 1.0]},
    ],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "chatgpt", "value": "Hello"}]},
        {
            "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "Go"},
        },
    ],
}


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in TRL.items() for row in rows])
def test_trl_rows_come_back_as_they_were_and_so_do_judgements(name, row):
    j = only(name, row)
    write = formats()[name].write
    assert write is not None
    assert write(j) == row
    assert only(name, write(j)) == j


words = st.text(min_size=1, max_size=20)


@settings(deadline=None)
@given(words, words, words)
def test_trl_implicit_texts_survive_whatever_they_hold(prompt, chosen, rejected):
    row = {"chosen": prompt + chosen, "rejected": prompt + rejected}
    if row["chosen"] == row["rejected"]:
        with pytest.raises(BadRow, match="word for word"):
            parse("trl_preference_implicit", row)
        return
    assert formats()["trl_preference_implicit"].write(only("trl_preference_implicit", row)) == row


def test_implicit_prompts_end_before_a_word_and_not_inside_it():
    j = only("trl_preference_implicit", {"chosen": "It is blue", "rejected": "It is black"})
    assert j.prompt[0].content == "It is"
    assert contents(j) == [[" blue"], [" black"]]


def test_explicit_prompts_are_kept_where_continuations_share_a_beginning():
    row = {"prompt": "Sky", "chosen": " is blue", "rejected": " is red"}
    explicit = only("trl_preference", row)
    there = formats()["trl_preference_implicit"].write(explicit)
    back = formats()["trl_preference"].write(only("trl_preference_implicit", there))
    assert back != row
    assert formats()["trl_preference"].write(explicit) == row


def test_writing_turns_every_sign_to_the_preferred_response():
    sides = (Response(model="x"), Response(model="y"))
    j = Judgement(responses=sides, ranks=(2, 1), strength=-2.0, margin=-1.0, probability=0.25, positions=(1, 2))
    row = formats()["trl_preference"].write(j)
    assert {k: row[k] for k in ("chosen_model", "strength", "margin", "probability", "positions")} == {
        "chosen_model": "y",
        "strength": 2.0,
        "margin": 1.0,
        "probability": 0.75,
        "positions": [2, 1],
    }


def test_a_tie_is_not_written_as_a_preference():
    tie = Judgement(responses=(Response(model="x"), Response(model="y")), ranks=(1, 1))
    with pytest.raises(BadRow) as caught:
        formats()["trl_preference"].write(tie)
    assert caught.value.reason == "not-a-pair"


def test_mixed_text_and_chat_is_refused():
    with pytest.raises(BadRow) as caught:
        parse("trl_preference", {"prompt": "Sky", "chosen": [assistant("Blue.")], "rejected": " red"})
    assert caught.value.reason == "mixed-shapes"


texts = st.text(alphabet="ab .", max_size=6)
plain_messages = texts.map(lambda words: (Message(words),))
turns = st.builds(Message, st.none() | texts, st.sampled_from(["user", "assistant", "system", "tool", None]))
graded = st.builds(Message, texts, st.none(), st.sampled_from([None, 0.0, 1.0, 0.5]))
messages = plain_messages | st.lists(turns, max_size=3).map(tuple) | st.lists(graded, max_size=2).map(tuple)
some = st.none() | st.sampled_from([0.25, 1.0, -2.0])
responses = st.builds(
    Response,
    messages,
    model=st.none() | texts.filter(bool),
    id=st.none() | texts.filter(bool),
    ratings=st.just({}) | st.just({"score": 2.0}),
)
judgements = st.builds(
    Judgement,
    prompt=messages,
    responses=st.lists(responses, max_size=3).map(tuple),
    ranks=st.none() | st.sampled_from([(1, 2), (2, 1), (1, 1), (1, 2, 3)]),
    thumb=st.none() | st.booleans(),
    strength=some,
    probability=st.none() | st.sampled_from([0.25, 0.5, 1.0]),
    margin=some,
    rationale=st.none() | st.just("so"),
    annotator=st.none() | st.just("ann"),
    annotator_kind=st.none() | st.just("person"),
    time=st.none() | st.just(datetime(2024, 5, 31, tzinfo=UTC)),
    positions=st.none() | st.just((2, 1)),
    both_bad=st.none() | st.just(True),
    context=st.none() | st.just("home"),
    meta=st.just({}) | st.just({"shop": 1}) | st.just({"prompt": "other"}),
)


def first_preferred(j):
    if j.ranks != (2, 1):
        return j
    flipped = {name: -value for name in ("strength", "margin") if (value := getattr(j, name)) is not None}
    if j.probability is not None:
        flipped["probability"] = 1 - j.probability
    if j.positions is not None:
        flipped["positions"] = j.positions[::-1]
    return replace(j, responses=j.responses[::-1], ranks=(1, 2), **flipped)


def whole(j):
    """All that a judgement says, whatever part of a conversation is called its prompt; no text is an empty one."""
    texts = tuple(tuple(m for m in (*j.prompt, *r.messages) if m != Message("")) for r in j.responses)
    if all(m.role is None and m.label is None for t in texts for m in t):
        texts = tuple("".join(m.content or "" for m in t) for t in texts)
    beside = [replace(r, messages=()) for r in j.responses]
    return replace(j, prompt=(), responses=(), meta={}), texts, beside


@pytest.mark.parametrize("name", sorted(name for name, fmt in formats().items() if fmt.write and name != "pluralign"))
@settings(deadline=None)
@given(judgements)
def test_what_is_written_is_read_again_and_what_would_be_lost_is_refused(name, j):
    write = formats()[name].write
    try:
        row = write(j)
    except BadRow:
        return
    try:
        (back,) = parse(name, row)
    except BadRow:
        # These two find the prompt by comparing: equal or unrelated sides have none, and say so.
        if name not in ("hh", "trl_preference_implicit"):
            raise
        return
    if name != "alpaca_eval":
        j = first_preferred(j)
    elif j.probability is None:
        j = replace(j, probability=back.probability)
    assert whole(back) == whole(j)
    assert set(map(str, j.meta.values())) <= set(map(str, back.meta.values()))


@pytest.mark.parametrize(("name", "count"), [("arena", 4), ("prism", 6), ("nectar", 10)])
def test_converted_rows_are_all_read_again(tmp_path, name, count):
    pairs = pluralign.read(SAMPLES[name]).pairs(ties="drop", aspect="score")
    path = pairs.unpaired().write(tmp_path / "votes.jsonl", "trl_unpaired")
    again = pluralign.read(path)
    assert (len(again), again.report.dropped) == (count, Counter())


# Transcripts.


def test_hh_markers_without_a_blank_line_are_words():
    row = {
        "chosen": "\n\nHuman: He said: Human: go\n\nAssistant: Yes",
        "rejected": "\n\nHuman: He said: Human: go\n\nAssistant: No",
    }
    j = only("hh", row)
    assert [m.content for m in j.prompt] == ["He said: Human: go"]
    assert contents(j) == [["Yes"], ["No"]]
    assert formats()["hh"].write(j) == row


def test_hh_rows_that_part_early_get_continuations_of_several_turns_and_a_note():
    start = "\n\nHuman: Hi\n\nAssistant:"
    j = only(
        "hh", {"chosen": f"{start} A\n\nHuman: x\n\nAssistant: B", "rejected": f"{start} C\n\nHuman: y\n\nAssistant: D"}
    )
    assert contents(j) == [["A", "x", "B"], ["C", "y", "D"]]
    assert j.meta["import_notes"] == ["diverges-before-last-turn"]


def test_hh_without_a_common_turn_is_dropped_by_reason():
    row = {"chosen": "\n\nHuman: Hi\n\nAssistant: A", "rejected": "\n\nHuman: Yo\n\nAssistant: B"}
    assert pluralign.read([row], format="trl_preference_implicit").report.dropped == {}
    with pytest.raises(BadRow, match="shares no turn"):
        parse("hh", row)


def test_red_team_rating_belongs_to_the_person_who_attacked():
    (j,) = read("hh_red_team")
    assert (j.annotator, j.responses[0].ratings, j.responses[0].model) == ("12", {"attack success": 1.0}, "rlhf 52B")
    assert j.meta["tags"] == ["insults"]


# Ratings.


def test_ultrafeedback_skips_na_reads_strings_and_flags_overall_ten():
    (j,) = read("ultrafeedback")
    assert "honesty" not in j.responses[2].ratings
    assert j.responses[2].ratings["helpfulness"] == 3.0
    assert j.responses[2].ratings["fine-grained"] == 4.0
    assert j.meta["import_notes"] == ["overall-10-should-be-1", "overall-against-aspects"]
    assert j.responses[0].ratings["overall"] == 10.0  # noted, not changed
    assert j.meta["completions"][0]["custom_system_prompt"] == "Be kind."


@pytest.mark.parametrize(("overall", "fine"), [(10, 2.9), (1, 3.0), (9, 2.0), (7, 3.5), (10, 3.0)])
def test_ultrafeedback_flags_every_overall_far_from_the_aspects(overall, fine):
    from pluralign.feedback.formats.ultrafeedback import doubts

    assert ("overall-against-aspects" in doubts(overall, fine)) == (abs(overall / 2 - fine) > 2)


def test_ultrafeedback_before_clean_up_has_lists_of_ratings():
    row = json.loads(json.dumps(SAMPLES["ultrafeedback"][0]))
    row["completions"][3]["annotations"]["honesty"] = [{"Rating": "2"}, {"Rating": "N/A"}, {"Rating": "5"}]
    assert only("ultrafeedback", row).responses[3].ratings["honesty"] == 3.5


def test_binarized_reports_equal_scores_and_finds_the_prompt():
    (j,) = read("ultrafeedback_binarized")
    assert [m.content for m in j.prompt] == [USER["content"]]
    assert (j.prompt_id, j.meta) == ("abc", {})
    assert [r.ratings for r in j.responses] == [{"score": 8.5}, {"score": 3.0}]
    equal = only("ultrafeedback_binarized", {**SAMPLES["ultrafeedback_binarized"][0], "score_rejected": 8.5})
    assert equal.meta["import_notes"] == ["equal-scores"]


def test_helpsteer_pairs_adjacent_rows_of_one_prompt():
    two, one = read("helpsteer")
    assert [r.ratings["helpfulness"] for r in two.responses] == [4.0, 0.0]
    assert two.ranks is None
    assert contents(one) == [["Hm"]]


def test_helpsteer_multi_turn_prompts_are_chats():
    prompt = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nWhy?"
    j = only("helpsteer", {**SAMPLES["helpsteer"][0], "prompt": prompt})
    assert [(m.role, m.content) for m in j.prompt] == [("user", "Hi"), ("assistant", "Hello"), ("user", "Why?")]
    assert j.responses[0].messages[0].role == "assistant"


def test_helpsteer_positive_strength_prefers_the_second_response():
    row = {k: v for k, v in SAMPLES["helpsteer2_preference"][0].items() if k != "all_preferences_unprocessed"}
    j = only("helpsteer2_preference", row)
    assert (j.ranks, j.strength) == ((2, 1), -2.0)
    votes = read("helpsteer2_preference")
    assert [(j.ranks, j.strength) for j in votes] == [((2, 1), -2.0), ((2, 1), -3.0), ((1, 1), 0.0)]
    assert {j.annotator for j in votes} == {None}
    assert votes[0].meta["overall"]["strength"] == 2


def test_helpsteer3_keeps_each_vote():
    votes = read("helpsteer3")
    assert [(j.ranks, j.strength, j.rationale) for j in votes] == [
        ((1, 2), 2.0, "A colour."),
        ((2, 1), -1.0, "Funny."),
    ]
    assert votes[0].meta["overall_preference"] == -2


def test_nectar_keeps_the_ranking_and_its_ties():
    feedback = pluralign.read(SAMPLES["nectar"])
    assert feedback[0].ranks == (1, 2, 2, 4)
    assert [m.role for m in feedback[0].prompt] == ["user"]
    assert len(feedback.pairs(ties="drop")) == 4 * 3 // 2 - 1


def test_shp_label_zero_prefers_b_and_scores_are_checked():
    (j,) = read("shp")
    assert (j.ranks, j.prompt_id, j.responses[1].id) == ((2, 1), "p1", "cb")
    assert "import_notes" not in j.meta
    assert only("shp", {**SAMPLES["shp"][0], "labels": 1}).meta["import_notes"] == ["label-against-scores"]


def test_safe_rlhf_criteria_that_disagree_both_survive():
    said = {(j.criterion, j.ranks, j.thumb) for j in read("safe_rlhf")}
    assert said == {("helpful", (1, 2), None), ("harmless", (2, 1), None), ("safe", None, False), ("safe", None, True)}
    odd = {**SAMPLES["safe_rlhf"][0], "response_1_severity_level": 1}
    assert parse("safe_rlhf", odd)[0].meta["import_notes"] == ["severity-against-safety"]


def test_safe_rlhf_single_dimension_has_no_criterion():
    keep = ("prompt", "response_0", "response_1", "better_response_id")
    j = only("safe_rlhf", {key: SAMPLES["safe_rlhf"][0][key] for key in keep})
    assert (j.criterion, j.ranks) == (None, (1, 2))


# Arenas and judges.


def test_arena_keeps_both_bad_apart_from_a_tie():
    votes = read("arena")
    assert [(j.ranks, j.both_bad) for j in votes] == [((1, 2), None), ((2, 1), None), ((1, 1), False), ((1, 1), True)]
    assert votes[0].annotator == "arena_user_9"
    assert votes[0].time == datetime.fromtimestamp(1682351591.1, UTC)
    assert contents(votes[0]) == [["Red."], ["Dog."]]
    assert votes[0].meta["language"] == "English"


def test_arena_votes_need_no_texts():
    j = only("arena", {"model_a": "x", "model_b": "y", "winner": "both_bad"})
    assert ([r.model for r in j.responses], j.both_bad) == (["x", "y"], True)


def test_votes_between_named_models_keep_prompts_and_texts_in_columns():
    row = {"prompt": "Sum?", "response_a": "One.", "response_b": "Two.", "model_a": "x", "model_b": "y"}
    [judged] = pluralign.read([row | {"winner": "tie (bothbad)"}])
    assert judged.prompt[0].content == "Sum?"
    assert [(r.model, r.messages[0].content) for r in judged.responses] == [("x", "One."), ("y", "Two.")]
    assert judged.both_bad
    [bare] = pluralign.read([{"prompt": "Sum?", "model_a": "x", "model_b": "y", "winner": "model_b"}])
    assert (bare.prompt[0].content, bare.ranks, bare.responses[0].model) == ("Sum?", (2, 1), "x")


def test_arena_sides_may_say_the_same():
    row = {**SAMPLES["arena"][0], "conversation_b": SAMPLES["arena"][0]["conversation_a"]}
    assert contents(only("arena", row)) == [["Red."], ["Red."]]


def test_arena_55k_unpacks_turns():
    (j,) = read("arena_55k")
    assert [m.content for m in j.prompt] == ["Hi"]
    assert contents(j) == [["Hello", "Why?", "So."], ["Hey", "Why?", None]]
    with pytest.raises(BadRow, match="exactly one"):
        parse("arena_55k", {**SAMPLES["arena_55k"][0], "winner_tie": 1})


def test_search_arena_without_a_vote_is_unlabelled():
    feedback = pluralign.read(SAMPLES["search_arena"])
    assert [j.ranks for j in feedback] == [(2, 1), None]
    assert feedback.report.noted["no-vote"] == 1


def test_mt_bench_swapped_sides_say_the_same():
    row = SAMPLES["mt_bench"][0]
    other = {
        **row,
        "model_a": row["model_b"],
        "model_b": row["model_a"],
        "conversation_a": row["conversation_b"],
        "conversation_b": row["conversation_a"],
        "winner": "model_a",
    }
    j, swapped = only("mt_bench", row), only("mt_bench", other)
    assert (j.responses[::-1], j.ranks[::-1]) == (swapped.responses, swapped.ranks)
    assert contents(j) == [["Red."], ["Dog."]]  # turn 1 was judged; the rest stays in meta
    assert len(j.meta["conversation_a"]) == 4


def test_mt_bench_judge_models():
    row = {**SAMPLES["mt_bench"][0], "judge": ["gpt-4", "pair-v2"], "winner": "tie (inconsistent)"}
    j = only("mt_bench", row)
    assert (j.annotator, j.annotator_kind, j.ranks) == ("gpt-4/pair-v2", "model", (1, 1))
    assert j.meta["import_notes"] == ["inconsistent-judge"]


def test_alpaca_eval_probability_is_of_the_first_and_rows_come_back():
    judgements = read("alpaca_eval")
    assert [(j.probability, j.ranks) for j in judgements] == [
        (0.75, (1, 2)),
        (1.0, (1, 2)),
        (0.0, (2, 1)),
        (0.5, (1, 1)),
        (0.5, (1, 1)),
    ]
    assert [formats()["alpaca_eval"].write(j) for j in judgements] == SAMPLES["alpaca_eval"]


@settings(deadline=None)
@given(st.floats(1, 2))
def test_alpaca_eval_swapping_the_outputs_turns_the_preference(p):
    row = SAMPLES["alpaca_eval"][0]
    j = only("alpaca_eval", {**row, "preference": p})
    swapped = {**row, "output_1": row["output_2"], "output_2": row["output_1"], "preference": 3 - p}
    assert only("alpaca_eval", swapped).probability == pytest.approx(1 - j.probability)
    assert formats()["alpaca_eval"].write(j)["preference"] == p


def test_pandalm_columns_become_annotators():
    votes = read("pandalm")
    assert [(j.annotator, j.ranks) for j in votes] == [
        ("annotator1", (1, 2)),
        ("annotator2", (1, 1)),
        ("annotator3", (2, 1)),
    ]
    assert [r.model for r in votes[0].responses] == ["bloom-7b", "llama-7b"]
    with pytest.raises(BadRow, match="two models"):
        parse("pandalm", {**SAMPLES["pandalm"][0], "cmp_key": "one_two_three"})


# Trees, turns and steps.


def test_oasst_ranks_give_three_pairs_in_the_right_direction():
    feedback = pluralign.read([tree()])
    assert len(feedback) == 1
    pairs = [[r.messages[0].content for r in j.responses] for j in feedback.pairs()]
    assert sorted(pairs) == [["first", "second"], ["first", "third"], ["second", "third"]]
    assert feedback[0].prompt[0].role == "user"


def test_oasst_flat_rows_are_the_same_trees():
    rows = []

    def walk(node, parent):
        rows.append({**{k: v for k, v in node.items() if k != "replies"}, "parent_id": parent, "message_tree_id": "t"})
        for child in node["replies"]:
            walk(child, node["message_id"])

    walk(tree()["prompt"], None)
    flat, nested = pluralign.read(rows), pluralign.read([tree()])
    assert flat.report.format == "oasst"
    assert (flat[0].prompt, flat[0].responses, flat[0].ranks) == (
        nested[0].prompt,
        nested[0].responses,
        nested[0].ranks,
    )


def test_prism_gives_scores_and_one_choice_a_turn_but_none_among_equal_texts():
    first, second = read("prism")
    assert (first.ranks, first.unranked_below) == ((None, 1, None, None), True)
    assert [r.ratings["score"] for r in first.responses] == [20, 90, 50, 50]
    assert (first.annotator, first.context) == ("user7", "unguided")
    assert [m.content for m in second.prompt] == ["Hi", "b", "Why?"]
    assert second.ranks is None
    assert second.meta["import_notes"] == ["identical-responses"]


def test_prism_utterances_say_what_conversations_say():
    rows = []
    for m in prism()["conversation_history"]:
        if m["role"] == "user":
            asked = m["content"]
            continue
        same = {k: m[k] for k in ("turn", "within_turn_id", "model_name", "score", "if_chosen")}
        ids = {"utterance_id": f"ut{len(rows)}", "conversation_id": "c1", "user_id": "user7"}
        rows.append({**ids, **same, "user_prompt": asked, "model_response": m["content"]})
    long = pluralign.read(rows)
    assert long.report.format == "prism"
    for j, whole in zip(long, read("prism"), strict=True):
        assert (j.prompt, j.responses, j.ranks, j.annotator) == (whole.prompt, whole.responses, whole.ranks, "user7")


def test_prism_folder_joins_the_survey(tmp_path):
    (tmp_path / "conversations.jsonl").write_text(json.dumps(prism()))
    (tmp_path / "survey.jsonl").write_text(json.dumps({"user_id": "user7", "age": "25-34"}))
    feedback = pluralign.read(tmp_path)
    assert feedback.report.format == "prism_folder"
    assert feedback[0].annotator_attributes == {"age": "25-34"}


def test_webgpt_positive_score_prefers_its_answer():
    (j,) = read("webgpt")
    assert (j.ranks, j.strength, j.prompt_id) == ((2, 1), -0.5, "e1")
    assert only("webgpt", {**SAMPLES["webgpt"][0], "score_0": 0, "score_1": 0}).ranks == (1, 1)
    odd = only("webgpt", {**SAMPLES["webgpt"][0], "score_1": 0.4})
    assert odd.meta["import_notes"] == ["scores-do-not-sum-to-zero"]


def test_summaries_keep_their_workers_and_template():
    votes = read("summarize_comparisons")
    assert [(j.annotator, j.ranks) for j in votes] == [("w1", (1, 2)), ("w2", (2, 1))]
    assert votes[0].prompt[0].content == "SUBREDDIT: r/cats\n\nTITLE: Cat\n\nPOST: My cat sings.\n\nTL;DR:"
    (axis,) = read("summarize_axis")
    assert axis.prompt[0].content == "Rain\n\nIt rained.\n\nTL;DR:"
    assert axis.responses[0].ratings == {"overall": 6, "accuracy": 7, "coherence": 5}
    assert axis.meta["axes"] == {"compatible": True}


def test_rewardbench_comes_back_and_its_second_says_nothing_among_the_wrong():
    (j,) = read("rewardbench")
    assert formats()["rewardbench"].write(j) == {**SAMPLES["rewardbench"][0], "id": "4"}
    (j,) = read("rewardbench2")
    assert (j.ranks, j.unranked_below) == ((1, 1, None, None), True)
    assert [r.model for r in j.responses] == ["a", "b", "c", "d"]


def test_steps_carry_their_grades():
    choice, path = read("prm800k")
    assert [r.ratings["step"] for r in choice.responses] == [1, -1]
    assert [(m.content, m.label) for m in path.responses[0].messages] == [("Add.", 1.0), ("It is 2.", 1.0)]
    (j,) = read("math_shepherd")
    assert j.prompt[0].content == "1+1?"
    graded = [(m.content, m.label) for m in j.responses[0].messages]
    assert graded == [("Step 1: Add.", 1.0), ("Step 2: It is 3.", 0.0)]
    bad = {**SAMPLES["math_shepherd"][0], "label": "1+1? Step 1: Add. ?\nStep 2: It is 3. -"}
    with pytest.raises(BadRow, match="repeat the input"):
        parse("math_shepherd", bad)


def test_one_of_four_is_a_choice_and_not_a_ranking_with_ties():
    (j,) = read("lm_human_preferences")
    assert (j.ranks, j.unranked_below) == ((None, None, 1, None), True)
    first, second = read("community_alignment")
    assert (first.ranks, first.rationale) == ((None, None, 1, None), "Warm.")
    assert [m.content for m in second.prompt] == ["Hi", "hello c", "Why?"]
    assert first.annotator_attributes == {"age": "25-34", "country": "France"}


def test_multipref_has_one_judgement_for_each_person_and_criterion():
    said = [(j.annotator, j.criterion, j.strength, j.annotator_attributes["pool"]) for j in read("multipref")]
    assert said == [
        ("e1", "overall", 2.0, "normal"),
        ("e1", "helpful", 0.0, "normal"),
        ("e2", "overall", -1.0, "expert"),
    ]


def test_dices_unsure_is_an_answer():
    said = read("dices")
    assert [j.thumb for j in said] == [False, True, None]
    assert said[2].meta["answers"]["Q_overall"] == "Unsure"


def test_sparse_feedback_rates_or_ranks():
    (j,) = read("sparse_feedback")
    assert (j.ranks, j.prompt[0].content) == ((1, 2), "Add.\n\n1 1")
    rated = pluralign.read([{"instruction": "Add.", "input": "", "output": "2", "rating": 6}])
    assert (rated.report.format, rated[0].responses[0].ratings) == ("sparse_feedback", {"rating": 6.0})


# Ballots.

BALLOT = """# FILE NAME: x.{kind}
# TITLE: Lunch
# DATA TYPE: {kind}
# NUMBER ALTERNATIVES: 4
# NUMBER VOTERS: 3
# ALTERNATIVE NAME 1: Pie: apple
# ALTERNATIVE NAME 2: Soup
# ALTERNATIVE NAME 3: Fish
# ALTERNATIVE NAME 4: Rice
{more}2: {order}
1: 4,3,2,1
"""


@pytest.mark.parametrize(
    ("kind", "order", "ranks"),
    [
        ("soc", "2,1,4,3", (2, 1, 4, 3)),
        ("soi", "3,1", (2, None, 1, None)),
        ("toc", "1,{2,3},4", (1, 2, 2, 4)),
        ("toi", "{4,1}", (1, None, None, 1)),
        ("cat", "{1,2},{},3", (1, 1, 3, None)),
    ],
)
def test_preflib_orders(tmp_path, kind, order, ranks):
    more = "# NUMBER CATEGORIES: 3\n# CATEGORY NAME 1: Yes\n# CATEGORY NAME 2: Maybe\n# CATEGORY NAME 3: No\n"
    path = tmp_path / f"x.{kind}"
    path.write_text(BALLOT.format(kind=kind, order=order, more=more if kind == "cat" else ""))
    feedback = pluralign.read(path)
    j = feedback[0]
    assert feedback.report.format == "preflib"
    assert (j.ranks, j.weight, j.context, j.unranked_below) == (ranks, 2.0, "Lunch", None)
    assert [r.model for r in j.responses] == ["Pie: apple", "Soup", "Fish", "Rice"]
    if kind == "cat":
        assert j.meta["categories"] == ["Yes", "Maybe", "No"]
        assert j.meta["category"] == [1, 1, 3, None]


@pytest.mark.parametrize(
    ("line", "reason"), [("2,9", "unknown-item"), ("2,2", "repeated-item"), ("x", "invalid-order")]
)
def test_preflib_lines_that_cannot_be_meant_are_dropped(tmp_path, line, reason):
    path = tmp_path / "x.soi"
    path.write_text(BALLOT.format(kind="soi", order=line, more=""))
    report = pluralign.read(path).report
    assert (report.read, report.kept, dict(report.dropped)) == (2, 1, {reason: 1})


# Smaller public sets.


def test_polis_last_vote_counts_whatever_the_order_of_lines():
    feedback = pluralign.read(SAMPLES["polis"])
    assert [(j.responses[0].id, j.thumb, j.responses[0].ratings) for j in feedback] == [
        ("1", False, {"agreement": -1.0}),
        ("2", None, {"agreement": 0.0}),
    ]
    assert feedback.report.dropped == Counter({"superseded-vote": 1})
    assert feedback[0].time == datetime.fromtimestamp(2, UTC)


def test_lamp_score_outside_its_stated_scale_is_dropped_by_reason():
    row = json.loads(json.dumps(SAMPLES["lamp_scores"][0]))
    assert contents(only("lamp_scores", row)) == [["The sun set."]]
    row["messages"][-1]["content"] = '{"score": 0}'
    with pytest.raises(BadRow) as caught:
        parse("lamp_scores", row)
    assert caught.value.reason == "out-of-scale"


def test_football_draws_are_ties_and_goals_a_strength():
    draw, win = read("football")
    assert [(j.ranks, j.strength) for j in (draw, win)] == [((1, 1), 0.0), ((1, 2), 2.0)]
    assert draw.time == datetime(1872, 11, 30, tzinfo=UTC)
    assert draw.meta["neutral"] is False


def test_coffee_ratings_and_favourite_share_a_row_and_partial_choices_do_not():
    whole, three, two = read("coffee")
    assert (whole.ranks, whole.unranked_below) == ((None, None, None, 1), True)
    assert whole.responses[3].ratings["personal_preference"] == 4
    assert [r.model for r in three.responses] == ["Coffee A", "Coffee B", "Coffee C"]
    assert (three.ranks, two.ranks) == ((None, None, 1), (2, 1))
    assert whole.annotator_attributes["expertise"] == 7


def test_aspects_of_the_samples_are_those_of_the_format():
    from pluralign.feedback.formats import ultrafeedback

    assert ultrafeedback.ASPECTS == ASPECTS
