"""A language model whose every effect is known: words are tokens, and chosen coordinates raise chosen words."""

from inspect import signature

import numpy as np
import torch

from training.language_models.language_model import Tokens

HOOK = "blocks.0.hook_resid_post"
CONCEPTS = [f"mood{letter}" for letter in "abcdefgh"]
WORDS = {concept: [f"{concept}{number}" for number in range(6)] for concept in CONCEPTS}
FILLER = [f"thing{number}" for number in range(40)]
VOCABULARY = [word for words in WORDS.values() for word in words] + FILLER
D_IN = 160
UNKNOWN = len(VOCABULARY) - 1
"""Read where a word is none of its vocabulary."""
BYSTANDERS = 48
NUMBER = {word: number for number, word in enumerate(VOCABULARY)}


class WordModel:
    """Words are tokens. Coordinate c of the stream raises the words of concept c; those from `BYSTANDERS` on raise two
    words each that belong to no concept, so that random pushes show as well; the others raise nothing.

    `flood`: coordinates that raise the words of every concept at once, as an unspecific latent would.
    """

    name, context, n_layers, d_model = "words", 64, 1, D_IN

    def __init__(self, flood=()):
        self.raised = torch.zeros(D_IN, len(VOCABULARY))
        for place in range(len(CONCEPTS)):
            self.raised[place, place * 6 : place * 6 + 6] = 1.0
        for place in flood:
            self.raised[place, : len(CONCEPTS) * 6] = 1.0
        for place in range(BYSTANDERS, D_IN):
            self.raised[place, [NUMBER[FILLER[4 + (7 * place + step) % (len(FILLER) - 4)]] for step in (0, 11)]] = 1.0
        generator = torch.Generator().manual_seed(1)
        self.embedding = 0.3 * torch.randn(len(VOCABULARY), D_IN, generator=generator).clamp(-1.5, 1.5)
        self.device = torch.device("cpu")

    def hook_names(self):
        return [HOOK]

    def width(self, hook_name):
        return D_IN

    def tokenise(self, texts, max_tokens=None, add_bos=None):
        rows = [[NUMBER.get(word, UNKNOWN) for word in text.split()] for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        return Tokens(ids, torch.arange(ids.shape[1]) < lengths[:, None], lengths)

    def unembedding(self):
        return self.raised.T

    def strings(self, ids):
        return [f" {VOCABULARY[int(token)]}" for token in ids]

    def activations(self, tokens, hook_names):
        return dict.fromkeys(hook_names, self.embedding[tokens.ids])

    def logits(self, tokens, hooks=None):
        x = self.embedding[tokens.ids]
        for hook in (hooks or {}).values():
            x = hook(x, keep=tokens.keep) if "keep" in signature(hook).parameters else hook(x)
        return x @ self.raised

    def differentiable_logits(self, tokens, hooks):
        return self.logits(tokens, hooks)

    def log_probs(self, tokens, hooks=None):
        after = self.logits(tokens, hooks)[:, :-1].log_softmax(-1).gather(-1, tokens.ids[:, 1:, None]).squeeze(-1)
        return torch.nn.functional.pad(after, (1, 0)) * tokens.real

    def generate(self, prompts, max_new_tokens, temperature, top_p, seed, hooks=None, stop=None):
        draws = np.stack([np.random.default_rng(one).random(max_new_tokens) for one in seed])
        last = torch.tensor([NUMBER[prompt.split()[-1]] for prompt in prompts])
        written = []
        for place in range(max_new_tokens):
            here = Tokens(last[:, None], torch.ones(len(prompts), 1, dtype=torch.bool))
            chance = (self.logits(here, hooks)[:, -1] / temperature).softmax(-1).cumsum(-1)
            last = (chance < torch.tensor(draws[:, place, None])).sum(-1).clamp(max=len(VOCABULARY) - 1)
            written.append(last)
        return ["".join(self.strings(row)) for row in torch.stack(written, dim=1)]
