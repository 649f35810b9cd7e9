"""Loads TensorFlow without the lines it writes for its developers. Import this before ``tensorflow`` and ``keras``.

A user who sets TF_CPP_MIN_LOG_LEVEL wants to see those lines and sees them all.
"""

from __future__ import annotations

import contextlib
import os

from live_cam.native_output import silenced_native_stderr

_user_wants_log = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3"

# The level does not govern what TensorFlow's libraries log before they are set up.
with contextlib.nullcontext() if _user_wants_log else silenced_native_stderr():
    import tensorflow  # noqa: F401
