"""Prints docs/dependencies.md: every package that the run time installs, with its licence.

.venv/bin/python setup/licences.py > docs/dependencies.md
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

PROJECT = "stser-monitor"
SYSTEM = (
    ("libportaudio2", "MIT", "microphone; installed by the system's package manager"),
    ("Python 3.11 or newer", "PSF-2.0", "and its standard library, with SQLite (public domain)"),
)
IN_WHEELS = (
    (
        "libsndfile",
        "LGPL-2.1-or-later",
        "soundfile; a shared library of its own that may be exchanged",
    ),
    ("libsoxr", "LGPL-2.1-or-later", "soxr"),
    ("Kaldi, OpenFst", "Apache-2.0", "vosk"),
    ("OpenBLAS", "BSD-3-Clause", "numpy, vosk"),
)
BUNDLED = (
    (
        "monitor/recogniser/vosk-tiny-en",
        "Apache-2.0",
        "made by this project; pronunciations of CMUdict, BSD-2-Clause",
    ),
    ("stser_core/weights/stser-open", "CC-BY-NC-SA-4.0", "LICENSE-weights.md says why"),
    ("monitor/demo/conversation.flac", "Apache-2.0", "synthesised by flite"),
)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(package: Distribution) -> list[str]:
    """Names of what it requires on this platform, extras left out."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in package.requires or ()]
    return [
        normal(r.name) for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})
    ]


def closure(name: str) -> dict[str, Distribution]:
    """Everything that installing a package brings, by name."""
    found: dict[str, Distribution] = {}
    waiting = required(distribution(name))
    while waiting:
        wanted = waiting.pop()
        if wanted in found:
            continue
        try:
            found[wanted] = distribution(wanted)
        except PackageNotFoundError:
            sys.exit(f"{wanted} is not installed: run this where {name} is.")
        waiting += required(found[wanted])
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """As the package states it: SPDX expression, else classifier, else the first line of its text."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    if classifiers and classifiers != ["OSI Approved"]:
        return ", ".join(classifiers)
    return str(metadata.get("License") or "not stated").strip().splitlines()[0]


def table(rows: list[tuple[str, ...]], *head: str) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def main() -> None:
    packages = [
        (package.metadata["Name"], package.version, licence(package))
        for package in closure(PROJECT).values()
    ]
    lines = [
        "# Dependencies of the run time",
        "",
        "`python setup/licences.py` wrote this page.",
        "",
    ]
    lines += ["Packages, as `pip install` brings them; `constraints.txt` pins them:", ""]
    lines += table(packages, "package", "version", "licence, as it states itself")
    lines += ["Libraries inside their wheels:", ""]
    lines += table(list(IN_WHEELS), "library", "licence", "comes with")
    lines += ["Of the system:", ""]
    lines += table(list(SYSTEM), "what", "licence", "for")
    lines += ["In this package:", ""]
    lines += table(list(BUNDLED), "what", "licence", "")
    sys.stdout.write("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
