"""Hooks, tokens and generation on tiny models of five families."""

import pytest
import torch

from training.language_models.hugging_face import shared_prefix
from training.language_models.language_model import LanguageModel, Tokens

FAMILIES = ("llama", "gpt2", "gpt_neox", "gemma2", "qwen2")
SENTENCES = [
    "The cat sat on the mat and looked at the rain.",
    "Nora was proud of her kite, so she flew it high.",
    "Where did you go? said Tom, and he laughed.",
]
PROMPTS = ["The cat", "Nora was proud of her kite, so", "R"]


@pytest.fixture(params=FAMILIES)
def model(request, models):
    return models[request.param]


def pushed(amount):
    return lambda x: x + amount * torch.linspace(-1, 1, x.shape[-1])


def test_is_a_language_model(model):
    assert isinstance(model, LanguageModel)
    assert model.width("blocks.1.hook_resid_post") == model.d_model == 32
    assert (model.n_layers, model.context) == (3, 64)


def test_streams_follow_from_hugging_faces_own_hidden_states(model):
    tokens = model.tokenise(SENTENCES)
    found = model.activations(tokens, model.hook_names())
    hidden = model.model(input_ids=tokens.ids, output_hidden_states=True).hidden_states
    for layer in range(model.n_layers):
        at = f"blocks.{layer}."
        torch.testing.assert_close(found[at + "hook_resid_pre"], hidden[layer], rtol=0, atol=0)
        if layer < model.n_layers - 1:  # the last hidden state has been through the final norm
            torch.testing.assert_close(found[at + "hook_resid_post"], hidden[layer + 1], rtol=0, atol=0)
        written = found[at + "hook_attn_out"] + found[at + "hook_mlp_out"]
        torch.testing.assert_close(found[at + "hook_resid_pre"] + written, found[at + "hook_resid_post"])
        if at + "hook_resid_mid" in found:
            middle = found[at + "hook_resid_pre"] + found[at + "hook_attn_out"]
            torch.testing.assert_close(middle, found[at + "hook_resid_mid"])


def test_the_stream_between_is_missing_only_where_attention_and_mlp_run_side_by_side(models):
    assert [family for family in FAMILIES if "blocks.0.hook_resid_mid" not in models[family].places] == ["gpt_neox"]


def test_an_edit_moves_the_stream_itself(model):
    """The same push at each place of a block that the stream passes reaches the place after it whole."""
    tokens = model.tokenise(SENTENCES)
    for name in ("hook_resid_pre", "hook_resid_mid", "hook_attn_out", "hook_mlp_out", "hook_resid_post"):
        if f"blocks.1.{name}" not in model.places:
            continue
        plain = model.activations(
            tokens, ["blocks.1.hook_mlp_out", "blocks.1.hook_attn_out", "blocks.1.hook_resid_post"]
        )
        with model.hooked({f"blocks.1.{name}": pushed(0.5)}):
            moved = model.activations(tokens, list(plain))
        change = {key: moved[key] - plain[key] for key in plain}
        expected = torch.where(tokens.keep[..., None], pushed(0.5)(torch.zeros(32)), torch.zeros(()))
        if name != "hook_mlp_out":  # what the push made the parts after it write comes on top
            expected = expected + change["blocks.1.hook_mlp_out"] * (name != "hook_resid_post")
        if name == "hook_resid_pre":
            expected = expected + change["blocks.1.hook_attn_out"]
        torch.testing.assert_close(change["blocks.1.hook_resid_post"], expected, rtol=1e-4, atol=2e-5)


def test_stops_after_the_last_place_that_is_needed(model):
    reached = []
    handles = [
        place.module.register_forward_pre_hook(lambda *_, layer=layer: reached.append(layer))
        for layer in range(3)
        for place in [model.places[f"blocks.{layer}.hook_resid_post"]]
    ]
    try:
        model.activations(model.tokenise(SENTENCES), ["blocks.1.hook_resid_pre", "blocks.0.hook_mlp_out"])
    finally:
        for handle in handles:
            handle.remove()
    assert reached in ([0], [0, 1])
    assert 2 not in reached


