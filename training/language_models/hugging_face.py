"""Any causal language model of Hugging Face, read and edited by plain forward hooks under TransformerLens' hook names.

The model stays as it is (fused attention included). Its places are found by looking at how its blocks are built.
"""

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from saes.nearest import did_you_mean
from training.language_models import chat, generation, tokenising
from training.language_models.language_model import Hook, Tokens


@dataclass(frozen=True)
class Place:
    """Where in the tree of modules an activation passes."""

    module: nn.Module
    side: Literal["in", "out"]
    """Whether it is what the module is given or what it answers."""
    carrier: nn.Module | None = None
    """The block whose output must get an edit too, where the module only reads a copy of the residual stream."""


@dataclass(frozen=True)
class Call:
    """What a hook should know about the forward pass it is called in."""

    keep: Bool[Tensor, "text token"] | None = None
    """Where text is; None is everywhere."""
    offset: int | Int64[Tensor, " text"] = 0
    """The position of the first token."""
    pieces: Sequence[Int64[Tensor, "text token"]] = ()
    """The tokens of each text so far, call by call, the last being this one's; empty where they are not known."""

    def seen(self) -> Int64[Tensor, "text token"]:
        """The tokens so far in one piece."""
        if not self.pieces:
            raise ValueError(
                "which tokens stand here is not known: the model was called with embeddings, or with a cache of another run"
            )
        return torch.cat(list(self.pieces), dim=1)


@dataclass
class Underway:
    """What is going on in a model right now, whichever of our objects around it began it."""

    call: Call | None = None
    """The forward pass that hooks are called in."""
    own_call: bool = False
    """Whether that pass is one of ours, not one by the model's own generate()."""
    edits: int = 0
    """How many `hooked` are in force."""
    heard: list[Tensor] = field(default_factory=list)
    """The tokens of somebody else's calls so far."""
    n_heard: int = 0
    """How many those are a row; -1 where they were not told."""


