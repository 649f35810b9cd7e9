"""The way an error reaches the user, whatever else goes on in the process."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TextIO

# Of Debian and its kin; what OpenCV's wheels look for and minimal images leave out.
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}
_MISSING_LIBRARY = re.compile(r"(lib\S+\.so\S*): cannot open shared object file")


def own_stderr() -> TextIO:
    """A stderr of our own: the engines silence descriptor 2 for moments, and would silence us."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding or "utf-8", errors="replace")
    except (OSError, AttributeError, io.UnsupportedOperation):
        return sys.stderr or io.StringIO()


def missing_library_line(error: ImportError) -> str | None:
    """What to install where a system library is missing; None if the import failed for another reason."""
    found = _MISSING_LIBRARY.search(str(error))
    if found is None:
        return None
    library = found[1]
    if library not in _PACKAGES:
        return f"the system library {library} is missing; install the package of your system that contains it"
    return f"the system library {library} is missing; install it: apt-get install {_PACKAGES[library]}"
