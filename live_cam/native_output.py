"""Keeps what native libraries write to stderr off the user's screen."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


@contextmanager
def silenced_native_stderr() -> Iterator[None]:
    """While it lasts, file descriptor 2 leads nowhere.

    LiteRT and TensorFlow's converter greet, warn and dump on it, and have no switch against that. Python's
    ``sys.stderr`` is silent too while this lasts, unless it was given a descriptor of its own.
    """
    with _lock:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # No stderr at all, as in a service: nothing to silence.
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