class HuggingFaceModel:
    """A LanguageModel around a Hugging Face one, which is left as it was found."""

    def __init__(self, model: Any, tokenizer: Any = None, name: str = "", revision: str | None = None):
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or str(getattr(model.config, "_name_or_path", "")) or "unnamed"
        self.revision = revision
        text_config = model.config.get_text_config()
        self.n_layers: int = text_config.num_hidden_layers
        self.d_model: int = text_config.hidden_size
        self.context: int = _context(text_config, tokenizer)
        self.special = _special_ids(model, tokenizer)
        self.places = self._find_places()
        self._underway = Underway()  # one for this object and all that `reading` makes of it: they share the modules
        self._accepts = set(inspect.signature(model.forward).parameters)

    @property
    def device(self) -> torch.device:
        embeddings = self.model.get_input_embeddings()
        if embeddings.weight.device.type != "meta":
            return embeddings.weight.device
        # accelerate keeps offloaded weights elsewhere and brings them to this device for each call
        return torch.device(embeddings._hf_hook.execution_device)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    # ---- places

    def hook_names(self) -> list[str]:
        return list(self.places)

    def width(self, hook_name: str) -> int:
        place = self.place(hook_name)
        return _fan_in(place.module) if hook_name.endswith(".mlp.hook_post") else self.d_model

    def place(self, hook_name: str) -> Place:
        """Where ``hook_name`` is; ValueError that lists what would do."""
        if hook_name not in self.places:
            raise ValueError(unknown_hook_name(hook_name, list(self.places), self.n_layers, self.name))
        return self.places[hook_name]

    def _find_places(self) -> dict[str, Place]:
        return places_in(self.model)

    def weights_hash(self) -> str:
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def unembedding(self) -> Float[Tensor, "vocab d_model"]:
        return self.model.get_output_embeddings().weight.detach()

    # ---- text and tokens

    def tokenise(self, texts: Sequence[str], max_tokens: int | None = None, add_bos: bool | None = None) -> Tokens:
        limit = self.context if max_tokens is None else min(max_tokens, self.context)
        if self._read != "all":
            return chat.tokenise_turns(self._tokenizer(), texts, self._read, limit)
        return tokenising.tokenise(self._tokenizer(), texts, limit, add_bos)

    _read = "all"

    def reading(self, read: str) -> "HuggingFaceModel":
        chat.check_read(self._tokenizer(), read, self.name)
        view = copy.copy(self)
        view._read = read
        return view

    def strings(self, ids: Tensor | Sequence[int]) -> list[str]:
        return tokenising.strings(self._tokenizer(), ids)

    def _tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise ValueError(f"the model {self.name} was given without a tokenizer, so it can read tokens only")
        return self.tokenizer

    # ---- reading

    @torch.no_grad()
    def activations(self, tokens: Tokens, hook_names: Sequence[str]) -> dict[str, Float[Tensor, "text token d_in"]]:
        wanted = {name: self.place(name) for name in dict.fromkeys(hook_names)}
        if not wanted or not tokens.ids.numel():
            return {name: torch.empty(*tokens.ids.shape, self.d_model, device=self.device) for name in wanted}
        found: dict[str, Tensor] = {}

        def catch(name: str) -> Callable[[Tensor], Tensor]:
            def act(x: Tensor) -> Tensor:
                found[name] = x
                if len(found) == len(wanted):
                    raise _Enough
                return x

            return act

        with ExitStack() as stack:
            for name, place in wanted.items():
                stack.enter_context(_attached(Place(place.module, place.side), catch(name)))
            stack.enter_context(suppress(_Enough))
            self._forward(tokens)
        return {name: found[name] for name in wanted}

    @torch.no_grad()
    def logits(self, tokens: Tokens, hooks: Mapping[str, Hook] | None = None) -> Float[Tensor, "text token vocab"]:
        return self.differentiable_logits(tokens, hooks or {})

    def differentiable_logits(self, tokens: Tokens, hooks: Mapping[str, Hook]) -> Float[Tensor, "text token vocab"]:
        with self.hooked(hooks):
            return self._forward(tokens).logits

    @torch.no_grad()
    def log_probs(self, tokens: Tokens, hooks: Mapping[str, Hook] | None = None) -> Float[Tensor, "text token"]:
        self._check_length(tokens)
        tokens = tokens.to(self.device)
        plain = not hooks and not self._underway.edits and "past_key_values" in self._accepts
        if plain and (shared := shared_prefix(tokens)):
            return self._log_probs_after_shared(tokens, shared)
        logits = self.logits(tokens, hooks)[:, :-1]
        read = [_log_probs_of(row, ids) for row, ids in zip(logits, tokens.ids[:, 1:], strict=True)]
        after_first = torch.stack(read) if read else logits.new_zeros(0, 0)
        return F.pad(after_first, (1, 0)) * tokens.real

    def _log_probs_after_shared(self, tokens: Tokens, length: int) -> Float[Tensor, "text token"]:
        """The same where many texts begin alike: each different beginning of so many tokens is read once."""
        beginnings, which = tokens.ids[:, :length].unique(dim=0, return_inverse=True)
        with self._told(Call()):
            first = self.model(input_ids=beginnings, use_cache=True)
            first.past_key_values.reorder_cache(which)
            rest = self.model(input_ids=tokens.ids[:, length:], past_key_values=first.past_key_values, use_cache=True)
        begun = torch.stack(
            [_log_probs_of(row, ids) for row, ids in zip(first.logits[:, :-1], beginnings[:, 1:], strict=True)]
        )
        read = torch.stack([
            _log_probs_of(torch.cat([last, row]), ids)
            for last, row, ids in zip(first.logits[which, -1:], rest.logits[:, :-1], tokens.ids[:, length:], strict=True)
        ])  # fmt: skip
        return F.pad(torch.cat([begun[which], read], dim=1), (1, 0)) * tokens.real

    @torch.no_grad()
    def next_token_log_probs(
        self, prompts: Sequence[str] | Tokens, hooks: Mapping[str, Hook] | None = None
    ) -> Float[Tensor, "text vocab"]:
        ids, real = self._left_padded(self._rows(prompts))
        with self.hooked(hooks or {}):
            return self._reader(real, use_cache=False)(ids).float().log_softmax(-1)

    def _forward(self, tokens: Tokens) -> Any:
        """The model's whole answer. Padding on the right, where causal attention never looks, needs no mask."""
        self._check_length(tokens)
        tokens = tokens.to(self.device)
        with self._told(Call(None if bool(tokens.keep.all()) else tokens.keep, pieces=(tokens.ids,))):
            return self.model(input_ids=tokens.ids, use_cache=False)

    def _check_length(self, tokens: Tokens) -> None:
        if tokens.ids.shape[1] > self.context:
            raise ValueError(
                f"a text of {tokens.ids.shape[1]} tokens is longer than {self.name}'s context of {self.context}"
            )

    # ---- editing

    @contextmanager
    def hooked(self, hooks: Mapping[str, Hook]) -> Iterator["HuggingFaceModel"]:
        edits = {name: (self.place(name), self._guarded(name, hook)) for name, hook in hooks.items()}
        with ExitStack() as stack:
            if edits:  # the model may also be called past us, by its own generate()
                watch = self.model.register_forward_pre_hook(self._overhear, with_kwargs=True)
                stack.callback(watch.remove)
                self._underway.edits += 1
                stack.callback(self._unedited)
            for place, edit in edits.values():
                stack.enter_context(_attached(place, edit))
            yield self

    def _guarded(self, name: str, hook: Hook) -> Callable[[Tensor], Tensor]:
        """``hook`` with what it wants to know, and without whatever it does where no text is."""
        wants = _accepted(hook)

        def act(x: Tensor) -> Tensor:
            call = self._underway.call or Call()
            known = {"keep": call.keep, "offset": call.offset, "seen": call.seen}
            y = hook(x, **{key: known[key] for key in wants})
            if y is x or y is None:
                return x
            if y.shape != x.shape:
                raise ValueError(f"the hook at {name} made {list(y.shape)} of an activation of {list(x.shape)}")
            y = y.to(x.dtype)
            return y if call.keep is None else torch.where(call.keep[..., None], y, x)

        return act

    @contextmanager
    def _told(self, call: Call) -> Iterator[None]:
        now = self._underway
        before, now.call = now.call, call
        now.own_call = True
        try:
            yield
        finally:
            now.call, now.own_call = before, False

    def _unedited(self) -> None:
        self._underway.edits -= 1

    def _overhear(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Work out from the arguments of somebody else's call what its hooks should know."""
        now = self._underway
        if now.own_call:
            return
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is None:
            now.call, now.heard, now.n_heard = Call(), [], -1
            return
        past, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
        before = 0 if past is None else int(past.get_seq_length())
        if not before or now.n_heard != before:  # a new text, or one whose beginning was not heard
            now.heard, now.n_heard = [], 0
        if now.n_heard == before:
            now.heard.append(ids)
            now.n_heard += ids.shape[1]
        keep, offset = self._text(ids), before
        if mask is not None and mask.dim() == 2 and mask.shape[1] == before + ids.shape[1] and not bool(mask.all()):
            here = mask[:, before:].bool()
            keep = here if keep is None else keep & here
            offset = before - (mask.cumsum(1) == 0).sum(1)
        now.call = Call(None if keep is None or bool(keep.all()) else keep, offset, now.heard)

    def _text(self, ids: Int64[Tensor, "text token"]) -> Bool[Tensor, "text token"] | None:
        """Where no special token is; None where there is none at all, as at nearly every step of writing."""
        special = torch.isin(ids, self.special.to(ids.device))
        return ~special if bool(special.any()) else None

    # ---- writing

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str] | Tokens,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | Sequence[int] | Sequence[str] = 0,
        hooks: Mapping[str, Hook] | None = None,
        keep_prompt: bool = False,
        stop: str | Sequence[str] | None = None,
        told: generation.Told | None = None,
    ) -> list[str]:
        tokenizer, rows = self._tokenizer(), self._rows(prompts)
        if temperature < 0 or not 0 < top_p <= 1:
            raise ValueError(
                f"temperature must not be negative and top_p lies in (0, 1]: got {temperature} and {top_p}"
            )
        longest = max((len(row) for row in rows), default=0)
        if longest + max_new_tokens > self.context:
            raise ValueError(
                f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit into {self.name}'s context of "
                f"{self.context}"
            )
        if not rows:
            return []
        stops = [stop] if isinstance(stop, str) else list(stop or [])
        reach = max((len(text) for text in stops), default=0) + 4  # a token holds a character at least, but for bytes

        def stopped(row: int, written: list[int]) -> bool:
            tail = tokenizer.decode(written[-reach:])
            return any(text in tail for text in stops)

        ids, real = self._left_padded(rows)
        with self.hooked(hooks or {}):
            written = generation.write(
                self._reader(real),
                ids,
                max_new_tokens,
                temperature,
                top_p,
                _seeds(seed, len(rows)),
                self._ends(),
                stopped if stops else None,
                told,
            )
        texts = [tokenising.continuation(tokenizer, row, new) for row, new in zip(rows, written, strict=True)]
        texts = [
            text[: min((place for place in map(text.find, stops) if place >= 0), default=len(text))] for text in texts
        ]
        if not keep_prompt:
            return texts
        given = (
            [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
            if isinstance(prompts, Tokens)
            else prompts
        )
        return [prompt + text for prompt, text in zip(given, texts, strict=True)]

    def _rows(self, prompts: Sequence[str] | Tokens) -> list[list[int]]:
        """The prompts' ids, each begun as the tokenizer begins a text."""
        if not isinstance(prompts, Tokens):
            limit = 2**62  # a prompt is never cut in silence: generate() and the forward pass refuse one too long
            prompts = tokenising.tokenise(self._tokenizer(), prompts, limit)
            if prompts.lengths is not None and bool((prompts.lengths == 0).any()):
                raise ValueError(
                    "a prompt holds no token: this model's tokenizer adds none by itself, so write something"
                )
        return [ids[real].tolist() for ids, real in zip(prompts.ids, prompts.real, strict=True)]

    def _left_padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        if not rows:
            return torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, 0, dtype=torch.bool)
        fill = tokenising.filler(self.tokenizer) if self.tokenizer is not None else 0
        ids, real = generation.left_padded(rows, fill)
        return ids.to(self.device), real.to(self.device)

    def _reader(self, real: Bool[Tensor, "row token"], use_cache: bool = True) -> generation.Forward:
        """Reads the prompts, which are ``real`` there, and then one more token a row with each call."""
        special = self.special.to(self.device)
        padded = not bool(real.all())
        lengths, width = real.sum(1), real.shape[1]
        past: Any = None
        mask = real
        pieces: list[Tensor] = []

        def forward(step: Int64[Tensor, "row token"]) -> Float[Tensor, "row vocab"]:
            nonlocal past, mask, lengths
            pieces.append(step)
            if past is None:
                positions = (real.cumsum(1) - 1).clamp(min=0)
                offset = lengths - width if padded else 0
            else:
                mask = F.pad(mask, (0, 1), value=True)
                positions = lengths[:, None]
                offset = lengths if padded else mask.shape[1] - 1
                lengths = lengths + 1
            keep = mask[:, -step.shape[1] :] & ~torch.isin(step, special)
            options: dict[str, Any] = {"use_cache": use_cache, "past_key_values": past, "position_ids": positions}
            options["attention_mask"] = mask.long() if padded else None
            options["logits_to_keep"] = 1
            options = {
                name: value for name, value in options.items() if name in self._accepts or "kwargs" in self._accepts
            }
            with self._told(Call(None if bool(keep.all()) else keep, offset, pieces)):
                answer = self.model(input_ids=step, **options)
            past = answer.past_key_values
            return answer.logits[:, -1]

        return forward

    def _ends(self) -> Tensor:
        """The tokens that close a text."""
        told = getattr(self.model.generation_config, "eos_token_id", None)
        listed = told if isinstance(told, list) else [told]
        ids = {*listed, getattr(self.tokenizer, "eos_token_id", None)} - {None}
        return torch.tensor(sorted(ids), dtype=torch.long)


