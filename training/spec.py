"""The frozen settings of one training run."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from saes.autoencoder import SAEConfig
from saes.kernels.step import StepSettings
from saes.nearest import did_you_mean
from training.activations.side_by_side import Places
from training.language_models.opening import Through

Wandb = Literal["off", "online", "offline"]


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
    repeats: int = 1
    """How often each activation is learned from, at different times: reading it costs a forward pass."""
    kl_finetune_tokens: int = 0
    """Activations to learn from after that, with the SAE inside the model, on what it does to the model's answers."""
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
    kernels: str = "auto"
    """Which kernel computes the step: auto, reference or cpu."""

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
    wandb: Wandb = "off"
    """Whether the journal also goes to Weights & Biases."""
    wandb_project: str = "emotion-saes"

    def __post_init__(self) -> None:
        at_least_one = (
            "tokens",
            "repeats",
            "batch_rows",
            "window_batch",
            "scale_batches",
            "held_out_tokens",
            "journal_every",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kl_finetune_tokens < 0:
            raise ValueError(f"kl_finetune_tokens must be at least 0, got {self.kl_finetune_tokens}")
        if self.tokens < self.batch_rows:
            raise ValueError(f"tokens ({self.tokens}) must be at least one batch ({self.batch_rows} batch_rows)")
        if self.buffer_rows < 2 * self.batch_rows:
            raise ValueError(
                f"buffer_rows must be at least twice batch_rows ({self.batch_rows}), got {self.buffer_rows}"
            )
        if not (0 <= self.warmup <= 1 and 0 <= self.decay <= 1):
            raise ValueError("warmup and decay are shares of the steps, between 0 and 1")
        if self.target_hook_name in self.places.read:
            raise ValueError(
                f"target_hook_name is hook_name, {self.hook_name}: to write what is read is an SAE; leave it out"
            )
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        self.sae_config(width=lambda hook_name: 1)
        self._refuse_what_does_not_fit(self.step_settings().penalty_of(self.sparsity))

    def _refuse_what_does_not_fit(self, penalty: str | None) -> None:
        """A field that would have no effect, as it is set, is a mistake of whoever set it."""
        fits = {
            "tanh_scale": (penalty == "tanh", "penalty tanh"),
            "target_l0": (penalty == "target_l0", "sparsity jump_relu and penalty target_l0"),
            "p_end": (penalty == "p_anneal", "penalty p_anneal"),
            "skip": (self.target_hook_name is not None, "target_hook_name"),
            "hook_name": (not self.crosscoder_sites, "SAEs of one site, not with crosscoder_sites"),
        }
        for field in fields(self):
            does, home = fits.get(field.name, (True, ""))
            if not does and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} goes with {home}, and has no effect on this {self.sparsity} SAE")

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
        return Path("checkpoints") / f"{model}-{self.places}-{self.sparsity}-{self.d_sae}{k}-seed{self.seed}"

    @property
    def places(self) -> Places:
        """Where activations are read, and where they are written."""
        read = self.crosscoder_sites or (self.hook_name,)
        return Places(read, read if self.target_hook_name is None else (self.target_hook_name,))

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
        own = {field.name for field in fields(self)}
        shared = [field.name for field in fields(StepSettings) if field.name in own]
        return StepSettings(total_steps=self.steps, **{name: getattr(self, name) for name in shared})

    # ---- from and to what people write

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "TrainSpec":
        """A spec with these fields, and the defaults for the rest."""
        return cls().with_fields(**settings)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "TrainSpec":
        """A spec from a YAML file (or a run's spec.json) that holds some of the fields."""
        import yaml

        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no spec {path}")
        try:
            settings = yaml.safe_load(Path(path).read_text())
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
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
        import yaml

        changes = {}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise ValueError(f"{setting!r} is not of the form field=value")
            changes[name.strip().replace("-", "_")] = yaml.safe_load(value)
        return self.with_fields(**changes)

    def to_json(self) -> str:
        """All fields, as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def _fitting(name: str, value: Any) -> Any:
    """``value`` as the type that the field has; YAML calls 2e6 a string and 1 no float."""
    kind = _types()[name]
    if typing.get_origin(kind) is tuple:
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return tuple(_as(name, one, typing.get_args(kind)[0]) for one in values)
    return _as(name, value, kind)


def _as(name: str, value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typing.get_origin(kind) is Literal:
        return _chosen(name, value, typing.get_args(kind))
    if value is None and type(None) in allowed:
        return None
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
        if str in allowed and isinstance(value, str | int | float | Path) and not isinstance(value, bool):
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
