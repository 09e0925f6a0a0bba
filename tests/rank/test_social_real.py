"""Rules of social choice on real rankings and votes: what the pages say."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks import rank_polis, rank_starwars, rank_ukpconvarg1
from pluralign import read
from pluralign.rank import Pairwise, PlackettLuce, cyclicity_test, maximal_lottery
from pluralign.rank.kemeny import kemeny
from pluralign.rank.measurements import choices
from pluralign.rank.voting import condorcet_winner, smith_set


def test_films_have_an_order_but_not_one_score(shared_data):
    survey = read(shared_data / "starwars" / "StarWars.csv")
    ranked = rank_starwars.films(survey)
    assert len(ranked) == 836
    table = Pairwise.of(ranked)
    assert condorcet_winner(table) == "V The Empire Strikes Back"
    assert [table.items[i].split()[0] for i in kemeny(table.wins).order] == ["V", "IV", "VI", "I", "II", "III"]
    assert maximal_lottery(table).max() == 1
    test = cyclicity_test(ranked, replicates=99)
    assert test.observed > 0.15 > 20 * test.expected > 0
    assert test.p_value == 0.01
    rated = Pairwise.of(rank_starwars.characters(survey))
    assert rated.n == 14
    assert condorcet_winner(rated) == "Han Solo"


def test_rules_find_the_gold_ranks_of_arguments(shared_data):
    sides = rank_ukpconvarg1.debates(shared_data / "ukpconvarg1")
    assert len(sides) == 22
    assert sum(len(d.votes) for d in sides) == 7853
    for name, rule in rank_ukpconvarg1.RULES.items():
        taus = []
        for side in sides[:8]:
            known = ~np.isnan(side.gold)
            taus.append(kendalltau(rule(side.votes)[known], side.gold[known]).statistic)
        assert np.mean(taus) > 0.6, name
    assert all(kemeny(Pairwise.of(d.votes).wins).cost == 0 for d in sides)


@pytest.mark.slow
def test_a_conversation_has_statements_that_bridge_its_groups(shared_data):
    found = rank_polis.conversation(shared_data / "polis" / "canadian-electoral-reform")
    assert found.votes.height == 8864
    table = Pairwise.of(found.rankings)
    assert smith_set(table) == [condorcet_winner(table)]
    best = kemeny(table.wins)
    assert best.exact
    # Long lists with ties, from which the plain Newton step would run away.
    model = PlackettLuce(virtual=0.5).fit(choices(found.rankings))
    assert model.certificate_.step < 1e-7
    assert np.abs(model.scores_).max() < 10
    for statement in rank_polis.bridging(found)[:5]:
        assert all(yes / n > 0.7 for yes, n in (found.agree(statement, g) for g in found.groups))