@pytest.mark.parametrize("name", ["blocks.9.hook_resid_post", "blocks.1.hook_resid", "layers.1", ""])
def test_an_unknown_hook_name_lists_what_is_there(model, name):
    tokens = model.tokenise(["a"])
    message = "blocks.0 to blocks.2, each with hook_resid_pre.*hook_resid_post"
    with pytest.raises(ValueError, match=message):
        model.activations(tokens, [name])
    with pytest.raises(ValueError, match=message):
        model.logits(tokens, {name: lambda x: x})
    with pytest.raises(ValueError, match=message):
        model.width(name)


def test_a_hook_that_returns_its_tensor_changes_no_bit(model):
    tokens = model.tokenise(SENTENCES)
    hooks = {name: (lambda x: x) for name in model.hook_names()}
    assert torch.equal(model.logits(tokens, hooks), model.logits(tokens))
    assert model.generate(PROMPTS, 8, hooks=hooks) == model.generate(PROMPTS, 8)


def test_hooks_are_gone_afterwards_even_when_one_fails(model):
    tokens = model.tokenise(SENTENCES)
    before = model.logits(tokens)

    def fails(x):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        model.logits(tokens, {"blocks.1.hook_resid_post": fails})
    assert torch.equal(model.logits(tokens), before)
    with pytest.raises(ValueError, match="made"):
        model.logits(tokens, {"blocks.1.hook_resid_post": lambda x: x[:, :1]})


def test_padding_changes_nothing(model):
    tokens = model.tokenise(SENTENCES)
    together = model.logits(tokens)
    log_probs = model.log_probs(tokens)
    for row, text in enumerate(SENTENCES):
        alone = model.tokenise([text])
        length = alone.ids.shape[1]
        torch.testing.assert_close(together[row, :length], model.logits(alone)[0])
        torch.testing.assert_close(log_probs[row, :length], model.log_probs(alone)[0])
        assert not log_probs[row, length:].any()
        assert log_probs[row, 0] == 0


def test_texts_that_begin_alike_cost_the_same_read_once(model):
    beginnings = ["The cat sat on the mat and looked at", "Where did you go said the cat and"]
    texts = [
        f"{one} {rest}"
        for one in beginnings
        for rest in ("the rain", "Tom, and he laughed at her", "a", "barn", "it all")
    ]
    tokens = model.tokenise(texts)
    shared = shared_prefix(tokens)
    assert 8 <= shared < int(tokens.lengths.min())
    log_softmax = model.logits(tokens).log_softmax(-1)
    by_hand = log_softmax[:, :-1].gather(-1, tokens.ids[:, 1:, None])[..., 0] * tokens.real[:, 1:]
    torch.testing.assert_close(model.log_probs(tokens)[:, 1:], by_hand)
    assert shared_prefix(model.tokenise(texts[:1])) == 0
    assert shared_prefix(tokens.take([0, 5])) == 0, "nothing is shared by two texts"
    shift = {"blocks.1.hook_resid_post": lambda x: x + 1.0}
    with model.hooked(shift):
        inside = model.log_probs(tokens)
    torch.testing.assert_close(inside, model.log_probs(tokens, shift))


def test_the_shared_beginning_is_the_longest_that_few_enough_texts_differ_in():
    draw = torch.Generator().manual_seed(0)
    found = set()
    for rows in [*range(6), 8, 9, 12, 13, 16, 40]:
        for vocab in (1, 2, 3):
            ids = torch.randint(vocab, (rows, 7), generator=draw)
            lengths = torch.randint(4, 8, (rows,), generator=draw)
            real = torch.arange(7) < lengths[:, None]
            shortest = int(lengths.min()) if rows else 0
            good = [n for n in range(2, shortest) if 4 * len(ids[:, :n].unique(dim=0)) <= rows]
            assert shared_prefix(Tokens(ids, real, lengths), least=2) == max(good, default=0)
            found.add(max(good, default=0))
    assert len(found) > 3


def test_log_probs_are_those_of_the_logits(model):
    tokens = model.tokenise(SENTENCES[:1])
    log_softmax = model.logits(tokens).log_softmax(-1)
    by_hand = [float(log_softmax[0, place - 1, tokens.ids[0, place]]) for place in range(1, tokens.ids.shape[1])]
    assert model.log_probs(tokens)[0, 1:].tolist() == pytest.approx(by_hand, abs=1e-5)


def test_next_token_log_probs_with_and_without_neighbours(model):
    together = model.next_token_log_probs(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = model.logits(model.tokenise([prompt]))[0, -1].log_softmax(-1)
        torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)


