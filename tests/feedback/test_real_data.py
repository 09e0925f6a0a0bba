"""Real data sets: each is recognised, and read with the counts and oddities that its publishers and our notes state."""

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

import pluralign
from pluralign.feedback.formats import formats
from pluralign.feedback.record import Judgement
from pluralign.feedback.source import open_source

SOURCES = {
    "hh_rlhf/harmless-base-test.subset.jsonl.gz": "hh",
    "ukpconvarg1/UKPConvArg1Strict-CSV": "ukpconvarg",
    "ukpconvarg1/UKPConvArg1-Ranking-CSV": "ukpconvarg_ranking",
    "llmfao": "llmfao_folder",
    "llmfao/crowd-comparisons.csv": "llmfao",
    "llmfao/gpt4-crowd-comparisons.csv": "llmfao",
    "llmfao/pairs-crowd.jsonl.gz": "llmfao",
    "llmfao/pairs-crowd-training.jsonl": "llmfao",
    "pandalm/testset-v1.json": "pandalm",
    "alpaca_eval": "alpaca_eval",
    "lamp": "lamp",
    "lamp/preference_ranking": "lamp",
    "lamp/lamp-R.train_dataset.json.gz": "lamp_scores",
    "preflib/00035-00000001.csv": "preflib_linked",
    "preflib/sushi_rankings.csv": "rank_columns",
    "coffee/coffee_survey.csv.gz": "coffee",
    "football/results.csv.gz": "football",
    "football/shootouts.csv": "football_shootouts",
    "starwars/StarWars.csv": "starwars",
    "polis/vtaiwan.uberx": "polis_folder",
    "polis/vtaiwan.uberx/votes.csv.gz": "polis",
    "polis/vtaiwan.uberx/participants-votes.csv.gz": "polis_matrix",
}
# Voters in each PrefLib file, and how many alternatives they had.
BALLOTS = {
    "00014-00000001.soc": (5000, 10),
    "00002-00000002.soi": (488, 5),
    "00002-00000007.soi": (403, 4),
    "00028-00000001.soi": (18723, 5),
    "00024-00000001.soc": (795, 4),
    "00024-00000003.soc": (800, 4),
    **{f"00035-0000000{n}.soc": (42, 15) for n in range(2, 8)},
    "00009-00000001.soc": (146, 9),
    "00006-00000013.toc": (9, 29),
    "00006-00000014.toc": (9, 24),
    "00032-00000004.toi": (15, 12),
    "00032-00000006.toi": (15, 32),
}


class Read(list[Judgement]):
    """Judgements unpacked once, with the report of their reading."""

    def __init__(self, path: Path) -> None:
        feedback = pluralign.read(path)
        super().__init__(feedback)
        self.report = feedback.report


@cache
def read(path: Path) -> Read:
    return Read(path)


def first(j: Judgement) -> str | None:
    """The model of the response ranked first."""
    assert j.ranks is not None
    return j.responses[j.ranks.index(1)].model


@pytest.mark.parametrize("name", [*SOURCES, *(f"preflib/{name}" for name in BALLOTS), "rankme"])
def test_each_source_is_recognised_as_its_own_format_alone(shared_data, name):
    paths = sorted((shared_data / name).glob("*.csv")) if name == "rankme" else [shared_data / name]
    for path in paths:
        sample = open_source(path).sample()
        found = {fmt.name: hit[0] for fmt in formats().values() if (hit := fmt.detect(sample))}
        best = max(found.values())
        expected = SOURCES.get(name, "rankme" if name == "rankme" else "preflib")
        assert [n for n, confidence in found.items() if confidence == best] == [expected], found


def test_hh_counts_turns_and_its_nine_oddities(shared_data):
    feedback = read(shared_data / "hh_rlhf/harmless-base-test.subset.jsonl.gz")
    assert len(feedback) == 1736
    turns = Counter(min(5, sum(m.role == "user" for m in j.prompt)) for j in feedback)
    assert turns == {1: 497, 2: 442, 3: 437, 4: 263, 5: 97}
    assert dict(feedback.report.noted) == {"diverges-before-last-turn": 5, "empty-response": 4}


def test_hh_transcripts_come_back_to_the_letter(shared_data):
    path = shared_data / "hh_rlhf/harmless-base-test.subset.jsonl.gz"
    write = formats()["hh"].write
    assert write is not None
    rows = open_source(path).records(lambda *_: pytest.fail("a row was refused"))
    for j, record in zip(read(path), rows, strict=True):
        assert write(j) == record.fields


