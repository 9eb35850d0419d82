"""A language model of random weights, an SAE of random directions on it, and a study made by hand: all tiny."""

import json
from pathlib import Path

import pytest

SENTENCES = [
    "The cat sat on the mat and looked at the rain.",
    "Nora was proud of her kite, so she flew it high.",
    "Where did you go? said Tom, and he laughed.",
    "Rain fell all night on the old red barn.",
]
END = "<|end|>"


def make_model(folder: Path) -> Path:
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=320, special_tokens=[END], initial_alphabet=alphabet, show_progress=False),
    )
    raw.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, raw.token_to_id(END))])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=END, eos_token=END, pad_token=END)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_sae(folder: Path, model: Path) -> Path:
    from saes.autoencoder import SAEConfig, SparseAutoencoder
    from saes.checkpoint import save_sae
    from saes.site import Site

    return save_sae(
        SparseAutoencoder(SAEConfig(32, 64, "topk", 4), seed=0), folder, Site(str(model), "blocks.1.hook_resid_post")
    )


def clamp(concept: str, arm: str, status: str, **changes):
    from analysis.records import ClampResult

    fields = {
        "concept": concept, "arm": arm, "arm_id": arm, "latents": [], "dose": 2.0, "push": 0.1, "judge": 0.2,
        "judge_low": 0.1, "judge_high": 0.3, "readout": 0.1, "readout_low": 0.05, "readout_high": 0.2, "fluency": 0.3,
        "kl": 0.25, "p": 0.0125, "q": 0.02 if arm == "label" else None, "n_controls": 79, "control_judge_max": 0.1,
        "control_readout_max": 0.05, "foreign_share": 0.1, "n_foreign": 9, "n_prompts": 8, "status": status,
        "judge_auroc": 0.9, "judge_auroc_low": 0.85,
    }  # fmt: skip
    if arm == "label":
        fields |= {"own_rank": 1, "n_ranked": 24, "family_rank": 1, "down_judge": -0.1, "down_judge_low": -0.2,
                   "down_judge_high": 0.0, "safe_low": -2.0, "safe_high": 4.0, "detectable": 0.15}  # fmt: skip
    return ClampResult(**{**fields, **changes})


def write_study(folder: Path, sae: Path, model: Path) -> Path:
    from analysis.records import Excerpt, FeatureCard, Label, StudyInfo
    from analysis.study import SCHEMA, Study

    site = f"{model}/blocks.1.hook_resid_post"
    info = StudyInfo(
        SCHEMA,
        str(model),
        site,
        str(sae),
        "",
        "emotions",
        "",
        "saes label",
        "",
        "0",
        "2026-01-01",
        {"hook_name": "blocks.1.hook_resid_post"},
    )
    study = Study.create(folder, info)
    study.write(
        "labels",
        [
            Label(
                concept=concept,
                kind="single",
                latents=[latent],
                weights=[1.0],
                scales=[2.0],
                pooling="mean",
                chosen=True,
                auroc_finding=0.9,
                auroc_folds=0.9,
                auroc_checking=0.9,
                auroc_checking_low=0.8,
                auroc_checking_high=0.95,
                auroc_all=0.85,
                auroc_family=None,
                runner_up="calm",
                auroc_runner_up=0.7,
                auroc_implicit=0.7,
                auroc_contrast=None,
                lexical_share=0.1,
                effect_finding=0.0,
                p=0.001,
                q=0.01,
                null_finding=0.6,
                n_positive=12,
                n_negative=100,
                status=status,
            )
            for concept, latent, status in (("afraid", 3, "held"), ("calm", 5, "rejected"))
        ],
    )
    study.write(
        "cards", [FeatureCard(3, ["afraid"], 0.02, 5.0, 2.0, [0.0, 5.0], [7], [" run"], [" sit"], [4], [0.3], 2.2, 5.5)]
    )
    study.write("excerpts", [Excerpt(3, 0, "afraid", "checking", ["She", " ran"], [0.0, 5.0], 5.0)])
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def sae(tmp_path, tiny_model) -> Path:
    return make_sae(tmp_path / "sae", tiny_model)


@pytest.fixture
def study(tmp_path, sae, tiny_model) -> Path:
    return write_study(tmp_path / "study", sae, tiny_model)


@pytest.fixture
def make_study():
    """make_study(folder, sae, model) -> the folder of a small study, made by hand."""
    return write_study


@pytest.fixture(name="make_clamp")
def _make_clamp():
    """make_clamp(concept, arm, status) -> a ClampResult."""
    return clamp


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """run("show", path) -> (exit code, stdout, stderr), in an empty working folder."""
    from commands.__main__ import main

    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def run_json(run):
    """run_json("show", path) -> the object that is last on stdout."""

    def call(*words: object) -> dict:
        code, out, err = run(*words, "--json")
        assert code == 0, err
        return json.loads(out.strip().splitlines()[-1])

    return call