class _Enough(Exception):
    """Everything wanted has been seen: the rest of the forward pass would be for nothing."""


# ---- opening


def open_hugging_face(
    name: str,
    folder: str | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
) -> HuggingFaceModel:
    """The model called ``name`` (in ``folder``, where it is not a hub name), with its tokenizer, ready to be read."""
    model, tokenizer = load(folder or name, device, dtype, revision)
    return HuggingFaceModel(model, tokenizer, name, revision)


def load(source: str, device: str, dtype: torch.dtype, revision: str | None, **options: Any) -> tuple[Any, Any]:
    """Hugging Face's own model and tokenizer objects."""
    transformers = _transformers()
    from safetensors import SafetensorError

    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, revision=revision)
        model = transformers.AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=dtype, **options)
    except SafetensorError as error:
        raise ValueError(f"the weights of {source} are truncated or corrupted: {error}") from error
    except (OSError, ValueError) as error:
        raise _not_a_model(source, error) from error
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()
    return model.to(device).eval().requires_grad_(False), tokenizer


def hook_names_of(source: str, revision: str | None = None) -> tuple[list[str], int]:
    """The places of the model at ``source`` and how many blocks it has, from its config alone: no weights are read."""
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(source, revision=revision)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise _not_a_model(source, error) from error
    return list(places_in(model)), config.get_text_config().num_hidden_layers


