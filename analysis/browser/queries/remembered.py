"""What is made of a store once for each state of it."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from analysis.browser.queries.store import Store

Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """`make` of a store, made anew where `state` of it is another than last time; one thread makes it, others wait."""

    def __init__(self, make: Callable[[Store], Made], state: Callable[[Store], Hashable]):
        self._make, self._state = make, state
        self._known: WeakKeyDictionary[Store, tuple[Hashable, Made]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, store: Store) -> Made:
        state = self._state(store)
        with self._lock:
            found = self._known.get(store)
            if found is None or found[0] != state:
                found = self._known[store] = state, self._make(store)
        return found[1]
