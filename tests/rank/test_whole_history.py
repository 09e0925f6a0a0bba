"""Whole-history rating: its limits, its optimum and bands, what it is for, and all football matches."""

import numpy as np
import pytest
from scipy.special import expit

from pluralign.errors import FeedbackError, OptionError
from pluralign.rank import TIE, BradleyTerry, Votes, WholeHistory, history
from pluralign.rank.stream import log_loss


def games(theta, votes, rng, order=0.0, tie=0.0):
    """Votes at whole days between items whose scores are theta [days, n]."""
    days, n = theta.shape
    left = rng.integers(n, size=votes)
    right = (left + rng.integers(1, n, size=votes)) % n
    day = np.sort(rng.integers(days, size=votes))
    d = theta[day, left] - theta[day, right] + order
    nu = tie * np.ones(votes)
    total = np.exp(d / 2) + np.exp(-d / 2) + nu
    u = rng.random(votes) * total
    said = np.where(u < np.exp(d / 2), 0, np.where(u < np.exp(d / 2) + np.exp(-d / 2), 1, TIE))
    items = [f"i{k:03d}" for k in range(n)]
    return Votes(items, left.astype(np.int32), right.astype(np.int32), said.astype(np.int8), days=day.astype(float))


def brownian(days, n, variance, rng):
    steps = rng.normal(size=(days, n)) * np.sqrt(variance)
    # One virtual win and one virtual loss are this prior.
    steps[0] = rng.logistic(size=n)
    return steps.cumsum(0)


@pytest.mark.parametrize("variance", [0.0, 1e-12])
def test_without_drift_it_is_the_static_fit_with_the_same_prior(variance):
    votes = games(brownian(30, 8, 0.01, np.random.default_rng(0)), 400, np.random.default_rng(1))
    static = BradleyTerry(virtual=1.0).fit(votes)
    assert WholeHistory(variance=variance).fit(votes).logits_ == pytest.approx(static.scores_, abs=1e-6)


def test_votes_of_one_day_are_a_static_fit():
    votes = games(brownian(1, 6, 0.01, np.random.default_rng(0)), 100, np.random.default_rng(1))
    assert WholeHistory(variance=0.01).fit(votes).logits_ == pytest.approx(
        BradleyTerry(virtual=1.0).fit(votes).scores_, abs=1e-7
    )


def test_boundless_drift_fits_every_day_by_itself():
    rng = np.random.default_rng(0)
    votes = games(brownian(2, 4, 1.0, rng) / 3, 400, rng)
    model = WholeHistory(variance=1e7).fit(votes)
    last = BradleyTerry(virtual=0.0).fit(votes.where(votes.days == 1))
    scores = model.scores_ - model.scores_.mean()
    assert scores == pytest.approx(last.scores_, abs=1e-4)


def test_what_it_returns_is_the_optimum():
    rng = np.random.default_rng(3)
    votes = games(brownian(20, 5, 0.02, rng), 300, rng, order=0.4, tie=0.8)
    model = WholeHistory(variance=0.02, ties="davidson", order=True).fit(votes)
    fitted = model._history
    at = history._State(fitted.problem, fitted.rating, fitted.beta, fitted.tie)
    for _ in range(20):
        move = rng.normal(size=len(fitted.rating))
        step = rng.normal(size=2)
        assert at.moved(move, step, 1e-3).total > at.total
        up, down = (at.moved(move, step, h).total for h in (1e-4, -1e-4))
        assert (up - down) / 2e-4 == pytest.approx(0, abs=1e-5)
        # The curvature behind the bands is that of what was minimised.
        system = at.system()
        quadratic = move @ system.apply(move)
        assert (at.moved(move, 0 * step, 1e-3).total + at.moved(move, 0 * step, -1e-3).total - 2 * at.total) / (
            1e-6
        ) == pytest.approx(quadratic, rel=1e-4)
    assert model.certificate_.gradient < 1e-9


