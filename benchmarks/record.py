"""Appends a benchmark's figures to RESULTS.md: a dated row with commit and machine."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def record(name: str, figures: dict) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=RESULTS.parent
    ).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    row = f"\n- {datetime.date.today()} `{name}` at {commit or 'no commit'} ({machine}): `{json.dumps(figures)}`\n"
    with RESULTS.open("a") as file:
        file.write(row)
