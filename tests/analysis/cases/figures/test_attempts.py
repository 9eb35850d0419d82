"""The figure of foretelling: the longest stretch that both endings have, slopes and AUROCs with their controls."""

from analysis.records import AttemptSlope, AttemptTrace, Foretelling


def trace(
    outcome: str, attempt: int, least: int, mean: float, aligned: str = "end", concept: str = "desperate"
) -> AttemptTrace:
    return AttemptTrace(concept, outcome, aligned, attempt, least, mean, mean - 0.1, mean + 0.1, 0.0, 0.4, 10 * least)


TRACES = [
    *(trace("cheated", at - 2, 2, 0.5 + 0.1 * at) for at in range(2)),
    *(trace("stopped", at - 2, 2, 0.3) for at in range(2)),
    *(trace("cheated", at - 3, 3, 0.9) for at in range(3)),
    *(trace("cheated", at + 1, 2, 0.7, "start") for at in range(2)),
    *(trace("both", at - 2, 2, 0.7) for at in range(2)),
]
SLOPES = [
    AttemptSlope("desperate", end, 0.1, 0.05, 0.15, 0.01, 0.0, -0.02, 0.02, 20, 40)
    for end in ("cheated", "stopped", "difference")
]
SCORES = [Foretelling("desperate", 0.7, 0.6, 0.8, 0.75, 0.65, 0.85, 0.0, 20, 30, 31, 0.4, 0.6)]


def test_traces_are_of_the_same_stretch_for_both_endings(study, painted, marks):
    study.write("attempt_traces", TRACES)
    study.write("attempt_slopes", SLOPES)
    study.write("foretellings", SCORES)
    panel, slopes, scores = painted("attempts", study).axes
    found = marks(panel)
    assert [y for _, y in found["ends in cheating"]] == [0.5, 0.6], "two attempts: three only cheats have"
    assert [y for _, y in found["ends in an honest stop"]] == [0.3, 0.3]
    assert [round(x) for x, _ in found["ends in cheating"]] == [-2, -1]
    assert panel.get_xlabel() == "n = 20 + 20"
    assert [text.get_text() for text in slopes.get_yticklabels()] == ["desperate, cheats", "desperate, stops"]
    assert [text.get_text() for text in scores.get_yticklabels()] == ["desperate", "bag of words"]
    assert 0.7 in [line.get_xdata()[0] for line in scores.lines]


def test_what_is_missing_leaves_its_panel_empty(study, painted):
    study.write("foretellings", SCORES)
    panel, slopes, _ = painted("attempts", study).axes
    assert panel.get_xlabel() == "too few episodes"
    assert not slopes.get_yticklabels()
    study.write("foretellings", [])
    study.write("attempt_traces", TRACES)
    assert len(painted("attempts", study).axes) == 3
