"""Work that runs ahead in a thread of its own, a few items at most."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

WAIT = 0.1
"""Seconds between two looks at whether anybody still wants what the thread makes."""


def read_ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """The same items in the same order, of which a thread has made up to ``depth`` before they are asked for.

    An error comes out where its item would have. Whoever stops early closes the generator, which ends the thread; what
    it had made and nobody took is lost, so a place in the stream is counted where items come out, never where they go in.
    """
    made: queue.Queue[tuple[bool, object]] = queue.Queue(depth)
    enough = threading.Event()

    def put(goes_on: bool, item: object) -> bool:
        while not enough.is_set():
            try:
                made.put((goes_on, item), timeout=WAIT)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(True, item):
                    return
            put(False, None)
        except BaseException as error:  # it belongs to whoever reads
            put(False, error)

    thread = threading.Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            goes_on, item = made.get()
            if goes_on:
                yield item  # type: ignore[misc]
            elif item is None:
                return
            else:
                assert isinstance(item, BaseException)
                raise item
    finally:
        enough.set()
        thread.join()
