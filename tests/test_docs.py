"""What the documentation shows can be done as it stands there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.S)


def test_the_example_of_an_intervention_is_of_the_bundled_study(tmp_path):
    from transformers import AutoTokenizer

    from analysis.latent_units import statistics_at
    from saes.written_intervention import read_intervention

    (tmp_path / "example.yaml").write_text(next(one for one in blocks("interventions.md", "yaml") if "sites:" in one))
    statistics = statistics_at(ROOT / "checkpoints" / "storyteller-sae" / "study")
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "checkpoints" / "storyteller")

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for site in read_intervention(tmp_path / "example.yaml").sites:
        resolved = site.resolved(statistics, ids)
        assert all(edit.latents for edit in resolved.edits)


def test_the_example_in_python_runs(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.chdir(ROOT)
    code = next(one for one in blocks("interventions.md", "python") if "TokenSet" in one)
    exec(compile(code.replace("generate(**", "generate(max_new_tokens=2, **"), "docs/interventions.md", "exec"), {})