def _not_a_model(source: str, error: Exception) -> ValueError:
    first_line = str(error).strip().split("\n")[0]
    return ValueError(f"{source} cannot be opened as a Hugging Face language model: {first_line}")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError("transformers is not installed: pip install 'transformers>=5.17'") from error
    return transformers


# ---- the tree of modules


def places_in(model: nn.Module) -> dict[str, Place]:
    """Every place of every block, by its hook names."""
    places: dict[str, Place] = {}
    for layer, block in enumerate(blocks_of(model)):
        for name, place in places_in_block(block, model).items():
            places[f"blocks.{layer}.{name}"] = place
    return places


def blocks_of(model: Any) -> nn.ModuleList:
    """The blocks of the language model, wherever its family keeps them."""
    n_layers = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        elsewhere = "vision" in path or "audio" in path or "encoder" in path.split(".")
        if elsewhere or not isinstance(module, nn.ModuleList) or len(module) != n_layers:
            continue
        if any(_part(block, "attention") is not None for block in module):
            return module
    raise ValueError(f"{type(model).__name__} holds no list of {n_layers} blocks with attention: it cannot be hooked")


def places_in_block(block: nn.Module, model: Any) -> dict[str, Place]:
    """The places of one block: fewer where attention and MLP run side by side, or where a part is not found."""
    attention, mlp = _part(block, "attention"), _part(block, "mlp")
    after_attention, before_mlp, after_mlp = _norms(block, mlp)
    places = {"hook_resid_pre": Place(block, "in")}
    if before_mlp is not None and not _parallel(block, model.config):
        places["hook_resid_mid"] = Place(before_mlp, "in", carrier=block)
    places["hook_resid_post"] = Place(block, "out")
    if attention is not None:  # as in TransformerLens, the norm after a part is counted into what the part wrote
        places["hook_attn_out"] = Place(after_attention or attention, "out")
    if mlp is not None:
        places["hook_mlp_out"] = Place(after_mlp or mlp, "out")
    places |= {"hook_in": Place(block, "in"), "hook_out": Place(block, "out")}
    if attention is not None:
        places["attn.hook_out"] = Place(attention, "out")
    if mlp is not None:
        places["mlp.hook_in"] = Place(mlp, "in")
        if (writer := _writer(mlp)) is not None:
            places["mlp.hook_post"] = Place(writer, "in")
        places["mlp.hook_out"] = Place(mlp, "out")
    return places


