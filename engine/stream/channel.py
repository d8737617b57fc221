"""A bounded hand-over between two threads that anybody may break, so that no stage waits for one that has failed."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Holds at most ``capacity`` items. The first of :meth:`close` and :meth:`fail` decides how it ends."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Hand on ``item``; waits while the channel is full. Raises the error that broke the channel."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._error is not None:
                raise self._error
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T | None:
        """The next item; None when the channel was closed and is empty. Raises the error that broke it, at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            if self._error is not None:
                raise self._error
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def check(self) -> None:
        """Raise the error that broke the channel, if one did. Takes no lock: it is set once."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Nothing more comes; what is inside may still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Break the channel: what is inside is dropped, both sides get ``error``. Does nothing once it has ended."""
        with self._changed:
            if not self._closed:
                self._error = error
                self._items.clear()
            self._closed = True
            self._changed.notify_all()