def test_ukp_pairs_and_gold_ranks(shared_data):
    pairs = read(shared_data / "ukpconvarg1/UKPConvArg1Strict-CSV")
    ranking = read(shared_data / "ukpconvarg1/UKPConvArg1-Ranking-CSV")
    assert Counter(j.ranks for j in pairs) == {(1, 2): 3958, (2, 1): 3895}
    texts = [r.messages[0].content or "" for j in pairs for r in j.responses]
    assert len(set(texts)) == 716
    assert (max(map(len, texts)), any(t.startswith('"') for t in texts)) == (752, True)  # quotes are literal
    assert len({j.prompt_id for j in pairs}) == 22
    rank = {j.responses[0].id: j.responses[0].ratings["rank"] for j in ranking}
    assert len(ranking) == 729
    agree = [(rank[j.responses[0].id] < rank[j.responses[1].id]) == (j.ranks == (1, 2)) for j in pairs]
    assert (len(agree), round(100 * sum(agree) / len(agree))) == (7853, 92)


def test_llmfao_votes_of_people_and_of_a_model_with_their_texts(shared_data):
    joined = read(shared_data / "llmfao")
    people = [j for j in joined if j.annotator_kind == "person"]
    model = [j for j in joined if j.annotator_kind == "model"]
    assert Counter(j.ranks for j in people) == {(1, 1): 3471, (1, 2): 2911, (2, 1): 2549}
    assert (len(model), Counter(j.ranks for j in model)[(1, 1)], {j.annotator for j in model}) == (2139, 66, {"gpt4"})
    assert len({j.annotator for j in people}) == 124
    assert len({r.model for j in people for r in j.responses}) == 59
    votes = Counter(j.id for j in people)
    assert (len(votes), Counter(votes.values())[5], Counter(votes.values())[4]) == (2139, 998, 658)
    empty = {j.id for j in joined if any(r.messages[0].content == "" for r in j.responses)}
    assert len(empty) == 62
    assert joined.report.noted["empty-response"] > 0
    assert all(j.prompt and j.positions == (1, 2) for j in joined)
    # The votes alone say the same, without texts.
    alone = read(shared_data / "llmfao/crowd-comparisons.csv")
    assert [(j.id, j.annotator, j.ranks) for j in alone] == [(j.id, j.annotator, j.ranks) for j in people]


def test_llmfao_pairs_without_votes_are_unlabelled_and_training_pairs_have_reasons(shared_data):
    pairs = read(shared_data / "llmfao/pairs-crowd.jsonl.gz")
    assert (len(pairs), {j.ranks for j in pairs}, pairs.report.noted["no-vote"]) == (2139, {None}, 2139)
    training = read(shared_data / "llmfao/pairs-crowd-training.jsonl")
    assert len(training) == 7
    assert all(j.ranks and j.rationale for j in training)


def test_pandalm_three_annotators(shared_data):
    feedback = read(shared_data / "pandalm/testset-v1.json")
    votes = defaultdict(set)
    for j in feedback:
        votes[j.id].add(j.ranks)
    assert (feedback.report.read, len(feedback), len(votes)) == (999, 2997, 999)
    assert sum(len(said) == 1 for said in votes.values()) == 879
    assert {j.annotator for j in feedback} == {"annotator1", "annotator2", "annotator3"}
    assert all("_" not in (r.model or "_") for j in feedback for r in j.responses)
    assert feedback.report.noted["reply-not-text"] == 6


def test_alpaca_eval_win_rates(shared_data):
    feedback = read(shared_data / "alpaca_eval")
    assert len(feedback) == 4830
    wins = defaultdict(list)
    for j in feedback:
        assert j.responses[0].model == "gpt4_1106_preview"
        assert j.probability is not None
        wins[j.responses[1].model].append(1 - j.probability)
    assert {len(values) for values in wins.values()} == {805}
    # The win rates its leaderboard shows for these two.
    assert round(100 * sum(wins["alpaca-7b"]) / 805, 2) == 2.59
    assert round(100 * sum(wins["claude-2"]) / 805, 2) == 17.19


