"""Keeps native libraries from writing to the user's stderr; livecam's own lines reach it."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import warnings
from typing import TextIO

# Packages of Debian and its relatives with the libraries that OpenCV's wheels need and minimal images leave out.
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
}
_MISSING_LIBRARY = re.compile(r"(lib\S+\.so\S*): cannot open shared object file")
_TENSORFLOW_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def take_over_stderr() -> TextIO:
    """Sends what native libraries write to stderr nowhere, for the rest of the process.

    TensorFlow, LiteRT, Qt, ffmpeg's encoders and image decoders print greetings and warnings there and have no switch
    against it. A user who sets TF_CPP_MIN_LOG_LEVEL wants to see these lines and sees them all.

    Returns:
        The stderr that the user sees; ``sys.stderr`` is the same.
    """
    wants_log = os.environ.setdefault(_TENSORFLOW_LOG_LEVEL, "3") != "3"
    try:
        encoding = sys.stderr.encoding or "utf-8"
        visible = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=encoding, errors="replace", buffering=1)
    except (OSError, AttributeError, io.UnsupportedOperation):  # none at all, as in a service, or a stream in memory
        return sys.stderr or io.StringIO()
    if not wants_log:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
    sys.stderr = visible
    return visible


def missing_library_line(error: ImportError) -> str | None:
    """Returns what to install if a system library is missing; None if the import failed for another reason."""
    match = _MISSING_LIBRARY.search(str(error))
    if match is None:
        return None
    library = match[1]
    if library not in _PACKAGES:
        return f"the system library {library} is missing; install the package of your system that contains it"
    return f"the system library {library} is missing; install it: apt-get install {_PACKAGES[library]}"
