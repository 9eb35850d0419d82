"""The full address of an activation: model, revision, numerics and hook name, printed and parsed as one string."""

import re
from dataclasses import dataclass

_PRINTED = re.compile(r"(?P<model>[^@?]+)/(?P<hook_name>[^/@?]+)(@(?P<revision>[^?]+))?(\?(?P<numerics>[^?]+))?")


UNKNOWN = "unknown"
"""The model or hook name of a dictionary that does not say its own."""


@dataclass(frozen=True)
class Site:
    """Where activations were read: two sites are the same place exactly when they are equal.

    Prints as ``gpt2/blocks.6.hook_resid_post``, with ``@revision`` and ``?numerics`` behind it where they are not the
    default. ``@``, ``?`` and ``%`` inside a model's path are percent-escaped, so that every site can be parsed back.
    """

    model: str
    """Hub name or folder of the language model."""
    hook_name: str
    """TransformerLens' name of the place in the model, ``blocks.6.hook_resid_post``."""
    revision: str | None = None
    """Hub revision; None is the model's default one."""
    numerics: str = "float32"
    """The dtype in which the model ran."""

    def __post_init__(self):
        if not self.model:
            raise ValueError("a site needs a model: a hub name or a folder")
        if not self.hook_name or set(self.hook_name) & set("/@?"):
            raise ValueError(f"{self.hook_name!r} is not a hook name; one looks like blocks.6.hook_resid_post")
        if self.revision is not None and (not self.revision or "?" in self.revision):
            raise ValueError(f"{self.revision!r} is not a revision: give a branch, a tag or a commit, or None")
        if not self.numerics or "?" in self.numerics:
            raise ValueError(f"{self.numerics!r} are not numerics; they are a dtype's name, for example float32")

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        numerics = "" if self.numerics == "float32" else f"?{self.numerics}"
        return f"{_escaped(self.model)}/{self.hook_name}{revision}{numerics}"

    @classmethod
    def parse(cls, text: str) -> "Site":
        """The site that prints as ``text``."""
        match = _PRINTED.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a site; one looks like gpt2/blocks.6.hook_resid_post")
        found = match.groupdict()
        return cls(_unescaped(found["model"]), found["hook_name"], found["revision"], found["numerics"] or "float32")


def _escaped(model: str) -> str:
    return model.replace("%", "%25").replace("@", "%40").replace("?", "%3F")


def _unescaped(model: str) -> str:
    return model.replace("%3F", "?").replace("%40", "@").replace("%25", "%")