def test_sweeps_of_one_player_after_another_end_at_the_same_ratings():
    """Coulom's algorithm, written out: Newton on each player's days with the others held, again and again."""
    rng = np.random.default_rng(7)
    votes, variance = games(brownian(15, 4, 0.05, rng), 120, rng), 0.05
    fitted = WholeHistory(variance=variance).fit(votes)
    played = {k: np.unique(votes.days[(votes.left == k) | (votes.right == k)]) for k in range(4)}
    rating = {(k, day): 0.0 for k, days in played.items() for day in days}
    met = {place: [] for place in rating}
    for a, b, won, day in zip(votes.left, votes.right, votes.outcome == 0, votes.days, strict=True):
        met[a, day].append((b, float(won)))
        met[b, day].append((a, float(not won)))
    for _ in range(150):
        for k, days in played.items():
            gradient, hessian = np.zeros(len(days)), np.zeros((len(days), len(days)))
            for d, day in enumerate(days):
                scored = [(rating[rival, day], won) for rival, won in met[k, day]]
                for other, won in scored + ([(0.0, 1.0), (0.0, 0.0)] if d == 0 else []):
                    p = 1 / (1 + np.exp(other - rating[k, day]))
                    gradient[d] += won - p
                    hessian[d, d] -= p * (1 - p)
            for d, gap in enumerate(np.diff(days) * variance):
                pull = (rating[k, days[d + 1]] - rating[k, days[d]]) / gap
                gradient[[d, d + 1]] += pull, -pull
                hessian[[d, d + 1], [d, d + 1]] -= 1 / gap
                hessian[[d, d + 1], [d + 1, d]] += 1 / gap
            for day, step in zip(days, np.linalg.solve(hessian, gradient), strict=True):
                rating[k, day] -= step
    made = fitted._history.problem.chains
    swept = [rating[k, day] for k, day in zip(made.item.tolist(), made.time.tolist(), strict=True)]
    # 150 sweeps are still a millionth away.
    assert fitted._history.rating == pytest.approx(swept, abs=1e-5)


def test_bands_by_draws_agree_with_the_exact_inverse(monkeypatch):
    rng = np.random.default_rng(0)
    votes = games(brownian(60, 10, 0.02, rng), 500, rng, order=0.3)
    fitted = WholeHistory(variance=0.02, order=True).fit(votes)._history
    exact, following = fitted.deviation(64, 0)
    # The chains' own part, which is most of it, is exact; the rest comes from 400 draws.
    monkeypatch.setattr(history, "EXACT", 0)
    drawn, drawn_following = fitted.deviation(400, 0)
    assert np.sqrt(drawn / exact) == pytest.approx(np.ones(len(exact)), abs=0.05)
    assert drawn_following == pytest.approx(following, abs=0.1 * exact.max())
    alone, _ = fitted.system.chain_variance()
    assert (alone < exact).all()


def test_bands_cover_drifting_strengths():
    inside = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        theta = brownian(40, 6, 0.008, rng)
        model = WholeHistory(variance=0.008).fit(games(theta, 2000, rng))
        # Differences: the level of a whole run is one draw of the prior, whose tails are not those of its curvature.
        band = model.contrast("i000", "i001", np.arange(0.0, 40.0, 3))
        truth = (theta[:, 0] - theta[:, 1])[::3]
        inside.append(((band["low"].to_numpy() <= truth) & (truth <= band["high"].to_numpy())).mean())
    # Bands of a run are right or wrong together, so that 100 runs know their share to about 0.015.
    assert 0.915 < np.mean(inside) < 0.985


