"""The world's own truth is the generator's table of who cheats."""

import pytest

from analysis.cases.world_truth import world_arms
from training.corpora.storyworld import workshop


def test_who_brings_desperation_cheats_more_and_without_calm_there_is_a_little_more(monkeypatch):
    rows = {row.arm: row for row in world_arms(("desperate", "calm"), seed=0, n=400)}
    assert rows["world_desperate"].cheat_low > rows["world_anyone"].cheat_high
    assert rows["world_calm"].cheat_high < rows["world_anyone"].cheat_low
    assert rows["world_without_desperate"].cheat_rate < 0.15
    assert rows["world_without_calm"].cheat_rate > rows["world_anyone"].cheat_rate
    assert all(row.kind == "world" and row.honest_rate == pytest.approx(1 - row.cheat_rate) for row in rows.values())
    monkeypatch.setattr(workshop, "CHEATS", dict.fromkeys(workshop.CHEATS, 1.0))
    assert all(row.cheat_rate == 1.0 for row in world_arms(("calm",), seed=0, n=20))