def uncached(model, prompt, count, hooks=None):
    """Greedy generation without a cache: the whole text is read anew for every token."""
    ids = model.tokenise([prompt]).ids
    start = ids.shape[1]
    for _ in range(count):
        tokens = Tokens(ids, ~torch.isin(ids, model.special))
        best = model.logits(tokens, hooks)[:, -1].argmax(-1)
        if int(best) in model._ends().tolist():
            break
        ids = torch.cat([ids, best[:, None]], dim=1)
    return ids[0, start:].tolist()


@pytest.mark.parametrize(
    "hooks", [None, {"blocks.1.hook_resid_post": pushed(2.0)}, {"blocks.1.hook_attn_out": pushed(2.0)}]
)
def test_cached_equals_uncached_padded_equals_unpadded(model, hooks):
    together = model.generate(PROMPTS, 10, hooks=hooks)
    for row, prompt in enumerate(PROMPTS):
        ids = uncached(model, prompt, 10, hooks)
        assert together[row] == model.generate([prompt], 10, hooks=hooks)[0]
        assert together[row] == model.tokenizer.decode(ids, skip_special_tokens=True)


def test_greedy_agrees_with_hugging_faces_own_generate(model):
    tokens = model.tokenise(PROMPTS[1:2])
    theirs = model.model.generate(
        tokens.ids, attention_mask=torch.ones_like(tokens.ids), max_new_tokens=10, do_sample=False
    )
    ours = model.generate(tokens, 10)
    assert ours[0] == model.tokenizer.decode(theirs[0, tokens.ids.shape[1] :], skip_special_tokens=True)


def test_hooks_are_told_positions_and_where_text_is(model):
    calls = []

    def listen(x, *, keep=None, offset=0):
        calls.append((x.shape[1], keep, offset))
        return x

    prompts = model.tokenise(PROMPTS)
    model.generate(PROMPTS, 3, hooks={"blocks.0.hook_resid_pre": listen}, stop=None)
    width = prompts.ids.shape[1]
    first_width, keep, offset = calls[0]
    assert first_width == width
    assert offset.tolist() == (prompts.lengths - width).tolist()
    assert keep.sum(1).tolist() == prompts.keep.sum(1).tolist()
    assert bool(keep[:, -1].all())
    for step, (step_width, _, offset) in enumerate(calls[1:]):
        assert step_width == 1
        assert offset.tolist() == (prompts.lengths + step).tolist()


def test_tokens_of_decode_steps_are_really_edited(model):
    """A hook that acts only after the prompt changes what follows the first new token, and nothing before."""
    seen = []

    def later_only(x, *, offset=0):
        if torch.as_tensor(offset).max() <= 0:
            return x
        seen.append(x.shape)
        return x + 5 * torch.linspace(-1, 1, 32)

    hooks = {"blocks.1.hook_resid_post": later_only}
    plain, edited = model.generate(["The cat"], 12), model.generate(["The cat"], 12, hooks=hooks)
    assert seen
    assert set(seen) == {(1, 1, 32)}
    assert plain != edited


def test_a_plain_function_cannot_touch_padding_or_special_tokens(model):
    tokens = model.tokenise(PROMPTS)
    seen = {}

    def remember(x):
        seen["x"] = x.clone()
        return x

    with model.hooked({"blocks.1.hook_resid_pre": lambda x: x * 0 + 7.0}), model.hooked({"blocks.1.hook_in": remember}):
        model.logits(tokens)
    sevens = (seen["x"] == 7.0).all(-1)
    assert torch.equal(sevens, tokens.keep)


def test_samples_do_not_depend_on_neighbours_and_do_on_the_seed(model):
    prompts = ["The cat"] * 3
    options = {"temperature": 1.0, "top_p": 0.95}
    together = model.generate(prompts, 8, seed=[5, 6, 5], **options)
    assert together[0] == together[2] != together[1]
    assert model.generate(["R", "The cat"], 8, seed=[1, 6], **options)[1] == together[1]
    by_place = model.generate(prompts, 8, seed=3, **options)
    assert len(set(by_place)) == 3
    assert model.generate([*prompts[:2], "Nora was proud of her kite"], 8, seed=3, **options)[:2] == by_place[:2]
    with pytest.raises(ValueError, match="3 prompts need as many seeds"):
        model.generate(prompts, 8, seed=[1, 2])
    streams = model.generate(prompts, 8, seed=["3/0", "3/2", "3/0"], **options)
    assert streams == [by_place[0], by_place[2], by_place[0]], "a stream can be named"


