"""``livecam doctor``."""

from __future__ import annotations

import os

from live_cam.cli.console import Console
from live_cam.doctor import diagnose


def print_diagnosis() -> bool:
    """Prints a line a check, and under it what to do where it failed; whether livecam can do its main job."""
    is_well = True
    console = Console()
    for check in diagnose(os.environ, console.building):
        mark = "ok" if not check.hint else "FAIL" if check.is_vital else "--"
        print(f"{mark:>4}  {check.name}: {check.found}", flush=True)
        if check.hint:
            print(f"      -> {check.hint}", flush=True)
        is_well = is_well and not (check.hint and check.is_vital)
    return is_well
