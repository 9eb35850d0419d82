"""The frozen settings of one training run."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any, Literal

from saes.autoencoder import SAEConfig
from saes.kernels.step import StepSettings
from saes.nearest import did_you_mean
from saes.plain_file import plain, read_plain
from training.activations.places import Places
from training.language_models.opening import Through

Wandb = Literal["off", "online", "offline"]
BufferDtype = Literal["float32", "bfloat16"]
Reading = Literal["shared", "own"]
ReadAhead = Literal["auto", "off", "text", "activations"]

GRID_FIELDS = (
    "sparsity", "d_sae", "k", "seed", "lr", "warmup", "decay", "kernels", "l1_coefficient", "l0_coefficient", "bandwidth",
    "auxk_coefficient", "dead_after_rows", "clip_norm", "prefixes", "penalty", "tanh_scale", "target_l0", "p_end",
    "resample_every", "skip",
)  # fmt: skip
"""What may differ between the SAEs of a sweep: all else decides which rows come when, and that they share."""


@dataclass(frozen=True)
class TrainSpec:
    """All that decides what `train` makes. A flag of `saes train` is the name of a field here."""

    model: str = "storyteller"
    """Hub name or folder of the language model, or the name of one under checkpoints."""
    hook_name: str = "blocks.2.hook_resid_post"
    """Where its activations are read."""
    target_hook_name: str | None = None
    """For a transcoder: the place that it writes, from what it reads at hook_name."""
    skip: bool = False
    """Whether a transcoder also passes its input on by a dense matrix."""
    crosscoder_sites: tuple[str, ...] = ()
    """For a crosscoder: the places whose activations it reads and writes together; hook_name then plays no part."""
    corpus: str = "storyworld:1"
    """What it reads: a folder, a file, storyworld:SEED or a data set's name. The bundled model has read storyworld:0."""
    out: str = ""
    """The folder to make; empty is a name made of model, hook name and SAE, under ./checkpoints."""
    sites: tuple[str, ...] = ()
    """Hook names, where SAEs are to be trained at several over one reading of the text; empty is hook_name alone."""
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Fields of the SAE with several values each, {d_sae: [1024, 4096], k: [16, 32]}: an SAE of every combination."""
    activations: str = ""
    """A folder that `saes harvest` made: train from the activations in it, and leave the language model alone."""

    sparsity: str = "topk"
    """topk, batch_topk, jump_relu, relu or gated."""
    d_sae: int = 4096
    """Number of latents."""
    k: int = 32
    """Latents that fire a token: at most (topk) or on average (batch_topk)."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka (topk, batch_topk): ascending widths at which the first latents alone have to reconstruct as well."""
    tokens: int = 2_000_000
    """How many activations to train on, one a token; repeated ones count again."""
    kl_finetune_tokens: int = 0
    """Activations to learn from after that, with the SAE inside the model, on what it does to the model's answers."""
    repeats: int = 1
    """How often each activation is learned from, at different times: reading it costs a forward pass."""
    lasting_share: float = 0.0
    """The share of activations that give way to the mean of their neighbours in the text, so that what lasts is learned."""
    lasting_window: int = 16
    """Tokens in such a mean."""
    seed: int = 0

    lr: float | None = None
    """Adam's learning rate at its highest; None is 2e-4 / sqrt(d_sae / 2^14), the scaling law of arXiv:2406.04093."""
    warmup: float = 0.02
    """The share of steps over which the learning rate rises."""
    decay: float = 0.2
    """The share of steps at the end over which it falls to zero."""
    batch_rows: int = 2048
    """Activations in a step."""
    buffer_rows: int = 65536
    """Activations in the shuffle buffer."""
    buffer_dtype: BufferDtype = "float32"
    """What they are stored as there; bfloat16 takes half the memory."""
    shuffle_seed: int | None = None
    """Decides the order of the activations; None is seed. A sweep over seeds writes its own into its members' specs."""
    aligned_with: tuple[str, ...] = ()
    """Hook names whose attention sinks are left out, too. A sweep over sites writes them into its members' specs, which
    all learn from the same tokens."""
    kernels: str = "auto"
    """Which kernel computes the step: auto, reference, cpu, native or gpu."""
    latent_ranks: int = 1
    """Of torchrun's processes, how many share one copy of the dictionary: each owns a part of the latents. The others
    share out the rows."""
    reading: Reading = "shared"
    """How several processes read: shared, where all of them see all activations, and make what one would make; or own,
    where each reads, shuffles and learns from a share of its own, and no activation is sent for it. An own run goes on with
    the number of processes that began it."""

    penalty: str | None = None
    """What keeps the code sparse: l1, tanh or p_anneal (relu, gated), l0, tanh or target_l0 (jump_relu); None is the
    first of them."""
    l1_coefficient: float = 5.0
    """Weight of the penalty on values (relu) or on open gates (gated)."""
    l0_coefficient: float = 1.0
    """Weight of jump_relu's penalty."""
    tanh_scale: float = 4.0
    """Of the tanh penalty: values well above 1 / tanh_scale cost the same."""
    target_l0: float | None = None
    """Of the target_l0 penalty: how many latents are to fire a token."""
    p_end: float = 0.2
    """Of the p_anneal penalty: its power at the end of the run; at the start it is 1."""
    bandwidth: float = 0.05
    """Width around a jump_relu's threshold in which the threshold learns."""
    auxk_coefficient: float = 1 / 32
    """Weight of the rescue of dead latents (topk, batch_topk); 0 switches it off."""
    resample_every: int | None = None
    """Steps between two times at which dead latents start anew at badly explained activations; None never does."""
    dead_after_rows: int = 1_000_000
    """A latent that fired in none of this many activations counts as dead."""
    clip_norm: float | None = None
    """The gradient, all parameters together, is made no longer than this; None leaves it as it is."""

    corpus_split: str | None = None
    """The split of a data set."""
    corpus_column: str = "text"
    """The field that holds the text, in a data set or .jsonl."""
    context: int | None = None
    """Tokens in a window; None is as many as the model can read, at most 512."""
    window_batch: int = 32
    """Windows that the language model reads together."""
    scale_batches: int = 8
    """Batches of windows from which the scale of the activations is measured."""
    held_out_tokens: int = 32_768
    """Tokens of held-out text on which the quality is measured at the end."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N, for the language model and the SAE."""
    dtype: str = "float32"
    """What the language model computes in; the SAE is float32."""
    through: Through = "hugging_face"
    """Which package runs the language model."""
    revision: str | None = None
    """Of the language model, on the hub."""

    journal_every: int = 20
    """Steps between two lines of the journal."""
    save_seconds: float = 300.0
    """Seconds between two savings of the run's state."""
    keep_states: int = 2
    """Saved states that are kept, so that a damaged one does not end the run."""
    read_ahead: ReadAhead = "auto"
    """What a thread prepares while an SAE learns: text (tokens), activations (the language model's pass, too) or off."""
    spike_factor: float = 10.0
    """A loss, or a length of the weights, so many times its running median stops the run; 0 lets it go on."""
    wandb: Wandb = "off"
    """Whether the journal also goes to Weights & Biases."""
    wandb_project: str = "emotion-saes"

    def __post_init__(self) -> None:
        at_least_one = (
            "tokens",
            "repeats",
            "lasting_window",
            "batch_rows",
            "window_batch",
            "scale_batches",
            "held_out_tokens",
            "journal_every",
            "latent_ranks",
            "keep_states",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kl_finetune_tokens < 0:
            raise ValueError(f"kl_finetune_tokens must be at least 0, got {self.kl_finetune_tokens}")
        if self.target_hook_name in self.places.read:
            raise ValueError(
                f"target_hook_name is hook_name, {self.hook_name}: to write what is read is an SAE; leave it out"
            )
        if self.tokens < self.batch_rows:
            raise ValueError(f"tokens ({self.tokens}) must be at least one batch ({self.batch_rows} batch_rows)")
        if self.buffer_rows < 2 * self.batch_rows:
            raise ValueError(
                f"buffer_rows must be at least twice batch_rows ({self.batch_rows}), got {self.buffer_rows}"
            )
        if self.d_sae % self.latent_ranks:
            raise ValueError(f"latent_ranks must divide d_sae ({self.d_sae}), got {self.latent_ranks}")
        if not 0 <= self.lasting_share <= 1:
            raise ValueError(f"lasting_share lies between 0 and 1, got {self.lasting_share}")
        if not (0 <= self.warmup <= 1 and 0 <= self.decay <= 1):
            raise ValueError("warmup and decay are shares of the steps, between 0 and 1")
        if self.spike_factor != 0 and not self.spike_factor > 1:
            raise ValueError(f"spike_factor must be above 1, or 0 to let every spike pass, got {self.spike_factor}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.sites and (self.target_hook_name or self.crosscoder_sites):
            raise ValueError("sites goes with SAEs of one place each, not with target_hook_name or crosscoder_sites")
        self.sae_config(width=lambda hook_name: 1)
        self.step_settings()
        if not self.is_sweep:
            self._refuse_what_does_not_fit()
        for name, values in self.grid.items():
            if name not in GRID_FIELDS:
                meant = did_you_mean(name, GRID_FIELDS)
                raise ValueError(f"grid cannot vary {name!r}; it can vary {', '.join(GRID_FIELDS)}{meant}")
            if not values or len(set(values)) < len(values):
                raise ValueError(f"grid needs values for {name}, each once, got {list(values)}")
        if len(set(self.sites)) < len(self.sites):
            raise ValueError(f"sites names a place twice: {', '.join(self.sites)}")
        self.members()  # each has to be possible

    def _refuse_what_does_not_fit(self) -> None:
        """A field that would have no effect, as it is set, is a mistake of whoever set it."""
        penalty = self.step_settings().penalty_of(self.sparsity)
        fits = {
            "tanh_scale": (penalty == "tanh", "penalty tanh"),
            "target_l0": (penalty == "target_l0", "sparsity jump_relu and penalty target_l0"),
            "p_end": (penalty == "p_anneal", "penalty p_anneal"),
            "skip": (self.target_hook_name is not None, "target_hook_name"),
            "hook_name": (not self.crosscoder_sites, "SAEs of one site, not with crosscoder_sites"),
        }
        for one in fields(self):
            does, home = fits.get(one.name, (True, ""))
            if not does and getattr(self, one.name) != one.default:
                raise ValueError(f"{one.name} goes with {home}, and has no effect on this {self.sparsity} SAE")

    @property
    def is_sweep(self) -> bool:
        return bool(self.sites or self.grid)

    def members(self) -> list["TrainSpec"]:
        """The specs of the single runs that this one stands for, each with a folder of its own; just this, for most."""
        if not self.is_sweep:
            return [self]
        found = []
        for site, values in product(self.sites or (self.hook_name,), product(*self.grid.values())):
            changes = dict(zip(self.grid, values, strict=True))
            words = [site] * bool(self.sites) + [f"{name}-{value}" for name, value in changes.items()]
            if "seed" in changes:
                changes["shuffle_seed"] = self.order_seed
            if len(self.sites) > 1:
                changes["aligned_with"] = self.hook_names
            out = str(self.folder / "-".join(words))
            alone: dict[str, Any] = {"hook_name": site, "sites": (), "grid": {}, "out": out}
            found.append(dataclasses.replace(self, **alone, **changes))
        return found

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Every place that has to be read, in order, none twice."""
        return tuple(dict.fromkeys((*(self.sites or self.places.every), *self.aligned_with)))

    @property
    def places(self) -> Places:
        """What the SAE reads, and what it writes (of a sweep over sites, each member has its own)."""
        read = self.crosscoder_sites or (self.hook_name,)
        return Places(read, read if self.target_hook_name is None else (self.target_hook_name,))

    @property
    def order_seed(self) -> int:
        """What decides the order of the activations."""
        return self.seed if self.shuffle_seed is None else self.shuffle_seed

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_rows

    @property
    def peak_lr(self) -> float:
        return self.lr if self.lr is not None else 2e-4 / (self.d_sae / 2**14) ** 0.5

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        if self.out:
            return Path(self.out)
        k = f"-k{self.k}" if self.sparsity in ("topk", "batch_topk") else ""
        model = self.model.rstrip("/").split("/")[-1]
        if self.is_sweep:
            return Path("checkpoints") / f"{model}-sweep-seed{self.seed}"
        return Path("checkpoints") / f"{model}-{self.places}-{self.sparsity}-{self.d_sae}{k}-seed{self.seed}"

    def sae_config(self, width: Callable[[str], int]) -> SAEConfig:
        """The SAE's shape, given how wide the activations are at each place."""
        transcoder = self.target_hook_name is not None
        return SAEConfig(
            d_in=sum(width(name) for name in self.places.read),
            d_sae=self.d_sae,
            sparsity=self.sparsity,
            k=self.k,
            apply_b_dec_to_input=not transcoder,
            prefixes=self.prefixes,
            d_out=width(self.places.written[0]) if transcoder else None,
            skip=self.skip and transcoder,
            sites=tuple((name, width(name)) for name in self.crosscoder_sites),
        )

    def step_settings(self) -> StepSettings:
        own = {one.name for one in fields(self)}
        shared = [one.name for one in fields(StepSettings) if one.name in own]
        return StepSettings(total_steps=self.steps, **{name: getattr(self, name) for name in shared})

    # ---- from and to what people write

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "TrainSpec":
        """A spec with these fields, and the defaults for the rest."""
        return cls().with_fields(**settings)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "TrainSpec":
        """A spec from a YAML file (or a run's spec.json) that holds some of the fields."""
        settings = read_plain(path)
        if not isinstance(settings, dict):
            raise ValueError(f"{path} does not hold fields with values, for example: d_sae: 4096")
        return cls.from_settings(settings)

    def with_fields(self, **changes: Any) -> "TrainSpec":
        """This spec with some fields changed; a value that YAML read as another type becomes the field's own."""
        known = {field.name for field in fields(self)}
        for name in changes:
            if name not in known:
                meant = did_you_mean(name, known)
                raise ValueError(f"a spec has no field {name!r}{meant or '; it has ' + ', '.join(sorted(known))}")
        return dataclasses.replace(self, **{name: _fitting(name, value) for name, value in changes.items()})

    def with_settings(self, settings: Iterable[str]) -> "TrainSpec":
        """This spec with some fields changed, each written as "field=value"."""
        changes = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise ValueError(f"{setting!r} is not of the form field=value")
            changes[name.strip().replace("-", "_")] = plain(value, setting)
        return self.with_fields(**changes)

    def to_json(self) -> str:
        """All fields, as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def _fitting(name: str, value: Any) -> Any:
    """``value`` as the type that the field has; to YAML 2e6 is a float, and 1 is none."""
    kind = _types()[name]
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is Literal:
        return _chosen(name, value, typing.get_args(kind))
    if value is None and type(None) in allowed:
        return None
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(one, inner) and not isinstance(one, bool) for one in values):
            what = "names" if inner is str else "whole numbers"
            raise ValueError(f"{name} must be a list of {what}, got {value!r}")
        return values
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict) or not all(isinstance(values, list | tuple) for values in value.values()):
            raise ValueError(
                f"{name} must be fields with lists of values, {{d_sae: [1024, 4096]}} for example, got {value!r}"
            )
        unknown = [field for field in value if field not in GRID_FIELDS]
        return {
            field: tuple(values if unknown else (_fitting(field, one) for one in values))
            for field, values in value.items()
        }
    if isinstance(value, float) and str in allowed:  # 1e3, as a text, would become 1000.0
        raise ValueError(f"{name} must be a text, got the number {value!r}: put it in quotes")
    try:
        if bool in allowed:
            if not isinstance(value, bool):
                raise ValueError
            return value
        if int in allowed and not isinstance(value, bool):
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value)) if not isinstance(value, int) else value
        if float in allowed and not isinstance(value, bool):
            return float(value)
        if str in allowed and isinstance(value, str | int | Path) and not isinstance(value, bool):
            return str(value)
        raise ValueError
    except (TypeError, ValueError, OverflowError):
        wanted = " or ".join("nothing" if one is type(None) else one.__name__ for one in allowed)
        raise ValueError(f"{name} must be {wanted}, got {value!r}") from None


def _chosen(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if name == "wandb" and value is False:  # YAML's off
        value = "off"
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def _types() -> dict[str, Any]:
    return typing.get_type_hints(TrainSpec)
