"""A name, an address or a folder becomes a language model that is asked in words."""

from analysis.explaining.endpoint import is_endpoint, open_endpoint
from analysis.explaining.llm import LLM


def open_llm(source: str, key_variable: str | None = None, timeout: float = 60.0, device: str = "auto") -> LLM:
    """`openai/MODEL`, `http://host:port/v1/MODEL`, or a Hugging Face folder; ValueError for what is none of them."""
    if is_endpoint(source):
        return open_endpoint(source, key_variable, timeout)
    from analysis.explaining.local import open_local

    return open_local(source, device)
