"""A clamp acts alike on low-precision, quantised, offloaded and bridged models, and where its tokens and turns are."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.intervention import Edit, Intervention, TokenSet, Turns
from training.language_models.clamped import clamped
from training.language_models.hugging_face import HuggingFaceModel
from training.language_models.turns import assistant_turns

SITE = "blocks.1.hook_resid_post"
PROMPT = "The cat sat on the"


def plain(model_folders, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(model_folders["llama"], dtype=dtype).eval()


def sae(sparsity="jump_relu"):
    return SparseAutoencoder(SAEConfig(32, 48, sparsity, k=4, initial_threshold=0.1), seed=0)


def written(model, tokens):
    ids = model.generate(tokens.ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
    return ids[:, tokens.ids.shape[1] :].tolist()


def caught(model, tokens):
    """What leaves the place and what follows it while a model reads."""
    found = {}
    block = model.model.layers[1]
    handle = block.register_forward_hook(
        lambda module, args, out: found.setdefault("x", out if torch.is_tensor(out) else out[0])
    )
    model(tokens.ids)
    handle.remove()
    return found["x"]


@pytest.mark.parametrize("sparsity", ["relu", "jump_relu", "topk", "gated"])
def test_bfloat16_models_stay_bfloat16(model_folders, llama, sparsity):
    model, tokens = plain(model_folders, torch.bfloat16), llama.tokenise([PROMPT])
    dictionary = sae(sparsity)
    before = caught(model, tokens)
    with clamped(model, Intervention((Edit((2,), 30.0),)), dictionary, SITE), torch.no_grad():
        after = caught(model, tokens)
        assert len(written(model, tokens)[0]) == 6
    assert after.dtype == torch.bfloat16
    read = dictionary.encode_latents(before[0, 1:].float(), [2])
    expected = before[0, 1:].float() + (30.0 - read) @ dictionary.directions[[2]]
    torch.testing.assert_close(after[0, 1:].float(), expected.detach(), rtol=0.02, atol=0.1)


def test_models_with_int8_weights(model_folders, llama):
    from torch.ao.quantization import quantize_dynamic

    model, tokens = plain(model_folders), llama.tokenise([PROMPT])
    quantised = quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    assert "quantized" in type(quantised.model.layers[0].mlp.down_proj).__module__
    before = written(quantised, tokens)
    with clamped(quantised, Intervention((Edit((2,), 60.0),)), sae(), SITE):
        during = written(quantised, tokens)
    assert during != before
    assert written(quantised, tokens) == before


@pytest.mark.parametrize("offload", ["cpu_offload", "some_blocks"])
def test_models_whose_weights_are_brought_when_needed(model_folders, llama, offload):
    accelerate = pytest.importorskip("accelerate")
    push, tokens = Intervention((Edit((2,), 60.0),)), llama.tokenise([PROMPT])
    model = plain(model_folders)
    with clamped(model, push, sae(), SITE):
        expected = written(model, tokens)
    if offload == "cpu_offload":
        model = accelerate.cpu_offload(model, execution_device="cpu")
        assert model.get_input_embeddings().weight.device.type == "meta"
    else:
        accelerate.cpu_offload(model.model.layers[1], execution_device="cpu")
        assert model.model.layers[1].mlp.down_proj.weight.device.type == "meta"
    with clamped(model, push, sae(), SITE):
        assert written(model, tokens) == expected


def test_a_dictionary_on_another_device_reads_where_the_activation_is(llama):
    hook = Intervention((Edit((2,), 60.0),)).hook(sae())
    x = torch.empty(1, 3, 32, device="meta")
    assert hook(x).device.type == "meta"
    assert hook(torch.zeros(1, 3, 32)).device.type == "cpu"


def test_token_sets_are_found_token_by_token(model_folders, llama):
    model, tokens = plain(model_folders), llama.tokenise([PROMPT])
    free = Intervention((Edit((2,), 60.0),))
    with clamped(model, free, sae(), SITE):
        everywhere = written(model, tokens)[0]
    every_token = TokenSet(tuple(range(1, 320)))
    for positions, expected in ((every_token, everywhere), (TokenSet((319,)), written(model, tokens)[0])):
        push = Intervention((Edit((2,), 60.0),), positions)
        with clamped(model, push, sae(), SITE):
            assert written(model, tokens)[0] == expected
        ours = llama.generate([PROMPT], 6, hooks={SITE: push.hook(sae())})[0]
        assert ours == llama.tokenizer.decode(expected, skip_special_tokens=True)


def test_turns_are_followed_while_text_is_written(llama):
    ids = llama.tokenise([PROMPT]).ids[0].tolist()
    opened = Intervention((Edit((2,), 60.0),), Turns(opening=(ids[-1],), closing=(0,)))
    generated = Intervention((Edit((2,), 60.0),), "generated")
    texts = [llama.generate([PROMPT], 6, hooks={SITE: one.hook(sae())}) for one in (opened, generated)]
    assert texts[0] == texts[1]
    never = Intervention((Edit((2,), 60.0),), Turns(opening=(318, 319), closing=(0,)))
    assert llama.generate([PROMPT], 6, hooks={SITE: never.hook(sae())}) == llama.generate([PROMPT], 6)


def test_embeddings_hide_which_tokens_stand_there(model_folders, llama):
    model = plain(model_folders)
    embedded = model.get_input_embeddings()(llama.tokenise([PROMPT]).ids)
    push = Intervention((Edit((2,), 60.0),), TokenSet((5,)))
    with clamped(model, push, sae(), SITE), pytest.raises(ValueError, match="with embeddings"):
        model(inputs_embeds=embedded)


def test_through_the_bridge(llama, model_folders):
    pytest.importorskip("transformer_lens")
    from training.language_models.transformer_lens import open_transformer_lens

    bridged = open_transformer_lens(str(model_folders["llama"]), None, "cpu", torch.float32)
    prompts = [PROMPT, "R"]
    for positions in ("all", "generated", (1, 3), TokenSet(tuple(range(1, 200)))):
        hook = Intervention((Edit((2,), 40.0),), positions).hook(sae())
        assert bridged.generate(prompts, 6, hooks={SITE: hook}) == llama.generate(prompts, 6, hooks={SITE: hook})


def test_assistant_turns_are_read_off_the_chat_template(llama):
    tokenizer = type(llama.tokenizer)(tokenizer_object=llama.tokenizer.backend_tokenizer, eos_token="<|end|>")
    with pytest.raises(ValueError, match="no chat template"):
        assistant_turns(tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    turns = assistant_turns(tokenizer)
    chat = [{"role": "user", "content": "Rain fell?"}, {"role": "assistant", "content": "Rain fell."},
            {"role": "user", "content": "Rain"}]  # fmt: skip
    ids = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), add_special_tokens=False)["input_ids"]
    inside = turns.inside(torch.tensor([ids]))[0]
    assert tokenizer.decode([token for token, there in zip(ids, inside.tolist(), strict=True) if there]) == "Rain fell."
    assert HuggingFaceModel(llama.model, tokenizer).special.tolist() == [0]
