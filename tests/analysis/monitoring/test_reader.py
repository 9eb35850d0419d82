"""Levels read in blocks, in batches and while a model writes are the same levels."""

import numpy as np
import pytest
import torch

from analysis.monitoring.alarms import Watch, parse_rule
from analysis.monitoring.live import monitored, written_live
from analysis.monitoring.reader import LevelReader
from analysis.monitoring.reference import reference_of
from analysis.monitoring.transcript import chat_document, plain_document
from analysis.records import Label
from saes.autoencoder import SAEConfig, SparseAutoencoder
from training.language_models.language_model import Tokens
from training.language_models.opening import open_model

HOOK = "blocks.1.hook_resid_post"
TEXT = "Rain fell all night on the old red barn. Nora was proud of her kite, so she flew it high."


def a_label(concept: str, latents: list[int], scales: list[float]) -> Label:
    return Label(
        concept=concept, kind="recipe", latents=latents, weights=[1.0] * len(latents), scales=scales, pooling="max", chosen=True,
        auroc_finding=0.9, auroc_folds=0.9, auroc_checking=0.9, auroc_checking_low=0.8, auroc_checking_high=0.95, auroc_all=0.9,
        auroc_family=None, runner_up="", auroc_runner_up=0.9, auroc_implicit=None, auroc_contrast=None, lexical_share=0.0,
        effect_finding=0.0, p=0.01, q=0.01, null_finding=0.6, n_positive=10, n_negative=50, status="held",
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.commands.conftest import make_model

    return open_model(make_model(tmp_path_factory.mktemp("tiny")), "cpu")


@pytest.fixture(scope="module", params=["relu", "topk"])
def reader(model, request):
    torch.manual_seed(0)
    sae = SparseAutoencoder(SAEConfig(32, 64, request.param, 8 if request.param == "topk" else None), seed=0)
    return LevelReader(model, sae, HOOK, [a_label("afraid", [3, 5], [2.0, 0.5]), a_label("calm", [5, 60], [0.5, 1.0])])


def test_levels_are_the_latents_in_dose_units(model, reader):
    (found,) = reader.texts([TEXT])
    tokens = model.tokenise([TEXT])
    assert found.shape == (int(tokens.keep.sum()), 2)
    assert (found >= 0).all()
    assert (found > 0).any()
    x = model.activations(tokens, [HOOK])[HOOK][tokens.keep]
    code = reader.dictionary.encode(x).detach().numpy()
    np.testing.assert_allclose(found[:, 0], code[:, 3] / 2.0 + code[:, 5] / 0.5, rtol=1e-4, atol=1e-5)


def test_a_long_text_is_read_in_blocks_that_join(model, reader):
    long = " ".join([TEXT] * 12)
    blocks = list(reader.blocks(plain_document(long)))
    assert len(blocks) > 3
    assert [block.first for block in blocks] == list(np.cumsum([0, *(len(block.strings) for block in blocks[:-1])]))
    assert "".join(part for block in blocks for part in block.strings).replace("<|end|>", "") == long
    short = list(reader.blocks(plain_document(TEXT)))
    whole = np.concatenate([block.levels for block in short])
    (alone,) = reader.texts([TEXT])
    np.testing.assert_allclose(whole[1:], alone, atol=1e-5)
    assert not whole[0].any(), "the token that begins a text says nothing"


def test_a_block_is_read_with_what_came_before(model, reader):
    long = " ".join([TEXT] * 6)
    second = list(reader.blocks(plain_document(long)))[1]
    ids = model.tokenizer(long)["input_ids"]
    alone = reader.levels(
        model.activations(model.tokenise([model.tokenizer.decode(ids[second.first : second.first + 40])]), [HOOK])[HOOK]
    )
    assert not np.allclose(second.levels[:10], alone[0, 1:11].numpy(), atol=1e-3)


def test_turns_are_known_token_by_token(reader):
    document = chat_document(
        [{"role": "user", "content": "The cat sat."}, {"role": "assistant", "content": "Rain fell."}]
    )
    (block,) = reader.blocks(document)
    spoken = {
        turn: "".join(s for s, t in zip(block.strings, block.turns, strict=True) if t == turn).strip()
        for turn in (0, 1)
    }
    assert spoken == {0: "The cat sat.", 1: "Rain fell."}
    assert (block.turns == -1).any()


def test_a_template_that_begins_the_text_itself_is_not_begun_twice(model, reader):
    model.tokenizer.chat_template = (
        "{{ bos_token }}{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"
    )
    try:
        (block,) = reader.blocks(chat_document([{"role": "user", "content": "The cat sat."}], model.tokenizer))
    finally:
        model.tokenizer.chat_template = None
    assert block.strings.count(model.tokenizer.bos_token) == 1


def test_what_is_read_while_writing_is_what_is_read_afterwards(model, reader):
    given = model.tokenizer(["The cat sat"], return_tensors="pt")
    with monitored(reader, model=model.model) as seen:
        ids = model.model.generate(**given, max_new_tokens=20, do_sample=False, eos_token_id=None)
    after = reader.levels(model.activations(Tokens(ids, torch.ones_like(ids, dtype=torch.bool)), [HOOK])[HOOK])[0]
    kept = ~torch.isin(ids[0], model.special)
    after = after[kept].numpy()
    assert len(seen.levels[0]) in (len(after), len(after) - 1), "the last token is written and not read"
    np.testing.assert_allclose(seen.levels[0], after[: len(seen.levels[0])], atol=1e-3)


def test_a_models_own_generate_is_read_too_row_by_row(model, reader):
    model.tokenizer.padding_side = "left"
    given = model.tokenizer(["The cat", "Nora was proud of her"], return_tensors="pt", padding=True)
    with monitored(reader, model=model.model) as seen:
        out = model.model.generate(**given, max_new_tokens=6, do_sample=False)
    for row in (0, 1):
        n = int(given["attention_mask"][row].sum()) - 1
        assert len(seen.levels[row]) >= n + 4
    assert out.shape[0] == 2


def test_an_alarm_can_end_the_writing(model, reader):
    reference = reference_of(reader.concepts, [np.zeros((2000, 2))], "silence")
    heard = []

    def stop(row, alarm):
        heard.append((row, alarm.rule.concept))
        raise InterruptedError("that is enough")

    with (
        pytest.raises(InterruptedError),
        monitored(reader, Watch([parse_rule("calm > 0.001")], reference), on_alarm=stop) as seen,
    ):
        model.generate([TEXT], max_new_tokens=20, temperature=1.0)
    assert heard == [(0, "calm")]
    assert len(seen.alarms[0]) == 1


def test_what_is_written_live_is_what_is_written_and_read_afterwards(model, reader):
    _, blocks = written_live(reader, "The cat sat", 8, temperature=0.0)
    blocks = list(blocks)
    (text,) = model.generate(["The cat sat"], 8, keep_prompt=True)
    assert "".join(s for block in blocks for s, t in zip(block.strings, block.turns, strict=True) if t == 0) == text
    assert len(blocks) > 5, "block by block, as it was written"
    assert [block.first for block in blocks] == list(np.cumsum([0, *(len(block.strings) for block in blocks[:-1])]))
    with pytest.raises(ValueError, match="do not fit"):
        list(written_live(reader, "The cat sat", 5000)[1])


def test_the_model_is_left_as_it_was(model, reader):
    before = model.generate(["The cat"], max_new_tokens=8)
    with monitored(reader):
        assert model.generate(["The cat"], max_new_tokens=8) == before
    assert model.generate(["The cat"], max_new_tokens=8) == before