def test_whoever_listens_can_end_the_writing_at_any_token(model):
    whole, heard = model.generate(["The cat"], 8)[0], []
    assert model.generate(["The cat"], 8, told=heard.append) == [whole]
    ids = [fresh[0] for fresh in heard]
    assert model.tokenizer.decode(ids) == whole
    heard.clear()
    cut = model.generate(["The cat"], 8, told=lambda fresh: heard.append(fresh) or len(heard) == 3)
    assert cut == [model.tokenizer.decode(ids[:3])]


def test_stop_strings_and_kept_prompts(model):
    whole = model.generate(["The cat"], 12)[0]
    assert model.generate(["The cat"], 12, keep_prompt=True) == ["The cat" + whole]
    mark = whole[3:5]
    assert model.generate(["The cat"], 12, stop=mark) == [whole[: whole.index(mark)]]
    assert model.generate([], 5) == []


def test_too_long_is_said(model):
    with pytest.raises(ValueError, match="context of 64"):
        model.generate(["The cat"], 64)
    ids = torch.zeros(1, 65, dtype=torch.long)
    with pytest.raises(ValueError, match="context of 64"):
        model.logits(Tokens(ids, ids == 0))
    alike = ids.expand(8, -1)
    assert shared_prefix(Tokens(alike, alike == 0))
    with pytest.raises(ValueError, match=r"a text of 65 tokens is longer than .* context of 64"):
        model.log_probs(Tokens(alike, alike == 0))


def test_tokens_and_strings(llama, models):
    tokens = llama.tokenise([SENTENCES[0], "a<|end|>b", ""])
    assert tokens.lengths.tolist() == tokens.real.sum(1).tolist()
    assert not tokens.keep[:, 0].any()
    assert tokens.keep[1, :4].tolist() == [False, True, False, True]
    assert "".join(llama.strings(tokens.ids[0][tokens.keep[0]])) == SENTENCES[0]
    assert llama.tokenise([SENTENCES[0]], max_tokens=5).ids.shape == (1, 5)
    assert llama.tokenise([SENTENCES[0]], add_bos=False).keep.all()
    assert models["gpt2"].tokenise([SENTENCES[0]]).keep.all()
    assert tokens.take([2]).ids.shape == (1, 1)
    assert [part.ids.shape[0] for part in tokens.batches(2)] == [2, 1]
    with pytest.raises(ValueError, match="list of texts"):
        llama.tokenise("one string")


def test_a_prompt_without_tokens(models):
    with pytest.raises(ValueError, match="no token"):
        models["gpt2"].generate([""], 3)
    assert len(models["llama"].generate([""], 3)) == 1


def test_sequential_gpt_neox_and_olmo2_have_a_stream_between(tmp_path):
    import transformers

    from training.language_models.hugging_face import HuggingFaceModel

    sizes = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 50,
    }
    for config in (
        transformers.GPTNeoXConfig(**sizes, use_parallel_residual=False),
        transformers.Olmo2Config(**sizes, pad_token_id=None),
        transformers.Qwen3Config(**sizes, head_dim=8, num_key_value_heads=1),
        transformers.Gemma3TextConfig(**sizes, head_dim=8, num_key_value_heads=1, pad_token_id=None),
        transformers.MistralConfig(**sizes, num_key_value_heads=1),
        transformers.Glm4Config(**sizes, head_dim=8, num_key_value_heads=1, pad_token_id=None),
    ):
        model = HuggingFaceModel(transformers.AutoModelForCausalLM.from_config(config).eval())
        ids = torch.arange(12).view(1, -1)
        found = model.activations(Tokens(ids, ids >= 0), model.hook_names())
        pre, middle, post = (found[f"blocks.1.hook_resid_{name}"] for name in ("pre", "mid", "post"))
        torch.testing.assert_close(pre + found["blocks.1.hook_attn_out"], middle, msg=type(config).__name__)
        torch.testing.assert_close(middle + found["blocks.1.hook_mlp_out"], post, msg=type(config).__name__)
