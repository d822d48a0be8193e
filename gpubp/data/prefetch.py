"""An iterator that a thread runs ahead of its reader."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END = object()


class Prefetcher(Generic[T]):
    """What an iterator gives, made by a thread before it is asked for.

    Up to `depth` items are made ahead of the one in use. An exception of the iterator is raised
    where it is read.

    Parameters
    ----------
    source : iterator
        Is closed when it ends or `close` is called, if it is a generator.
    depth : int
        1 or more.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._source = source
        self._made: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="gpubp prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        if self._closed:
            raise StopIteration
        item, error = self._made.get()
        self._room.release()
        if error is not None:
            self.close()
            raise error
        if item is _END:
            self.close()
            raise StopIteration
        value: T = item
        return value

    def close(self) -> None:
        """Stop the thread and forget what waits."""
        self._closed = True
        self._room.release()
        self._thread.join()
        while not self._made.empty():
            self._made.get()

    def _run(self) -> None:
        try:
            while True:
                self._room.acquire()
                if self._closed:
                    return
                # not kept in a variable: it would live on while the next is made
                self._made.put((next(self._source), None))
        except StopIteration:
            self._made.put((_END, None))
        except BaseException as error:  # goes to the reader, whatever it is
            self._made.put((None, error))
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
