"""Where and with what a figure was taken."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> dict[str, str]:
    """Processor, cores, system, Python, and the versions of the packages that matter."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    described = {
        "processor": cpu,
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in ("numpy", "onnxruntime", "vosk", *packages):
        described[package] = version(package)
    return described
