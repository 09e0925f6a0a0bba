"""PrefLib files written here and read again hold the same orders."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pluralign
from pluralign.errors import FeedbackError
from pluralign.feedback import Feedback, Judgement, Response

ITEMS = ["Pie: apple", "Soup", "Fish", "Rice {hot}, long"]


def ballots(rows, **more):
    """rows: ranks of the items and how many people gave them."""
    responses = tuple(Response(model=name) for name in ITEMS)
    return Feedback.from_judgements([Judgement(responses=responses, ranks=r, weight=w, **more) for r, w in rows])


def people(feedback):
    """How many gave each order; an order is the items of each place, best first."""
    count = Counter()
    for j in feedback:
        places = {}
        for r, rank in zip(j.responses, j.ranks, strict=True):
            if rank is not None:
                places.setdefault(rank, set()).add(r.model)
        count[tuple(frozenset(places[rank]) for rank in sorted(places))] += j.weight or 1
    return count


RANKS = st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=4, max_size=4).filter(lambda r: any(r))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(RANKS.map(tuple), st.sampled_from([None, 1.0, 3.0])), min_size=1, max_size=8))
def test_any_orders_come_back(tmp_path, rows):
    given_ = ballots(rows, context="Lunch")
    back = pluralign.read(given_.write(tmp_path / "a.toi"))
    assert back.report.format == "preflib"
    assert people(back) == people(given_)
    assert {j.context for j in back} == {"Lunch"}
    again = pluralign.read(back.write(tmp_path / "b.toi"))
    assert [(j.ranks, j.weight, [r.model for r in j.responses]) for j in again] == [
        (j.ranks, j.weight, [r.model for r in j.responses]) for j in back
    ]
    assert (tmp_path / "b.toi").read_text().replace("b.toi", "a.toi") == (tmp_path / "a.toi").read_text()


def test_the_text_is_the_formats_own(tmp_path):
    path = ballots([((1, 2, 2, None), 2.0), ((1, 2, 2, None), None), ((1, 2, 3, 4), 1.0)]).write(tmp_path / "x.toi")
    assert path.read_text().splitlines() == [
        "# TITLE: ",
        "# DATA TYPE: toi",
        "# NUMBER ALTERNATIVES: 4",
        "# NUMBER VOTERS: 4",
        "# NUMBER UNIQUE ORDERS: 2",
        *(f"# ALTERNATIVE NAME {i}: {name}" for i, name in enumerate(ITEMS, start=1)),
        "3: 1,{2,3}",
        "1: 1,2,3,4",
    ]


@pytest.mark.parametrize(
    ("ending", "ranks", "more", "says"),
    [
        (".soc", (1, 2, 2, 3), {}, "row 1 cannot be written as .soc: field 'ranks': holds a tie; write .toc or .toi"),
        (".soi", (1, 1, None, None), {}, "holds a tie"),
        (".soc", (1, 2, 3, None), {}, "1 of 1 orders leave out some of the 4 items.*write .soi"),
        (".toc", (1, 2, 2, None), {}, "write .toi"),
        (".toi", None, {}, "hold no order"),
        (".toi", (1, 2, 3, 4), {"annotator": "ada"}, "field 'annotator': is set and has no place"),
        (".toi", (1, 2, 3, 4), {"meta": {"age": 3}}, "field 'meta': holds age"),
        (".toi", (None, 1, None, None), {"unranked_below": True}, "field 'unranked_below'"),
    ],
)
def test_what_the_file_would_lose_is_refused(tmp_path, ending, ranks, more, says):
    with pytest.raises(FeedbackError, match=says):
        ballots([(ranks, 1.0)], **more).write(tmp_path / f"x{ending}")
    assert not list(tmp_path.iterdir())


def test_half_a_person_two_titles_and_texts_are_refused(tmp_path):
    with pytest.raises(FeedbackError, match=r"row 1, field 'weight': 0.5 is no number of voters"):
        ballots([((1, 2, 3, 4), 0.5)]).write(tmp_path / "x.soc")
    one, two = (ballots([((1, 2, 3, 4), 1.0)], context=name)[0] for name in "ab")
    with pytest.raises(FeedbackError, match=r"row 2 .*a file has one title"):
        Feedback.from_judgements([one, two]).write(tmp_path / "x.soc")
    with pytest.raises(FeedbackError, match="field 'prompt'"):
        pluralign.read([{"prompt": "p", "chosen": "a", "rejected": "b"}]).write(tmp_path / "x.soc")


@pytest.mark.parametrize(
    "name", ["00014-00000001.soc", "00002-00000002.soi", "00006-00000013.toc", "00032-00000004.toi"]
)
def test_published_files_come_back(shared_data, tmp_path, name):
    source = pluralign.read(shared_data / "preflib" / name)
    back = pluralign.read(source.write(tmp_path / name))
    assert people(back) == people(source)
    assert {j.meta.get("publication date") for j in back} == {j.meta.get("publication date") for j in source}
    assert {tuple(r.model for r in j.responses) for j in back} == {tuple(r.model for r in j.responses) for j in source}
