"""Both texts are those that each would be alone; levels are those of the text; letters come whole."""

from copy import copy, deepcopy
from dataclasses import replace

import pytest
import torch

from analysis.browser.live.asked import Asked, Limits
from analysis.browser.live.bench import Pieces, write
from analysis.browser.live.engine import Cancelled
from analysis.latent_units import statistics_of
from analysis.monitoring.levels import Levels, Read
from saes.intervention import Edit, Intervention
from training.language_models.language_model import Tokens


def written(subject, asked):
    events = []
    found = write(
        subject, lambda kind, data: events.append((kind, data)), asked, statistics_of(subject.study), Limits()
    )
    return found, events


def row(events, number):
    texts = []
    for kind, data in events:
        if kind == "again":
            texts = []
        if kind == "new" and data["text"][number] is not None:
            texts.append(data["text"][number])
    return texts


@pytest.mark.parametrize("positions", ["all", "prompt", "generated"])
@pytest.mark.parametrize("seed", [0, 5])
def test_both_texts_are_what_each_would_be_alone(subject, positions, seed):
    asked = Asked(
        "Nora was", clamp=["afraid=+3", "5:add=4raw"], positions=positions, temperature=1.0, seed=seed, tokens=20
    )
    found, events = written(subject, asked)
    clamp = Intervention((Edit((3,), 6.0), Edit((5,), 4.0, "add")), positions)
    options = {"temperature": 1.0, "top_p": 0.95, "seed": seed}
    hooks = {subject.hook_name: clamp.hook(subject.dictionary)}
    assert found["baseline"] == subject.model.generate(["Nora was"], 20, **options)[0]
    assert found["clamped"] == subject.model.generate(["Nora was"], 20, hooks=hooks, **options)[0]
    assert found["baseline"] != found["clamped"]
    for number, name in enumerate(("baseline", "clamped")):  # half a letter at the end is not told
        told = "".join(row(events, number))
        assert found[name].startswith(told)
        assert set(found[name][len(told) :]) <= {"\ufffd"}


def test_without_a_clamp_both_are_the_same(subject):
    found, _ = written(subject, Asked("Nora was", tokens=12))
    assert found["baseline"] == found["clamped"]
    assert found["tokens"] == [12, 12]


def test_levels_are_those_that_reading_the_text_gives(subject):
    model, site = subject.model, subject.hook_name
    x = model.activations(model.tokenise(["Nora was"]), [site])[site]
    latents = subject.dictionary.encode(x)[0, 1:].sum(0).topk(3).indices.tolist()
    asked = Asked("Nora was", clamp=[f"{latent}:add=4raw" for latent in latents], temperature=0, tokens=10)
    _, events = written(subject, asked)
    (concepts,) = [data["concepts"] for kind, data in events if kind == "concepts"]
    assert concepts == ["afraid", *(f"latent {latent}" for latent in latents)], "what held, and what is clamped"
    prompt = next(data["levels"] for kind, data in events if kind == "prompt")
    clamp = Intervention(tuple(Edit((latent,), 4.0, "add") for latent in latents))
    for number, hooks in enumerate(({}, {site: clamp.hook(subject.dictionary)})):
        ids = list(subject.prompt_ids(asked))
        model.generate(["Nora was"], 10, hooks=hooks, told=lambda fresh, ids=ids: ids.extend(fresh))
        tokens = Tokens(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
        known = [Read("afraid", (3,), (2.0,)), *(Read(str(latent), (latent,), (1.0,)) for latent in latents)]
        levels = Levels(subject.dictionary, known)(model.activations(tokens, [site])[site])[0]
        told = torch.zeros_like(levels)
        for at, some in enumerate([*prompt, *(data["levels"][number] for kind, data in events if kind == "read")]):
            for label, level in some.items():
                told[at, label] = level
        levels[0] = 0  # the token that begins a text says nothing
        assert int((levels > 0).sum()) > 3
        torch.testing.assert_close(told, levels, atol=2e-3, rtol=0)


def test_the_last_token_is_read_where_the_context_has_room(subject):
    fits, events = written(subject, Asked("Nora was", tokens=20))
    assert sum(kind == "read" for kind, _ in events) == 20
    length = len(subject.prompt_ids(Asked("Nora was")))
    full, events = written(subject, Asked("Nora was", tokens=subject.model.context - length))
    assert max(full["tokens"]) <= subject.model.context - length
    assert full["baseline"].startswith(fits["baseline"])
    with pytest.raises(ValueError, match="do not fit"):
        written(subject, Asked("Nora was", tokens=subject.model.context - length + 1))


def test_nobody_listening_ends_it_within_a_token(subject):
    steps = []

    def emit(kind, data):
        if kind == "new":
            steps.append(data["step"])
        if len(steps) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        write(subject, emit, Asked("Nora was", clamp=["afraid=1"], tokens=50), statistics_of(subject.study), Limits())
    assert max(steps) <= 3
    assert not subject.model._underway.edits, "no hook is left behind"


@pytest.mark.parametrize(
    ("asked", "said"),
    [(Asked("x", clamp=["64=1"]), "no latent 64"), (Asked("x " * 200), "do not fit"), (Asked(turn=["user: hi"]), "no chat model")],
)  # fmt: skip
def test_what_the_model_cannot_do_is_said(subject, asked, said):
    with pytest.raises(ValueError, match=said):
        written(subject, asked)


def test_letters_of_several_tokens_come_whole(subject):
    tokenizer = subject.model.tokenizer
    prompt = tokenizer("Nora")["input_ids"]
    ids = tokenizer(" été 猫 🦊 end", add_special_tokens=False)["input_ids"]
    pieces = Pieces(tokenizer, prompt)
    found = [pieces.add(token) for token in ids]
    assert "".join(found) == " été 猫 🦊 end"
    assert not any("\ufffd" in piece for piece in found)
    assert "" in found, "some tokens are half a letter"


def test_a_chat_is_answered_in_the_model_s_own_template(subject):
    model = copy(subject.model)
    model.tokenizer = deepcopy(model.tokenizer)
    model.tokenizer.chat_template = (
        "<|end|>{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    asked = Asked(turn=["user: Where is Nora?"], clamp=["afraid=+3"], temperature=0, tokens=8)
    found, events = written(replace(subject, model=model), asked)
    alone = subject.model.tokenise(["user: Where is Nora?\nassistant: "])  # begun once, not twice
    assert found["baseline"] == model.generate(alone, 8)[0]
    hooks = {subject.hook_name: Intervention((Edit((3,), 6.0),)).hook(subject.dictionary)}
    assert found["clamped"] == model.generate(alone, 8, hooks=hooks)[0]
    prompt = next(data["text"] for kind, data in events if kind == "prompt")
    assert "".join(prompt) == "user: Where is Nora?\nassistant: "
