"""In a chat the tokens of one role are read, whatever the template puts around them."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from commands.label import READS as OFFERED
from training.language_models.chat import PROMPT, READS, check_read, tokenise_turns
from training.language_models.opening import open_model

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
COLONS = (
    "{% for m in messages %}{{ 'Human' if m['role'] == 'user' else 'Assistant' }}: {{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "brackets": BRACKETS, "colons": COLONS}
TEXTS = ["Nora was proud of her kite.", "x y z", "Rain, rain", " the user said: assistant  ", "y"]


def tokenizer_of(template):
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|end|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["the rain fell on Nora", "user assistant Human Assistant said proud kite"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<|end|>", eos_token="<|end|>", pad_token="<|end|>",
        additional_special_tokens=special[1:],
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


def read_and_whole(tokenizer, tokens, row):
    ids = tokens.ids[row][tokens.real[row]]
    return tokenizer.decode(tokens.ids[row][tokens.keep[row]]), tokenizer.decode(ids)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("read", ["user", "assistant"])
def test_the_text_itself_is_read_and_nothing_else(template, read):
    tokenizer = tokenizer_of(TEMPLATES[template])
    tokens = tokenise_turns(tokenizer, TEXTS, read, 200)
    messages = [{"role": "user", "content": PROMPT}] if read == "assistant" else []
    for row, text in enumerate(TEXTS):
        own, whole = read_and_whole(tokenizer, tokens, row)
        assert own.strip() == text.strip()
        told = [*messages, {"role": read, "content": text.strip()}]
        assert whole == tokenizer.apply_chat_template(told, tokenize=False)


@pytest.mark.parametrize(("template", "last"), [("chatml", "\n"), ("brackets", "]"), ("colons", ":")])
def test_before_the_reply_one_token_is_read(template, last):
    tokenizer = tokenizer_of(TEMPLATES[template])
    tokens = tokenise_turns(tokenizer, TEXTS, "before_reply", 200)
    assert tokens.keep.sum(dim=1).tolist() == [1] * len(TEXTS)
    for row, text in enumerate(TEXTS):
        own, whole = read_and_whole(tokenizer, tokens, row)
        assert own == last
        assert text.strip() in whole
        assert whole.endswith(last)


def test_what_is_cut_is_not_read_and_what_must_be_read_is_not_cut():
    tokenizer = tokenizer_of(COLONS)
    whole = tokenise_turns(tokenizer, TEXTS[:1], "user", 200)
    start = int(whole.keep[0].nonzero()[0])
    cut = tokenise_turns(tokenizer, TEXTS[:1], "user", start + 3)
    assert int(cut.keep.sum()) == 3
    assert torch.equal(cut.ids[0], whole.ids[0, : start + 3])
    with pytest.raises(ValueError, match=f"text 0 has no user token among the first {start}"):
        tokenise_turns(tokenizer, TEXTS[:1], "user", start)
    with pytest.raises(ValueError, match="not the last one, which stands before the reply"):
        tokenise_turns(tokenizer, TEXTS[:1], "before_reply", 12)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "rewrites texts .'NORA WAS"),
        ("{{ raise_exception('roles must alternate') }}", "cannot be applied to user texts: roles must alternate"),
    ],
)
def test_templates_that_cannot_be_followed(template, said):
    with pytest.raises(ValueError, match=said):
        tokenise_turns(tokenizer_of(template), TEXTS[:1], "user", 99)


def test_an_empty_text_is_no_turn():
    with pytest.raises(ValueError, match="an empty text"):
        tokenise_turns(tokenizer_of(CHATML), [" "], "user", 99)


def test_without_a_template_only_all_can_be_read(model_folders):
    model = open_model(model_folders["llama"], device="cpu")
    with pytest.raises(ValueError, match=r"is no chat model \(its tokenizer has no chat template\)"):
        model.reading("assistant")
    with pytest.raises(ValueError, match="unknown read 'system': it is one of all, user"):
        model.reading("system")
    assert torch.equal(model.reading("all").tokenise(TEXTS[:1]).ids, model.tokenise(TEXTS[:1]).ids)
    assert OFFERED == READS
    check_read(None, "all", "any")


def test_an_edit_is_under_way_for_whoever_reads_the_model(model_folders):
    model = open_model(model_folders["llama"], device="cpu")
    view = model.reading("all")
    tokens = model.tokenise([f"The cat sat on the mat and {rest}" for rest in ("ran", "slept", "fell", "sang")])
    rows = set()
    note = {"blocks.1.hook_resid_post": lambda x: rows.add(len(x)) or x}
    for one, other in ((model, view), (view, model)):
        with one.hooked(note):
            other.log_probs(tokens)
    assert rows == {4}, "no pass over one beginning that all share, of which an edit of each row knows nothing"


@pytest.mark.parametrize("turned", [False, True])
def test_hooks_are_told_of_a_pass_that_another_reading_began(model_folders, turned):
    pair = (model := open_model(model_folders["llama"], device="cpu")), model.reading("all")
    one, other = reversed(pair) if turned else pair
    tokens = model.tokenise(["The cat sat", "The cat sat on the mat and looked"])
    tokens = tokens._replace(
        keep=tokens.keep & (torch.arange(tokens.ids.shape[1]) > 1)
    )  # as a reading of one role does
    told = []

    def listen(x, *, keep=None):
        told.append(keep)
        return x

    with one.hooked({"blocks.1.hook_resid_post": listen}):
        other.logits(tokens)
    assert torch.equal(told[0], tokens.keep)


def test_a_model_reads_its_chat_and_stays_as_it_was(model_folders, tmp_path):
    import shutil

    folder = tmp_path / "chat"
    shutil.copytree(model_folders["llama"], folder)
    tokenizer_of(CHATML).save_pretrained(folder)
    model = open_model(folder, device="cpu")
    chatty = model.reading("before_reply")
    texts = ["the rain fell"]
    tokens = chatty.tokenise(texts)
    assert int(tokens.keep.sum()) == 1
    assert tokens.ids.shape[1] > model.tokenise(texts).ids.shape[1]
    assert bool(model.tokenise(texts).keep.any(dim=1).all())
    seen = chatty.activations(tokens, ["blocks.1.hook_resid_post"])["blocks.1.hook_resid_post"][tokens.keep]
    ids = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": texts[0]}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    truth = model.model(input_ids=ids, output_hidden_states=True).hidden_states[2][0, -1]
    torch.testing.assert_close(seen[0], truth, rtol=1e-4, atol=1e-5)