def test_a_contrast_is_the_difference_of_curves_with_what_both_share_cancelled():
    rng = np.random.default_rng(0)
    votes = games(brownian(30, 6, 0.02, rng), 500, rng, order=0.3, tie=0.5)
    model = WholeHistory(variance=0.02, order=True, ties="davidson").fit(votes)
    times = [3.5, 12.0, 40.0]
    one, other = (model.curve(name, times) for name in ("i000", "i001"))
    band = model.contrast("i000", "i001", times)
    assert band["rating"].to_list() == pytest.approx((one["rating"] - other["rating"]).to_list())
    # By hand, over the joint curvature of ratings, order and tie: at moments that both have.
    fitted, made = model._history, model._history.problem.chains
    joint = np.linalg.inv(fitted.system.dense()) + fitted.cross @ fitted.shared @ fitted.cross.T
    days = np.intersect1d(made.time[made.item == 0], made.time[made.item == 1])
    i, j = (np.flatnonzero((made.item == k) & np.isin(made.time, days)) for k in (0, 1))
    by_hand = np.sqrt(joint[i, i] + joint[j, j] - 2 * joint[i, j])
    assert model.contrast("i000", "i001", days)["deviation"].to_list() == pytest.approx(by_hand, rel=1e-5)


def test_a_jump_is_followed():
    """Must show: after a jump in strength at half time the next day is predicted better than by a static fit."""
    better = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        theta = np.tile(rng.normal(size=10), (41, 1))
        theta[20:, :5] += 2.0
        theta[20:, 5:] -= 2.0
        votes = games(theta, 2000, rng)
        past, last = votes.where(votes.days < 40), votes.where(votes.days == 40)
        drifting = WholeHistory(variance=None).fit(past)
        better.append(drifting.score(last) - BradleyTerry(virtual=1.0).fit(past).score(last))
    assert np.mean(better) > 0.02


def test_the_variance_that_predicts_is_near_the_true_one():
    rng = np.random.default_rng(5)
    votes = games(brownian(150, 12, 0.02, rng), 6000, rng)
    assert 0.02 / 4 < WholeHistory().fit(votes).variance_ < 0.02 * 4
    still = games(np.tile(rng.normal(size=12), (150, 1)), 6000, rng)
    assert WholeHistory().fit(still).variance_ < 0.002


def test_shared_effects_come_back():
    rng = np.random.default_rng(2)
    votes = games(brownian(100, 20, 0.005, rng), 8000, rng, order=0.5, tie=1.0)
    model = WholeHistory(variance=0.005, ties="davidson", order=True).fit(votes)
    assert abs(model.coefficients_["order"] - 0.5) < 3 * model.errors_["order"] < 0.2
    assert abs(np.log(model.tie_)) < 3 * model.errors_["tie"] < 0.2
    p = model.predict_proba("i000", "i000", side=[0, 1])
    assert p.sum(-1) == pytest.approx([1, 1])
    assert p[0, 0] == pytest.approx(p[0, 1])
    assert p[1, 0] > p[1, 1]


