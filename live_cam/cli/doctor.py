"""``livecam doctor``."""

from __future__ import annotations

import os

import typer


def doctor() -> None:
    """Checks what livecam needs on this machine, with a hint for each failure."""
    from live_cam.cli.console import Console
    from live_cam.doctor import diagnose

    has_failed = False
    for check in diagnose(os.environ, Console().line):
        mark = "ok" if not check.hint else "FAIL" if check.is_vital else "--"
        print(f"{mark:>4}  {check.name}: {check.found}", flush=True)
        if check.hint:
            print(f"      -> {check.hint}", flush=True)
        has_failed = has_failed or bool(check.hint and check.is_vital)
    if has_failed:
        raise typer.Exit(1)
