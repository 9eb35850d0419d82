"""A lean Llama: the same sums and the same weight names as Hugging Face's LlamaForCausalLM, without its overhead.

Used only to train small models (`pretrain.py`); a trained one is saved as a Hugging Face folder and from then on opened
like any other. A test holds that both give the same logits.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

NOTHING = -100
"""What comes after a window's last token."""


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a model; the head is tied to the embedding."""

    vocab_size: int = 4096
    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    d_mlp: int = 704
    context: int = 256
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def hugging_face(self) -> dict:
        """The same shape as the fields of a Hugging Face LlamaConfig."""
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": self.d_model,
            "intermediate_size": self.d_mlp,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_heads,
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
            "hidden_act": "silu",
        }


class Attention(nn.Module):
    def __init__(self, shape: LlamaShape):
        super().__init__()
        d = shape.d_model
        self.n_heads = shape.n_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(d, d, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        window, token, d = x.shape
        q, k, v = (
            proj(x).view(window, token, self.n_heads, d // self.n_heads).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(window, token, d))


class MLP(nn.Module):
    def __init__(self, shape: LlamaShape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.d_model, shape.d_mlp, bias=False)
        self.up_proj = nn.Linear(shape.d_model, shape.d_mlp, bias=False)
        self.down_proj = nn.Linear(shape.d_mlp, shape.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: LlamaShape):
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), MLP(shape)
        self.input_layernorm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, shape: LlamaShape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.d_model)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)


class Llama(nn.Module):
    """`forward(tokens) -> logits`; `loss(tokens)` is the mean next-token cross-entropy in nats."""

    def __init__(self, shape: LlamaShape):
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        cos, sin = rotary_tables(shape)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # GPT-2's rule: sums over 2n residual branches
                weight.data /= (2 * shape.n_layers) ** 0.5

    def forward(self, tokens: Int[Tensor, "window token"]) -> Float[Tensor, "window token vocab"]:
        x = self.model.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for block in self.model.layers:
            x = block(x, cos, sin)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)

    def loss(self, tokens: Int[Tensor, "window token"]) -> Float[Tensor, ""]:
        logits = self(tokens)  # of the last token, too: windows of a round length are worth more than what it costs
        after = F.pad(tokens[:, 1:], (0, 1), value=NOTHING)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), after.reshape(-1), ignore_index=NOTHING)


def rotary_tables(shape: LlamaShape) -> tuple[Tensor, Tensor]:
    """cos and sin `[token, d_head]` of rotary position embedding (Su et al. 2021), in Llama's half-and-half order."""
    d_head = shape.d_model // shape.n_heads
    frequency = shape.rope_theta ** (-torch.arange(0, d_head, 2).float() / d_head)
    angle = torch.outer(torch.arange(shape.context).float(), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-right, left), dim=-1) * sin.to(x.dtype)