def _part(block: nn.Module, kind: Literal["attention", "mlp"]) -> nn.Module | None:
    names = {"attention": ("self_attn", "attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn", "block_sparse_moe")}
    marks = {"attention": ("attention",), "mlp": ("mlp", "moe", "feedforward")}
    for name, child in block.named_children():
        described = type(child).__name__.lower()
        if "norm" not in described and (name in names[kind] or any(mark in described for mark in marks[kind])):
            return child
    return None


def _writer(mlp: nn.Module) -> nn.Module | None:
    """The linear map of an MLP that writes what its neurons say; None for a mixture of experts."""
    names = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "w2", "wo")
    return next((child for name, child in mlp.named_children() if name in names and hasattr(child, "weight")), None)


def _fan_in(linear: nn.Module) -> int:
    """How many numbers it reads: GPT-2's Conv1D keeps its weight the other way round."""
    width: Any = getattr(linear, "in_features", None)
    weight: Any = linear.weight
    return int(weight.shape[0] if width is None else width)


def _norms(block: nn.Module, mlp: nn.Module | None) -> tuple[nn.Module | None, nn.Module | None, nn.Module | None]:
    """The norms after attention, before the MLP and after the MLP, as far as there are such.

    Families share names for different things, so what a norm is depends on which others stand beside it.
    """
    children = dict(block.named_children())
    if "post_self_attn_layernorm" in children:  # GLM-4
        return tuple(
            children.get(name)
            for name in ("post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm")
        )  # type: ignore[return-value]
    if "post_feedforward_layernorm" in children:  # Gemma from 2 on; OLMo from 2 on has no norm before the MLP
        before = children.get("pre_feedforward_layernorm", mlp)
        return children.get("post_attention_layernorm"), before, children["post_feedforward_layernorm"]
    norms = [child for child in children.values() if "norm" in type(child).__name__.lower()]
    return None, norms[1] if len(norms) > 1 else None, None


