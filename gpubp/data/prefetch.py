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
        self._work = _Work(source, threading.Semaphore(depth))
        self._thread = threading.Thread(target=self._work.run, name="gpubp prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        if self._work.closed:
            raise StopIteration
        item, error = self._work.made.get()
        self._work.room.release()
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
        self._work.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        while not self._work.made.empty():
            self._work.made.get()

    def __del__(self) -> None:
        self._work.close()  # whoever read it has gone


class _Work:
    """What the thread shares with the reader; it must not hold on to the reader."""

    def __init__(self, source: Iterator[Any], room: threading.Semaphore) -> None:
        self.source, self.room, self.closed = source, room, False
        self.made: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def close(self) -> None:
        self.closed = True
        self.room.release()

    def run(self) -> None:
        try:
            while True:
                self.room.acquire()
                if self.closed:
                    return
                # not kept in a variable: it would live on while the next is made
                self.made.put((next(self.source), None))
        except StopIteration:
            self.made.put((_END, None))
        except BaseException as error:  # goes to the reader, whatever it is
            self.made.put((None, error))
        finally:
            close = getattr(self.source, "close", None)
            if close is not None:
                close()
