"""The page of the games says what was measured, and what was measured is what the cards claim."""

import json

from benchmarks import games


def test_every_claim_on_the_page_was_measured() -> None:
    found = json.loads(games.RESULTS.read_text())
    rows = list(games.claims(found))
    page = games.PAGE.read_text()
    assert {name for name, *_ in rows} >= {"SPO", "ONPO", "INPO", "EGPO", "iterative DPO", "online IPO"}
    assert [name for name, _, _, agrees in rows if not agrees] == []
    assert all(f"| {name} | {said} | {seen} | yes |" in page for name, said, seen, _ in rows)
