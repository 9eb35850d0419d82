"""What was meant is named, and nothing where nothing is near."""

from saes.nearest import did_you_mean


def test_the_nearest_is_named():
    assert did_you_mean("tapk", ["relu", "topk", "batch_topk"]) == "; did you mean topk?"
    assert did_you_mean("zzz", ["relu", "topk"]) == ""
