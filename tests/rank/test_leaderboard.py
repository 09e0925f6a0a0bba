"""The leaderboard says what it knows, what it does not, and in which gauge."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

import pluralign
from pluralign.cli import app
from pluralign.errors import OptionError
from pluralign.rank import BradleyTerry, Votes, rank
from pluralign.rank.bootstrap import bootstrap
from tests.feedback.format_samples import SAMPLES
from tests.rank.golden import g1, g2, g3, votes


def league(theta, per_pair, rng, annotators=None, quirk=0.0):
    """Votes between all pairs; annotators share a taste of their own of this spread for every item."""
    n = len(theta)
    low, high = (np.repeat(x, per_pair) for x in np.triu_indices(n, 1))
    d = theta[low] - theta[high]
    who = None
    if annotators:
        who = rng.integers(annotators, size=len(low)).astype(np.int32)
        own = rng.normal(scale=quirk, size=(annotators, n))
        d = d + own[who, low] - own[who, high]
    outcome = (rng.random(len(low)) > 1 / (1 + np.exp(-d))).astype(np.int8)
    names = [chr(97 + i) for i in range(n)]
    return Votes(names, low.astype(np.int32), high.astype(np.int32), outcome, annotator=who)


def test_ratings_are_elo_points_and_contrasts_do_not_depend_on_the_anchor():
    board, held = rank(g1()), rank(g1(), anchor={"2": 1200})
    assert board.table["rating"].mean() == pytest.approx(1000)
    assert board.table["item"].to_list() == ["0", "1", "2", "3"]
    row = held.table.filter(pl.col("item") == "2").row(0, named=True)
    assert (row["rating"], row["low"], row["high"]) == pytest.approx((1200, 1200, 1200))
    a, b = board.contrast("0", "1"), held.contrast("0", "1")
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert a.value == pytest.approx(400 / np.log(10) * 0.798975, abs=1e-3)
    assert (a.high - a.low) / 2 == pytest.approx(400 / np.log(10) * 1.959964 * 0.760297, abs=1e-2)
    assert board.predict("0", "1")[0] == pytest.approx(1 / (1 + 10 ** (-a.value / 400)))
    assert 0 < board.p_value("0", "3") < board.p_value("0", "1") < 1


def test_simulated_places_add_up():
    drawn = rank(g1()).simulate(4000)
    assert drawn["p_best"].sum() == pytest.approx(1)
    assert drawn["rank"].sum() == pytest.approx(10)
    assert (drawn["low"] <= drawn["high"]).all()


def test_two_simulated_items_are_a_normal_difference():
    data = votes([(0, 1, 0)] * 14 + [(1, 0, 0)] * 6)
    board = rank(Votes(data.items[:2], data.left, data.right, data.outcome))
    drawn = board.simulate(40_000).filter(pl.col("item") == "0")
    lead = board.contrast("0", "1")
    z = lead.value / ((lead.high - lead.low) / 2 / 1.959964)
    assert drawn["p_best"][0] == pytest.approx(norm.cdf(z), abs=0.01)
    assert board.p_value("0", "1") == pytest.approx(2 * norm.sf(z))


def test_simulated_ranks_are_among_those_that_can_be_compared():
    drawn = rank(votes([(0, 1, 0), (1, 0, 0), (0, 1, 0), (2, 3, 0), (3, 2, 0)])).simulate(500)
    assert drawn.group_by("component").agg(pl.col("p_best").sum())["p_best"].to_list() == pytest.approx([1, 1])
    assert drawn["high"].max() == 2


def test_the_test_of_two_leaders_rejects_equals_as_rarely_as_it_says():
    rng = np.random.default_rng(3)
    p = [rank(league(np.zeros(4), 60, rng)).p_value("a", "b") for _ in range(300)]
    # 0.05 with a standard error of 0.0126.
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.085
    board = rank(league(np.array([1.0, 0.9, 0.0, -1.0]), 400, rng))
    first, second = board.table["item"].to_list()[:2]
    note = next(note for note in board.notes if note.startswith(f"{first} leads {second}"))
    assert f"p {board.p_value(first, second):.3f}" in note


def test_items_with_few_votes_are_marked():
    data = votes([(0, 1, 0), (1, 0, 0)] * 40 + [(2, 0, 0), (0, 2, 0)])
    marks = dict(rank(data).table.select("item", "note").iter_rows())
    assert marks["0"] == marks["1"] == ""
    assert "under 30 votes" in marks["2"]


def test_strong_votes_count_for_more():
    rows = {
        "left": ["a", "a", "b"],
        "right": ["b", "b", "a"],
        "label": ["left", "left", "left"],
        "strength": [1, 3, -2],
    }
    strong = BradleyTerry(weights="strength").fit(Votes.of(rows))
    # Four for a, two for b.
    assert strong.scores_[0] - strong.scores_[1] == pytest.approx(np.log(2))
    assert rank(rows, weights="strength", scale="score").model.scores_ == pytest.approx(strong.scores_)
    # A vote that counts m times is no m votes: its error is that of one.
    once = BradleyTerry(weights="importance").fit(Votes.of({**rows, "weight": [1, 3, 2]}))
    assert strong.covariance() == pytest.approx(once.covariance())
    with pytest.raises(OptionError, match="needs a column 'strength'"):
        BradleyTerry(weights="strength").fit(g1())
    with pytest.raises(OptionError, match="words where numbers"):
        BradleyTerry(weights="strength").fit(Votes.of({**rows, "strength": ["much", "some", "much"]}))


def test_sandwich_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    theta = np.linspace(-1.5, 1.5, 6)
    hits = []
    for _ in range(150):
        model = BradleyTerry().fit(league(theta, 200, rng))
        half = 1.959964 * np.sqrt(np.diag(model.covariance()))
        hits.append(np.abs(model.scores_ - theta) <= half)
    assert 0.93 <= np.mean(hits) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ties", "annotators"])
def test_robust_intervals_cover_where_the_model_is_wrong(kind):
    rng = np.random.default_rng(1)
    theta = np.linspace(-1, 1, 6)
    own = dict.fromkeys(("model", "robust"), 0)
    sets = 1000
    # What the fit converges to, from a large sample.
    big = league(theta, 400_000, rng, 20_000 if kind == "annotators" else None, 1.0)
    if kind == "ties":
        big.outcome[rng.random(len(big)) < 0.4] = 2
    centre = BradleyTerry().fit(big).scores_
    for _ in range(sets):
        data = league(theta, 60, rng, 60 if kind == "annotators" else None, 1.0)
        if kind == "ties":
            data.outcome[rng.random(len(data)) < 0.4] = 2
        model = BradleyTerry().fit(data)
        robust = model.covariance("sandwich") if kind == "ties" else model.covariance("cluster", data.annotator)
        quantile = 1.96 if kind == "ties" else 2.001
        own["robust"] += np.mean(np.abs(model.scores_ - centre) <= quantile * np.sqrt(np.diag(robust)))
        own["model"] += np.mean(np.abs(model.scores_ - centre) <= 1.96 * np.sqrt(np.diag(model.covariance("model"))))
    assert 0.93 <= own["robust"] / sets <= 0.97
    assert not 0.93 <= own["model"] / sets <= 0.97


def test_bootstrap_agrees_with_the_sandwich_and_does_not_depend_on_how_it_is_computed(monkeypatch):
    model = BradleyTerry().fit(g1(20))
    drawn = bootstrap(model, 600, seed=1)
    assert drawn.std(0) == pytest.approx([0.1095, 0.0997, 0.1033, 0.0963], rel=0.1)
    monkeypatch.setattr(
        "pluralign.rank.bootstrap._together", lambda model, made, cells, drawn, out: np.zeros(len(drawn), bool)
    )
    assert bootstrap(model, 40, seed=1) == pytest.approx(drawn[:40], abs=1e-5)


def test_clusters_of_one_vote_are_the_sandwich_and_repeated_clusters_widen():
    data = g1(20)
    alone = BradleyTerry().fit(data)
    ids = np.arange(len(data), dtype=np.int32)
    plain = alone.covariance("sandwich")
    assert alone.covariance("cluster", ids) == pytest.approx(plain * len(data) / (len(data) - 1))
    # The same votes cast ten times over by the same people tell nothing new.
    many = Votes(data.items, *(np.tile(x, 10) for x in (data.left, data.right, data.outcome)))
    wide = BradleyTerry().fit(many).covariance("cluster", np.tile(ids, 10))
    assert wide == pytest.approx(alone.covariance("cluster", ids))
    assert np.diag(BradleyTerry().fit(many).covariance("sandwich")) == pytest.approx(np.diag(plain) / 10)


def test_importance_weights_do_not_count_as_votes():
    data = g1(5)
    heavy = Votes(data.items, data.left, data.right, data.outcome, weight=np.full(len(data), 9.0))
    counted, important = (BradleyTerry(weights=w).fit(heavy) for w in ("votes", "importance"))
    plain = BradleyTerry().fit(data)
    assert counted.scores_ == pytest.approx(plain.scores_)
    assert np.diag(important.covariance()) == pytest.approx(np.diag(plain.covariance()))
    assert np.diag(counted.covariance()) == pytest.approx(np.diag(plain.covariance()) / 9)


def test_inverse_pair_weights_resist_a_pair_that_is_asked_all_the_time():
    rng = np.random.default_rng(2)
    tastes = np.array([[2.0, 0.0, -2.0], [-2.0, 0.0, 2.0]])
    parts = [league(tastes[k], n, rng) for k, n in ((0, 400), (1, 300))]
    left, right, outcome = (np.concatenate([getattr(p, name) for p in parts]) for name in ("left", "right", "outcome"))
    again = (left == 0) & (right == 2) & (outcome == 1)
    items = ["a", "b", "c"]
    base = Votes(items, left, right, outcome)
    pushed = Votes(items, *(np.concatenate([x, np.repeat(x[again], 19)]) for x in (left, right, outcome)))
    shift = {
        w: np.abs(BradleyTerry(weights=w).fit(pushed).scores_ - BradleyTerry(weights=w).fit(base).scores_).max()
        for w in ("votes", "inverse-pair")
    }
    assert shift["inverse-pair"] < shift["votes"]


def styled(rng, n=3000):
    """Three models of equal strength and unlike length, and judges who like length."""
    length = {"a": 100.0, "b": 200.0, "c": 150.0}
    names = np.array(list(length))
    left = rng.integers(3, size=n)
    right = (left + 1 + rng.integers(2, size=n)) % 3
    a, b = (np.array([length[x] for x in names[side]]) * rng.uniform(0.7, 1.4, n) for side in (left, right))
    gap = (a - b) / (a + b + 1)
    won = rng.random(n) < 1 / (1 + np.exp(-3 * gap))
    sides = {"model_a": names[left], "model_b": names[right], "winner": np.where(won, "model_a", "model_b")}
    return {**sides, "length_a": a, "length_b": b}, gap


def test_style_control_takes_length_out_and_tells_its_effect():
    rng = np.random.default_rng(3)
    off, effects = [], []
    for _ in range(40):
        table, gap = styled(rng)
        assert rank(table).contrast("b", "a").low > 0
        board = rank(table, covariates=["length"])
        contrast = board.contrast("b", "a")
        off.append(not contrast.low <= 0 <= contrast.high)
        effects.append((board.model.coefficients_["length"] - 3 * gap.std()) / np.sqrt(board.covariance[3, 3]))
    assert np.mean(off) <= 0.15
    assert abs(np.mean(effects)) < 3 / np.sqrt(40)
    assert np.std(effects) == pytest.approx(1, abs=0.35)
    assert any("length multiplies the odds" in note for note in board.notes)


def test_a_ridge_on_covariates_does_not_grow_with_the_votes():
    rng = np.random.default_rng(4)
    found = []
    for n in (2000, 20_000):
        z = rng.normal(size=n)
        won = rng.random(n) < 1 / (1 + np.exp(-0.8 * z))
        table = {"left": ["a", "b"] * (n // 2), "right": ["b", "a"] * (n // 2), "z": z}
        data = Votes.of(table | {"label": np.where(won, "left", "right")})
        found.append(BradleyTerry(covariates=["z"], covariate_ridge=1.0).fit(data).coefficients_["z"] / z.std())
    assert found == pytest.approx([0.8, 0.8], abs=0.12)
    assert abs(found[1] - 0.8) < 0.05


def test_order_effect_is_told_with_its_interval():
    board = rank(g3(), ties="half", order=True)
    note = next(note for note in board.notes if "shown first" in note)
    assert f"{np.exp(0.403685):.3f}" in note


def test_notes_name_components_unbeaten_items_and_what_was_left_out():
    board = rank(votes([(0, 1, 0), (1, 0, 0), (2, 3, 0), (2, 3, 0)]))
    text = board.to_markdown()
    assert "2 groups of items were never compared" in text
    assert "2, 3 never lost or never won" in text
    assert "never lost" in board.table.filter(pl.col("item") == "2")["note"][0]
    widths = (board.table["high"] - board.table["low"]).to_list()
    assert min(widths) > 0
    with pytest.raises(OptionError, match="no votes connect '0' and '2'"):
        board.contrast("0", "2")
    with pytest.raises(OptionError, match="several groups"):
        rank(votes([(0, 1, 0), (1, 0, 0), (2, 3, 0)]), anchor="0")


def test_ranks_that_could_be_hold_for_all_items_at_once():
    rng = np.random.default_rng(5)
    theta = np.linspace(-0.6, 0.6, 5)
    truth = np.arange(5, 0, -1)
    right = 0
    for _ in range(60):
        table = rank(league(theta, 40, rng)).table.sort("item")
        right += bool(((table["rank_low"].to_numpy() <= truth) & (truth <= table["rank_high"].to_numpy())).all())
    assert right / 60 >= 0.93


def test_by_ranks_every_part_by_itself():
    data = {
        "left": ["a", "b", "x", "y"],
        "right": ["b", "a", "y", "x"],
        "label": ["left"] * 4,
        "task": ["p", "p", "q", "q"],
    }
    boards = rank(data, by="task")
    assert {name: board.table["item"].to_list() for name, board in boards.items()} == {"p": ["a", "b"], "q": ["x", "y"]}


ARENAS = ("arena", "arena_55k", "search_arena", "mt_bench", "alpaca_eval", "pandalm", "multipref", "nectar", "oasst")


@pytest.mark.parametrize("name", ARENAS)
def test_every_public_shape_of_an_arena_is_ranked(name, tmp_path):
    file = tmp_path / "votes.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in SAMPLES[name]))
    table = rank(file).table
    assert table.height >= 2
    assert table["wins"].sum() == table["losses"].sum()


def test_what_a_format_does_not_understand_can_be_ranked_by_and_texts_have_a_style(tmp_path):
    rows = [{**SAMPLES["arena"][0], "question_id": f"q{i}", "language": ("en", "fr")[i % 2]} for i in range(40)]
    for i, row in enumerate(rows):
        row["winner"] = ("model_a", "model_b")[i % 3 == 0]
        row["conversation_a"] = [*row["conversation_a"][:1], {"role": "assistant", "content": "long " * (i % 7 + 1)}]
    (tmp_path / "votes.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    feedback = pluralign.read(tmp_path / "votes.jsonl")
    assert set(rank(feedback, by="language")) == {"en", "fr"}
    assert "length" in rank(feedback, covariates=["length"]).model.coefficients_
    with pytest.raises(OptionError, match="no column 'depth'"):
        rank(feedback, covariates=["depth"])


def test_large_boards_come_without_a_covariance(monkeypatch):
    monkeypatch.setattr("pluralign.rank.ranking.LARGEST", 3)
    board = rank(g1())
    assert board.covariance is None
    assert "| 1 | 0 |" in board.to_markdown()


def test_pictures_and_page(tmp_path):
    board = rank(g2())
    for kind in ("intervals", "win-rates", "battles"):
        board.plot(kind).savefig(tmp_path / f"{kind}.png")
    page = board.to_html(tmp_path / "board.html").read_text()
    assert "Leaderboard of 4 items" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    with pytest.raises(OptionError, match="does not end in"):
        board.to_html(tmp_path / "board.pdf")


def test_the_command_prints_and_writes(tmp_path):
    rows = [{"model_a": "x", "model_b": "y", "winner": w} for w in ("model_a", "model_b", "tie", "model_a")]
    pl.DataFrame(rows).write_csv(tmp_path / "votes.csv")
    for suffix in ("html", "csv", "parquet", "md"):
        out = tmp_path / f"board.{suffix}"
        done = CliRunner().invoke(app, ["rank", str(tmp_path / "votes.csv"), "--anchor", "y=1200", "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "1200" in done.output
        assert out.exists()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["gauche"]}, [], "'gauche'"),
        (
            {"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]},
            ["--columns", "winner=choice"],
            "no column 'choice'",
        ),
        ({"model_a": ["x"], "model_b": ["x"], "winner": ["model_a"]}, [], "no row says"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["tie"]}, [], "every vote is a tie"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"], "weight": [-1]}, [], "no weight"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]}, ["--anchor", "z"], "'z' is not among"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]}, ["--model", "elon"], "no model 'elon'"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]}, ["--by", "task"], "no column 'task'"),
        ({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]}, ["--out", "board.pdf"], "board.pdf"),
    ],
)
def test_a_new_users_mistakes_get_one_sentence(rows, options, message, tmp_path, monkeypatch, capsys):
    pl.DataFrame(rows).write_csv(tmp_path / "votes.csv")
    monkeypatch.setattr("sys.argv", ["pluralign", "rank", str(tmp_path / "votes.csv"), *options])
    from pluralign.cli import main

    with pytest.raises(SystemExit) as stopped:
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert stopped.value.code not in (0, None)
    assert message in said
    assert "Traceback" not in said


def test_the_room_is_callable_and_needs_no_torch():
    assert pluralign.rank({"winner": ["a"], "loser": ["b"]}).table.height == 2
    assert json.dumps(rank(g1()).table.to_dicts())