def test_the_slope_of_climbing_grades_comes_back():
    """One grade is exp(slope) times harder; climbers improve, routes do not move."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        climbers, routes, slope = 40, 60, np.log(2.1)
        grade = rng.integers(12, 24, size=routes).astype(float)
        hard = slope * (grade - grade.mean()) + 0.3 * rng.normal(size=routes)
        skill = brownian(200, climbers, 0.002, rng)
        who, day = rng.integers(climbers, size=5000), rng.integers(200, size=5000)
        route = rng.integers(routes, size=5000)
        sent = rng.random(5000) < expit(skill[day, who] - hard[route])
        items = [f"c{k}" for k in range(climbers)] + [f"r{k}" for k in range(routes)]
        votes = Votes(
            items,
            who.astype(np.int32),
            (climbers + route).astype(np.int32),
            np.where(sent, 0, 1).astype(np.int8),
            days=day.astype(float),
        )
        grades = {f"r{k}": grade[k] for k in range(routes)}
        model = WholeHistory(variance=0.002, grades=grades, grade_spread=0.3).fit(votes)
        found.append((model.coefficients_["grade"] - slope) / model.errors_["grade"])
        assert model._history.problem.chains.item.tolist().count(climbers) == 1
        # What is known about a route holds what is known about the slope.
        band = model.curve("r0")["deviation"][0]
        assert 0 < band < np.hypot(0.3, abs(grade[0] - grade.mean()) * model.errors_["grade"]) + 0.2
    # Standardised errors of six fits: none far out, no bias to speak of.
    assert np.abs(found).max() < 3.5
    assert abs(np.mean(found)) < 1.5


def test_an_update_ends_where_a_fit_would():
    rng = np.random.default_rng(4)
    votes = games(brownian(50, 9, 0.01, rng), 900, rng, order=0.2)
    for ties in ("half", "davidson"):
        model = WholeHistory(variance=0.01, ties=ties, order=True)
        model.fit(votes.where(votes.days < 30))
        model.update(votes.where(votes.days >= 30))
        whole = WholeHistory(variance=0.01, ties=ties, order=True).fit(votes)
        assert model.logits_ == pytest.approx(whole.logits_, abs=1e-7)
        assert model.nll_ == pytest.approx(whole.nll_, abs=1e-7)
    more = {"left": ["new"], "right": ["i001"], "label": ["left"], "time": [60.0]}
    assert model.update(more).items_[-1] == "new"
    assert model.logits_[-1] > 0


def test_bands_between_and_beyond_moments_are_those_of_the_motion():
    votes = {"a": ["x"] * 60, "b": ["y"] * 60, "winner": ["a", "b"] * 30, "time": [0.0] * 30 + [100.0] * 30}
    asked = [-50.0, 0.0, 50.0, 100.0, 150.0]
    curve = WholeHistory(variance=0.01).fit(votes).curve("x", asked)
    # A vote that counts nothing makes a moment of its own without saying anything.
    padded = {name: [*column, column[0]] for name, column in votes.items()}
    padded |= {"weight": [1.0] * 60 + [0.0]}
    padded["time"][-1] = 50.0
    other = WholeHistory(variance=0.01).fit(padded)
    assert len(other._history.rating) == 6
    assert other.curve("x", asked)["rating"].to_list() == pytest.approx(curve["rating"].to_list())
    assert other.curve("x", asked)["deviation"].to_list() == pytest.approx(curve["deviation"].to_list())
    wide = curve["deviation"].to_list()
    assert wide[4] ** 2 == pytest.approx(wide[3] ** 2 + 0.01 * 50)
    assert wide[0] ** 2 == pytest.approx(wide[1] ** 2 + 0.01 * 50)


def test_bad_input_is_one_sentence():
    plain = {"a": ["x"], "b": ["y"], "winner": ["a"]}
    dated = {**plain, "time": [1.0]}
    with pytest.raises(FeedbackError, match="no time"):
        WholeHistory().fit(plain)
    with pytest.raises(FeedbackError, match="one moment"):
        WholeHistory().fit(dated)
    with pytest.raises(OptionError, match="spelt"):
        WholeHistory(variance=0.1, grades={"z": 3.0}).fit(dated)
    with pytest.raises(OptionError, match="variance"):
        WholeHistory(variance=-1.0).fit(dated)
    with pytest.raises(OptionError, match="not among"):
        WholeHistory(variance=0.1).fit(dated).curve("z")


def test_all_football_matches(shared_data):
    votes = Votes.of(shared_data / "football" / "results.csv.gz")
    assert len(votes) == 43_378
    past = votes.where(votes.days < 17_532)  # 2018
    later = votes.where(votes.days >= 17_532)
    model = WholeHistory(variance=1e-4, ties="davidson", order=True).fit(past)
    assert model.certificate_.gradient < 1e-6
    assert 0.7 < model.coefficients_["order"] < 1.0
    best = [model.items_[k] for k in np.argsort(-model.scores_)[:10]]
    assert {"Brazil", "Germany", "Spain", "Argentina"} <= set(best)
    static = BradleyTerry(virtual=1.0, ties="davidson", order=True).fit(past)
    points = np.array([1.0, 0.0, 0.5, 0.5])[later.outcome]
    names = np.array(votes.items, dtype=object)
    share = {
        type(m).__name__: (p := m.predict_proba(names[later.left], names[later.right]))[:, 0] + p[:, 2] / 2
        for m in (model, static)
    }
    assert log_loss(share["WholeHistory"], points) < log_loss(share["BradleyTerry"], points) - 0.005
