"""``python -m live_cam`` is ``livecam``."""

from live_cam.cli import main

main()
