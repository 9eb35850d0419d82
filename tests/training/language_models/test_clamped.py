"""A clamp around a plain Hugging Face model acts as one around ours."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.dictionary import Directions
from saes.intervention import DirectionPush, Edit, Intervention, hooks_across
from training.language_models.clamped import clamped

SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def plain(model_folders):
    return AutoModelForCausalLM.from_pretrained(model_folders["llama"]).eval()


@pytest.fixture(scope="module")
def dictionary():
    return Directions(torch.randn(6, 32, generator=torch.Generator().manual_seed(0)))


def written(plain, tokens, **options):
    ids = plain.generate(tokens.ids, max_new_tokens=8, do_sample=False, pad_token_id=0, **options)
    return ids[:, tokens.ids.shape[1] :].tolist()


@pytest.mark.parametrize("positions", ["all", "generated", "prompt", (2, 5)])
def test_generate_is_followed_token_by_token(plain, llama, dictionary, positions):
    clamp = Intervention((Edit((2,), 30.0),), positions)
    tokens = llama.tokenise(["The cat sat on"])
    before = written(plain, tokens)
    with clamped(plain, clamp, dictionary, SITE) as same:
        assert same is plain
        during = written(plain, tokens)
    assert written(plain, tokens) == before
    ours = llama.generate(tokens, 8, hooks={SITE: clamp.hook(dictionary)})[0]
    assert llama.tokenizer.decode(during[0], skip_special_tokens=True) == ours


def test_left_padding_is_left_alone(plain, llama, dictionary):
    clamp = Intervention((Edit((2,), 30.0),), positions=(1, 4))
    prompts = ["R", "Nora was proud of her"]
    llama.tokenizer.padding_side = "left"
    batch = llama.tokenizer(prompts, padding=True, return_tensors="pt")
    with clamped(plain, clamp, dictionary, SITE):
        ids = plain.generate(batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=6, do_sample=False)
    theirs = [llama.tokenizer.decode(row[batch.input_ids.shape[1] :], skip_special_tokens=True) for row in ids]
    assert theirs == llama.generate(prompts, 6, hooks={SITE: clamp.hook(dictionary)})


def test_an_empty_intervention_changes_no_bit(plain, llama, dictionary):
    ids = llama.tokenise(["The cat sat on the mat."]).ids
    with clamped(plain, Intervention(), dictionary, SITE):
        inside = plain(ids).logits
    assert torch.equal(inside, plain(ids).logits)


def test_ours_can_be_given_and_directions_need_no_dictionary(llama):
    push = DirectionPush(torch.ones(32), 40.0)
    tokens = llama.tokenise(["The cat"])
    with clamped(llama, push, hook_name=SITE):
        inside = llama.logits(tokens)
    assert torch.equal(inside, llama.logits(tokens, {SITE: push.hook()}))
    assert not torch.equal(inside, llama.logits(tokens))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU here"))])  # fmt: skip
def test_an_sae_moves_to_the_model(model_folders, device):
    model = AutoModelForCausalLM.from_pretrained(model_folders["llama"]).eval().to(device)
    sae, ids = SparseAutoencoder(SAEConfig(32, 8, "relu")), torch.arange(1, 6, device=device)[None]
    before = model(ids).logits
    with clamped(model, Intervention((Edit((2,), 30.0),)), sae, SITE):
        during = model(ids).logits
    assert not torch.equal(during, before)
    assert sae.W_dec.device == ids.device


def test_a_transcoder_writes_elsewhere_than_it_reads(plain, llama):
    transcoder = SparseAutoencoder(SAEConfig(32, 8, "relu", d_out=32, apply_b_dec_to_input=False))
    clamp, ids = Intervention((Edit((2,), 30.0),)), llama.tokenise(["The cat sat on the mat."]).ids
    before, (reads, writes) = plain(ids).logits, ("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out")
    with clamped(plain, clamp, transcoder, reads, writes):
        during = plain(ids).logits
    hooks = hooks_across(clamp, transcoder, reads, writes)
    torch.testing.assert_close(during, llama.logits(llama.tokenise(["The cat sat on the mat."]), hooks))
    assert not torch.equal(during, before)
    with pytest.raises(ValueError, match="name the place that it writes"), clamped(plain, clamp, transcoder, reads):
        pass
    narrow = SparseAutoencoder(SAEConfig(32, 8, "relu", d_out=16, apply_b_dec_to_input=False))
    with pytest.raises(ValueError, match="expected d_out 16, got 32"), clamped(plain, clamp, narrow, reads, writes):
        pass


def test_mistakes_are_named(plain, dictionary):
    with pytest.raises(ValueError, match="needs a hook_name"), clamped(plain, Intervention(), dictionary):
        pass
    wrong = Directions(torch.eye(8))
    with pytest.raises(ValueError, match="expected d_in 8, got 32"), clamped(plain, Intervention(), wrong, SITE):
        pass
    with pytest.raises(ValueError, match="each with"), clamped(plain, Intervention(), dictionary, "blocks.5.hook_in"):
        pass
    with (
        pytest.raises(ValueError, match="goes with a transcoder"),
        clamped(plain, Intervention(), dictionary, SITE, SITE),
    ):
        pass
