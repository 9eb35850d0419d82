"""Tiny random-weight language models of five families, saved to disk as any local model would be; a run of seconds."""

import pytest
import torch

FAMILIES = ("llama", "gpt2", "gpt_neox", "gemma2", "qwen2")
END = "<|end|>"
SENTENCES = [
    "The cat sat on the mat and looked at the rain.",
    "Nora was proud of her kite, so she flew it high.",
    "Where did you go? said Tom, and he laughed.",
    "Rain fell all night on the old red barn.",
]


def make_tokenizer(bos):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator(SENTENCES, trainer)
    if bos:
        end_id = raw.token_to_id(END)
        raw.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, end_id)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=END, eos_token=END, pad_token=END)


def make_model(family):
    import transformers

    common = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    rope = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    match family:
        case "llama":
            config = transformers.LlamaConfig(**common, **rope, num_key_value_heads=2)
        case "qwen2":
            config = transformers.Qwen2Config(**common, **rope, num_key_value_heads=2)
        case "gemma2":
            config = transformers.Gemma2Config(**common, **rope, num_key_value_heads=2, head_dim=8, sliding_window=16)
        case "gpt_neox":
            config = transformers.GPTNeoXConfig(**common, **rope, use_parallel_residual=True)
        case "gpt2":
            config = transformers.GPT2Config(
                **common, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.3
            )
    torch.manual_seed(hash_of(family))
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:  # biases and norms start at 0 or 1, where a mix-up would not show
                weight.add_(0.1 * torch.randn(weight.shape))
    return model


def hash_of(family):
    return FAMILIES.index(family) + 1


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory):
    """Folder of each family; all but gpt2 begin texts with their end token, as the bundled model does."""
    root = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        make_model(family).save_pretrained(root / family)
        make_tokenizer(bos=family != "gpt2").save_pretrained(root / family)
    return {family: root / family for family in FAMILIES}


@pytest.fixture(scope="session")
def models(model_folders):
    from training.language_models.opening import open_model

    return {family: open_model(folder, device="cpu") for family, folder in model_folders.items()}


@pytest.fixture(scope="session")
def llama(models):
    return models["llama"]


@pytest.fixture
def corpus(tmp_path):
    words = ["The cat sat on the mat.", "Nora was proud.", "Rain fell on the barn.", "Tom laughed and ran away."]
    lines = "\n<|endoftext|>\n".join(f"{words[n % 4]} {words[(n * 7 + 3) % 4]} Then {n}." for n in range(200))
    path = tmp_path / "corpus.txt"
    path.write_text(lines)
    return path


@pytest.fixture
def spec(model_folders, corpus, tmp_path):
    from training.spec import TrainSpec

    site = "blocks.1.hook_resid_post"
    return TrainSpec(
        model=str(model_folders["llama"]), hook_name=site, corpus=str(corpus), d_sae=64, k=4,
        tokens=64 * 30, batch_rows=64, buffer_rows=256, window_batch=4, context=32, scale_batches=2,
        held_out_tokens=256, lr=3e-3, journal_every=5, dead_after_rows=512, out=str(tmp_path / "out"), device="cpu",
    )  # fmt: skip