def test_lamp_rankings_with_their_texts(shared_data):
    feedback = read(shared_data / "lamp/preference_ranking")
    assert (len(feedback), len({j.annotator for j in feedback}), len({j.prompt_id for j in feedback})) == (399, 11, 133)
    assert Counter(map(first, feedback)) == {"Human-edited": 250, "AI-edited": 112, "AI-generated": 37}
    assert {j.positions for j in feedback} == {(1, 2, 3)}
    # Shown in an order that differs between annotators of one item.
    orders = defaultdict(set)
    for j in feedback:
        orders[j.prompt_id].add(tuple(r.model for r in j.responses))
    assert max(map(len, orders.values())) > 1


def test_lamp_scores_drop_the_one_outside_the_scale(shared_data):
    feedback = read(shared_data / "lamp/lamp-R.train_dataset.json.gz")
    assert (feedback.report.read, len(feedback), dict(feedback.report.dropped)) == (1996, 1995, {"out-of-scale": 1})
    scores = {j.responses[0].ratings["quality"] for j in feedback}
    assert (min(scores), max(scores)) >= (1, 10)


@pytest.mark.parametrize("name", BALLOTS)
def test_preflib_voters(shared_data, name):
    feedback = read(shared_data / "preflib" / name)
    voters, alternatives = BALLOTS[name]
    assert sum(j.weight or 0 for j in feedback) == voters
    assert {len(j.responses) for j in feedback} == {alternatives}
    complete = all(None not in (j.ranks or ()) for j in feedback)
    strict = all(len(set(j.ranks or ())) == sum(r is not None for r in set(j.ranks or ())) for j in feedback)
    assert complete == name.endswith(("soc", "toc"))
    assert strict or name.endswith(("toc", "toi", "soi"))
    assert not feedback.report.dropped


def test_preflib_linked_orders_are_those_of_the_separate_files(shared_data):
    linked = read(shared_data / "preflib/00035-00000001.csv")
    # The CSV holds 41 of the 42 people, and one of its 246 orders is not in the file it belongs to.
    assert (len(linked), len({j.annotator for j in linked})) == (246, 41)
    elsewhere = 0
    for n in range(2, 8):
        whole = read(shared_data / f"preflib/00035-0000000{n}.soc")
        known = Counter({j.ranks: int(j.weight or 0) for j in whole})
        mine = Counter(j.ranks for j in linked if j.context == whole[0].context)
        assert mine.total() == 41
        elsewhere += (mine - known).total()
    assert elsewhere == 1


def test_two_sushi_files_show_that_one_has_its_names_shifted(shared_data):
    wrong = read(shared_data / "preflib/00014-00000001.soc")
    right = read(shared_data / "preflib/sushi_rankings.csv")
    assert len(right) == 5000

    def orders(feedback: Read, names: dict[str, str]) -> Counter[tuple[str, ...]]:
        count: Counter[tuple[str, ...]] = Counter()
        for j in feedback:
            placed = sorted(zip(j.ranks or (), (names[r.model or ""] for r in j.responses), strict=True))
            count[tuple(name for _, name in placed)] += int(j.weight or 1)
        return count

    named = [r.model or "" for r in wrong[0].responses]
    kinds = [r.model or "" for r in right[0].responses]
    truth = orders(right, {name: name for name in kinds})
    as_given = orders(wrong, dict(zip(named, kinds, strict=True)))
    shifted = orders(wrong, dict(zip(named, [*kinds[1:], kinds[0]], strict=True)))
    assert as_given != truth
    assert shifted == truth
    mean = {kind: sum((j.ranks or ())[i] or 0 for j in right) / 5000 for i, kind in enumerate(kinds)}
    assert (min(mean, key=lambda k: mean[k]), round(mean["fatty tuna"], 2)) == ("fatty tuna", 3.11)
    assert (max(mean, key=lambda k: mean[k]), round(mean["cucumber roll"], 2)) == ("cucumber roll", 8.01)


@pytest.mark.parametrize(
    ("name", "rows", "workers"),
    [
        ("stp1_likert", 914, 16),
        ("stp1_plainME", 900, 23),
        ("stp1_rankME", 300, 16),
        ("stp2_rankME_inf", 300, None),
        ("stp2_rankME_qual", 300, None),
    ],
)
def test_rankme_rows_and_workers(shared_data, name, rows, workers):
    feedback = read(shared_data / f"rankme/{name}.csv")
    assert len(feedback) == rows
    assert workers in (None, len({j.annotator for j in feedback}))
    assert all(j.ranks is None and j.time for j in feedback)


