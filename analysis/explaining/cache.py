"""Answers on disk, by the hash of what was asked: a run that is done again asks nothing twice."""

import hashlib
import json
import threading
from pathlib import Path

from analysis.explaining.llm import LLM, Messages


def request_hash(llm: LLM, messages: Messages, max_tokens: int) -> str:
    """SHA-256 of everything that makes the answer: the model's name and the words."""
    return hashlib.sha256(json.dumps([llm.name, max_tokens, messages]).encode()).hexdigest()


class AnswerCache:
    """One JSON object a line, appended as answers come; a line that a kill cut short counts as not there."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._answers: dict[str, str] = {}
        raw = self.path.read_bytes() if self.path.exists() else b""
        for line in raw.split(b"\n"):
            try:
                row = json.loads(line)
                self._answers[row["request"]] = row["answer"]
            except (ValueError, LookupError, TypeError):
                continue
        self._whole = not raw or raw.endswith(b"\n")

    def get(self, request: str) -> str | None:
        return self._answers.get(request)

    def put(self, request: str, answer: str) -> None:
        line = json.dumps({"request": request, "answer": answer}).encode() + b"\n"
        with self._lock, self.path.open("ab") as file:
            file.write(line if self._whole else b"\n" + line)
            self._whole, self._answers[request] = True, answer
