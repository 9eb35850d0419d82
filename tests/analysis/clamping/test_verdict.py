"""The rule on trials whose truth is planted."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.clamping.plan import Arm
from analysis.clamping.verdict import VerdictRule, bootstrap_mean, choose_dose, judge_arms, verdict
from analysis.records import CONTROLS, Trial, clamp_counts
from saes.intervention import Intervention

RULE = VerdictRule()


def arm(kind, name):
    return Arm("afraid", kind, name, 2.0, (), 3.0, Intervention())


def trials(one, rng, judge=0.0, readout=0.0, fluency=0.2, n=22, phase="report", noise=0.08):
    return [
        Trial("afraid", one.kind, one.id, one.dose, f"prompt{number}", "", rng.normal(judge, noise),
              rng.normal(readout, 0.4), rng.normal(fluency, 0.1), "", "", phase)
        for number in range(n)
    ]  # fmt: skip


def battery(seed, label=None, **of_control):
    """Results of a label and 18 controls that do nothing but for `of_control`: {arm id: planted effects}."""
    rng = np.random.default_rng(seed)
    arms = [arm("label", "afraid"), arm("diff_means", "diff_means")]
    arms += [arm(kind, f"{kind}{number}") for kind in CONTROLS for number in range(6)]
    planted = {"afraid": label or {}, "diff_means": {"judge": 0.6, "readout": 1.0}, **of_control}
    return judge_arms(
        arms, [trial for one in arms for trial in trials(one, rng, **planted.get(one.id, {}))], RULE, seed=seed
    )


STRONG = {"judge": 0.3, "readout": 1.0}


@pytest.mark.parametrize("seed", range(24))
def test_planted_effects_are_validated_and_decoys_are_not(seed):
    assert battery(seed, STRONG)[0].status == "validated"
    decoy = battery(seed)
    assert decoy[0].status == "no effect"
    counts = clamp_counts(decoy)
    assert (counts["control_validated"], counts["control_tested"]) == (0, 18)


@pytest.mark.parametrize(
    ("label", "others", "status"),
    [
        (STRONG, {"other_family2": {"judge": 0.5}}, "unspecific"),
        (STRONG, {"random_latent0": {"judge": 0.5}}, "unspecific"),
        ({**STRONG, "fluency": 1.5}, {}, "breaks fluency"),
        ({**STRONG, "fluency": float("nan")}, {}, "breaks fluency"),
        ({"judge": 0.3}, {}, "no effect"),  # the judge alone
        ({"readout": 1.0}, {}, "no effect"),  # the model's words alone
        ({"judge": 0.03, "readout": 1.0, "noise": 0.001}, {}, "no effect"),  # sure, but too small
        ({"judge": -0.3, "readout": -1.0}, {}, "no effect"),
    ],
)
def test_each_way_to_fail(label, others, status):
    assert battery(0, label, **others)[0].status == status


def test_the_rival_sets_no_bar_and_is_judged_too():
    results = {one.arm_id: one for one in battery(0, STRONG)}
    assert results["diff_means"].judge > results["afraid"].judge
    assert results["afraid"].status == results["diff_means"].status == "validated"


def test_a_control_is_judged_by_the_same_rule_with_itself_left_out():
    results = {one.arm_id: one for one in battery(0, {}, other_family1=STRONG)}
    assert results["other_family1"].status == "validated"
    assert results["afraid"].control_judge_max == results["other_family1"].judge
    others = [one.judge for one in results.values() if one.arm in CONTROLS and one.arm_id != "other_family1"]
    assert results["other_family1"].control_judge_max == max(others)
    counts = clamp_counts(list(results.values()))
    assert (counts["control_validated"], counts["concepts_with_a_control"]) == (1, 1)
    both = {one.arm_id: one for one in battery(0, {}, other_family1=STRONG, random_latent1={**STRONG, "judge": 0.4})}
    assert both["other_family1"].status == "unspecific"
    assert both["random_latent1"].status == "validated"


def test_the_dose_is_the_strongest_that_keeps_fluency():
    rng = np.random.default_rng(0)
    tried = []
    for dose, judge, fluency in ((1.0, 0.1, 0.1), (2.0, 0.3, 0.4), (4.0, 0.6, 1.5)):
        tried += trials(replace(arm("label", "afraid"), dose=dose), rng, judge, fluency=fluency, phase="dose")
    assert choose_dose(RULE, tried) == 2.0
    assert choose_dose(replace(RULE, most_fluency_cost=2.0), tried) == 4.0
    assert choose_dose(replace(RULE, most_fluency_cost=-1.0), tried) == 1.0


def test_choosing_prompts_never_report():
    with pytest.raises(AssertionError, match="choosing prompts"):
        choose_dose(RULE, trials(arm("label", "afraid"), np.random.default_rng(0)))


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        _, low, high = bootstrap_mean(rng.normal(0.1, 0.2, 22), replace(RULE, draws=500), seed)
        covered += low <= 0.1 <= high
    assert 178 <= covered <= 198  # 95 %, a little less with 22 prompts


def test_a_tie_with_a_control_is_no_win():
    assert verdict(RULE, 0.2, 0.1, 0.1, 0.0, 0.2) == "unspecific"
    assert verdict(RULE, 0.2, 0.1, 0.1, 0.7, 0.19) == "validated"
