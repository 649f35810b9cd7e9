"""Keeps what native libraries write to stderr off the user's screen."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_active_count = 0
_kept_descriptor: int | None = None


@contextmanager
def silenced_native_stderr() -> Iterator[None]:
    """While it lasts, in any thread, file descriptor 2 leads nowhere.

    LiteRT, TensorFlow and its converter, Qt and image decoders greet, warn and dump on it, and have no switch against
    that. Python's ``sys.stderr`` is silent too while this lasts, unless it was given a descriptor of its own.
    """
    global _active_count
    with _lock:
        _active_count += 1
        if _active_count == 1:
            _redirect()
    try:
        yield
    finally:
        with _lock:
            _active_count -= 1
            if _active_count == 0:
                _restore()


def _redirect() -> None:
    global _kept_descriptor
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        _kept_descriptor = os.dup(2)
    except OSError:  # No stderr at all, as in a service: nothing to silence.
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _restore() -> None:
    global _kept_descriptor
    if _kept_descriptor is not None:
        os.dup2(_kept_descriptor, 2)
        os.close(_kept_descriptor)
        _kept_descriptor = None
