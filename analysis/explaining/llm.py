"""What a language model that writes or scores explanations can do, and how its asking can fail. Loads no torch."""

from typing import Protocol

Messages = tuple[tuple[str, str], ...]
"""(role, text) in order; a role is "system", "user" or "assistant"."""


class LLM(Protocol):
    """A language model that is asked in words."""

    name: str
    """Goes into tables and into the hash of a request: which model, where. Never a key."""
    parallel: bool
    """Whether several threads may ask at once."""

    def ask(self, messages: Messages, max_tokens: int) -> str:
        """The likeliest answer. Raises Hitch for what may go better in a while, ValueError for what will not."""
        ...


class Hitch(Exception):
    """A request failed in a way that may pass: a full queue, a server's own error, a timeout, a broken connection."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait
        """Seconds that the server asked to wait; None where it did not say."""
