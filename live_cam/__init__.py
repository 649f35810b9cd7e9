"""livecam shows, live, what a Keras image classifier looks at."""

from __future__ import annotations

__version__ = "0.1.0"