def test_rankme_ceiling_and_ties(shared_data):
    likert = read(shared_data / "rankme/stp1_likert.csv")
    assert sum(j.responses[0].ratings["naturalness"] == 6 for j in likert) == 793
    three = read(shared_data / "rankme/stp1_rankME.csv")
    tied = {
        aspect: sum(len({r.ratings[aspect] for r in j.responses}) < 3 for j in three)
        for aspect in ("informativeness", "naturalness", "quality")
    }
    assert tied == {"informativeness": 275, "naturalness": 299, "quality": 286}


def test_coffee_favourites_and_the_288_who_rated_another_higher(shared_data):
    feedback = read(shared_data / "coffee/coffee_survey.csv.gz")
    whole = [j for j in feedback if j.meta["question"] == "prefer_overall"]
    favourites = Counter(first(j) for j in whole if j.ranks)
    assert (feedback.report.read, len({j.annotator for j in feedback})) == (3790, 3790)
    assert favourites == {"Coffee D": 1380, "Coffee A": 814, "Coffee B": 778, "Coffee C": 782}
    assert 3790 - favourites.total() == 36
    contradictions = 0
    for j in whole:
        scores = {r.model: r.ratings["personal_preference"] for r in j.responses if "personal_preference" in r.ratings}
        if j.ranks and first(j) in scores:
            contradictions += scores[first(j)] < max(scores.values())
    assert contradictions == 288


def test_football_draws_teams_and_dates(shared_data):
    feedback = read(shared_data / "football/results.csv.gz")
    assert (len(feedback), sum(j.ranks == (1, 1) for j in feedback)) == (43378, 9841)
    assert sum(j.meta["neutral"] for j in feedback) == 11082
    assert (len({r.model for j in feedback for r in j.responses}), len({j.context for j in feedback})) == (327, 175)
    days = [j.time.date().isoformat() for j in feedback if j.time]
    assert (min(days), max(days)) == ("1872-11-30", "2019-12-29")
    assert all((j.strength or 0) * (1.5 - (j.ranks or (1,))[0]) >= 0 for j in feedback)
    assert len(read(shared_data / "football/shootouts.csv")) == 559


def test_starwars_rankings_partial_ones_and_the_stray_byte(shared_data):
    feedback = read(shared_data / "starwars/StarWars.csv")
    films = [j for j in feedback if len(j.responses) == 6]
    ranked = Counter(sum(rank is not None for rank in j.ranks or ()) for j in films)
    assert feedback.report.read == 1186
    assert (ranked[6], ranked.total() - ranked[6]) == (834, 2)
    assert dict(feedback.report.dropped) == {"no-judgement": 350}
    characters = [j for j in feedback if len(j.responses) == 14]
    assert {v for j in characters for r in j.responses for v in r.ratings.values()} == {1, 2, 3, 4, 5}
    assert any(j.meta["unfamiliar"] for j in characters)


@pytest.mark.parametrize(
    ("name", "votes", "voters", "comments", "repeats"),
    [
        ("vtaiwan.uberx", 49997, 1921, 197, 554),
        ("scoop-hivemind.biodiversity", 29802, 536, 314, 83),
        ("canadian-electoral-reform", 12018, 448, 174, 68),
    ],
)
def test_polis_votes_count_once(shared_data, name, votes, voters, comments, repeats):
    feedback = read(shared_data / "polis" / name)
    assert (feedback.report.read, dict(feedback.report.dropped)) == (votes, {"superseded-vote": repeats})
    assert len(feedback) == votes - repeats
    assert (len({j.annotator for j in feedback}), len({j.responses[0].id for j in feedback})) == (voters, comments)
    assert all(j.prompt and j.responses[0].messages for j in feedback)
    assert len({str(j.annotator_attributes) for j in feedback}) >= 2  # opinion groups


def test_polis_log_and_matrix_hold_the_same_votes(shared_data):
    folder = shared_data / "polis/canadian-electoral-reform"
    log, matrix = read(folder / "votes.csv.gz"), read(folder / "participants-votes.csv.gz")

    def said(feedback: Read) -> dict[tuple[str | None, str | None], bool | None]:
        return {(j.annotator, j.responses[0].id): j.thumb for j in feedback}

    assert said(log) == said(matrix)
