"""What this machine is called and what it has, as far as it can be told without asking anybody."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Mapping

_ASK_S = 10.0
_NAMES = ("VAST_CONTAINERLABEL", "CONTAINER_ID")
"""Where vast.ai puts a container's label and number."""


def instance_name(given: str, environment: Mapping[str, str] = os.environ) -> str:
    """WORKER_INSTANCE_ID, else the container's label, else the host's name, else a name of our own."""
    names = (given, *(environment.get(name, "") for name in _NAMES), platform.node())
    return next((name for name in names if name), uuid.uuid4().hex[:12])


def gpu_type() -> str | None:
    """The GPUs as the driver names them, such as `2 x NVIDIA L4`; None where there is no driver or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - the driver's own program
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = [line.strip() for line in asked.stdout.splitlines() if line.strip()]
    kinds = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in kinds.items()) or None
