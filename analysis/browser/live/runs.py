"""The texts that were written last, so that one of them can be kept in the study."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime

from analysis.records import BenchRun
from analysis.study import Study

REMEMBERED = 64


class Runs:
    """Used by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[str, BenchRun] = OrderedDict()

    def remember(self, run: BenchRun) -> str:
        """The number under which it can be saved, as long as not too many others have come."""
        number = secrets.token_hex(6)
        with self._lock:
            self._last[number] = replace(run, run=number, created=datetime.now(UTC).isoformat(timespec="seconds"))
            while len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
        return number

    def save(self, study: Study, number: str) -> BenchRun:
        """Adds it to the study's table `bench`, once. KeyError where it is not remembered; PermissionError, OSError."""
        with self._lock:
            run = self._last[number]
            kept = study.read("bench", BenchRun)
            if all(one.run != number for one in kept):
                study.write("bench", [*kept, run])
            return run