def _parallel(block: nn.Module, config: Any) -> bool:
    """Whether attention and MLP read the same stream, so that there is none between them."""
    marks = ("use_parallel_residual", "parallel_attn", "new_decoder_architecture")
    return any(getattr(holder, mark, False) is True for holder in (block, config) for mark in marks)


@contextmanager
def _attached(place: Place, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Keeps ``edit`` at ``place``; where it returns the very tensor it was given, nothing at all is changed."""
    moved: list[Tensor] = []

    def noting(x: Tensor) -> Tensor:
        moved.clear()  # of a pass that was broken off
        y = edit(x)
        if y is not x and place.carrier is not None:
            moved.append(y - x)
        return y

    def on_input(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        y = noting(x)
        if y is x:
            return None
        return ((y, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": y})

    def on_output(module: nn.Module, args: tuple, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        y = noting(x)
        if y is x:
            return None
        return (y, *output[1:]) if isinstance(output, tuple) else y

    def carry(module: nn.Module, args: tuple, output: Any) -> Any:
        if not moved:
            return None
        change = moved.pop()
        return (output[0] + change, *output[1:]) if isinstance(output, tuple) else output + change

    with ExitStack() as stack:
        if place.side == "in":
            handle = place.module.register_forward_pre_hook(on_input, with_kwargs=True)
        else:
            handle = place.module.register_forward_hook(on_output)
        stack.callback(handle.remove)
        if place.carrier is not None:  # before whoever reads the block's output
            stack.callback(place.carrier.register_forward_hook(carry, prepend=True).remove)
        yield


# ---- small questions


def shared_prefix(tokens: Tokens, least: int = 8) -> int:
    """How many first tokens are worth reading once for all texts that share them; 0 where that would save little.

    At most a fourth as many different beginnings as texts; shorter than every text, so that none of it is padding.
    """
    most = len(tokens.ids) // 4
    if not most:
        return 0
    length = min(int(tokens.real.sum(dim=1).min()), tokens.ids.shape[1]) - 1
    if length < least:
        return 0
    ordered = tokens.ids[:, :length].unique(dim=0)  # sorted: what begins alike stands together
    alike = (ordered[1:] == ordered[:-1]).cumprod(dim=1).sum(dim=1).sort().values
    if len(alike) >= most:  # a beginning more for each pair of neighbours that differ within the length
        length = int(alike[most - 1])
    return length if length >= least else 0


def _log_probs_of(logits: Float[Tensor, "token vocab"], ids: Int64[Tensor, " token"]) -> Float[Tensor, " token"]:
    return -F.cross_entropy(logits.float(), ids, reduction="none")


def unknown_hook_name(hook_name: str, known: list[str], n_layers: int, model: str) -> str:
    """One line: what was wrong and what would do."""
    last = n_layers - 1
    ends = dict.fromkeys(name.split(".", 2)[2] for name in known)
    return (
        f"{model} has no place {hook_name!r}; it has blocks.0 to blocks.{last}, each with {', '.join(ends)} "
        f"(for example blocks.{last // 2}.hook_resid_post){did_you_mean(hook_name, known)}"
    )


def _accepted(hook: Hook) -> set[str]:
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):  # some builtins do not say
        return set()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return {"keep", "offset", "seen"}
    return {"keep", "offset", "seen"} & {parameter.name for parameter in parameters}


def _context(config: Any, tokenizer: Any) -> int:
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(getattr(config, name, None), int):
            return getattr(config, name)
    told = getattr(tokenizer, "model_max_length", 2048)
    return int(told) if told < 10**9 else 2048


def _special_ids(model: Any, tokenizer: Any) -> Int64[Tensor, " special"]:
    if tokenizer is not None:
        return tokenising.special_ids(tokenizer)
    config = model.generation_config
    told = [getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")]
    flat = [token for one in told for token in (one if isinstance(one, list) else [one]) if token is not None]
    return torch.tensor(sorted(set(flat)), dtype=torch.long)


def _seeds(seed: int | Sequence[int] | Sequence[str], rows: int) -> list[str]:
    if isinstance(seed, int):
        return [f"{seed}/{row}" for row in range(rows)]
    if len(seed) != rows:
        raise ValueError(f"{rows} prompts need as many seeds, or one, got {len(seed)}")
    return [one if isinstance(one, str) else f"{one}/" for one in seed]
