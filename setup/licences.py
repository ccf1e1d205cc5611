"""Prints docs/dependencies.md: every package that the run time and the extras install, with its licence.

.venv-test/bin/python setup/licences.py > docs/dependencies.md
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
    ("FLAC, Ogg, Vorbis, Opus", "BSD-3-Clause", "soundfile, inside libsndfile"),
    ("mpg123, LAME", "LGPL-2.1, LGPL-2.0-or-later", "soundfile, inside libsndfile"),
    ("libsoxr", "LGPL-2.1-or-later", "soxr"),
    ("Kaldi, OpenFst", "Apache-2.0", "vosk"),
    ("OpenBLAS", "BSD-3-Clause", "numpy, vosk"),
    ("libgfortran, libquadmath", "GPL-3.0 with GCC exception, LGPL-2.1", "numpy"),
    ("libffi", "MIT", "cffi"),
    ("LibYAML", "MIT", "PyYAML"),
    ("what ONNX Runtime is made of", "its ThirdPartyNotices.txt", "onnxruntime"),
    ("crates of Rust", "MIT, Apache-2.0 and the like", "tokenizers, safetensors, hf-xet"),
)
BUILDING = (
    ("setuptools", "MIT", "builds the package; pinned in setup/build.lock"),
    ("uv", "MIT OR Apache-2.0", "make lock"),
    ("pip-audit, bandit", "Apache-2.0", "make audit"),
    ("atheris", "Apache-2.0", "fuzzing guided by coverage (extra fuzz)"),
)
BUNDLED = (
    (
        "monitor/recogniser/stser-tiny-en",
        "CC-BY-NC-SA-4.0",
        "LICENSE-weights.md says why; pronunciations of CMUdict, BSD-2-Clause",
    ),
    ("stser_core/weights/stser-open", "CC-BY-NC-SA-4.0", "LICENSE-weights.md says why"),
    ("monitor/demo/conversation.flac", "Apache-2.0", "synthesised by flite"),
    ("Preact, uPlot", "MIT", "parts of monitor/dashboard/dashboard.js; licences.txt beside it"),
)
EXTRAS = ("train", "test", "bench")
IN_EXTRAS = (
    ("openSMILE", "audEERING Research License: no commercial use", "opensmile; the baseline only"),
    ("LLVM", "Apache-2.0 WITH LLVM-exception", "llvmlite"),
    ("WORLD", "BSD-3-Clause", "pyworld-prebuilt, whose own licence, MIT, is in its sources"),
)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(package: Distribution, extra: str = "") -> list[str]:
    """Names of what it requires on this platform, with one of its extras or without any."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in package.requires or ()]
    return [
        normal(r.name)
        for r in requirements
        if r.marker is None or r.marker.evaluate({"extra": extra})
    ]


def closure(name: str, extras: tuple[str, ...] = ("",)) -> dict[str, Distribution]:
    """Everything that installing a package brings, by name."""
    found: dict[str, Distribution] = {}
    waiting = [wanted for extra in extras for wanted in required(distribution(name), extra)]
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


def row(package: Distribution) -> tuple[str, ...]:
    # Without the mark of a build, such as torch's +cpu.
    return package.metadata["Name"], package.version.partition("+")[0], licence(package)


def table(rows: list[tuple[str, ...]], *head: str) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def main() -> None:
    run_time = closure(PROJECT)
    extras = closure(PROJECT, EXTRAS)
    head = ("package", "version", "licence, as it states itself")
    lines = [
        "# Dependencies",
        "",
        "`.venv-test/bin/python setup/licences.py` wrote this page.",
        "",
        "## Of the run time",
        "",
    ]
    lines += [
        "Packages; `requirements.lock` pins each by version and by the hashes of its files:",
        "",
    ]
    lines += table([row(package) for package in run_time.values()], *head)
    lines += ["Libraries inside their wheels:", ""]
    lines += table(list(IN_WHEELS), "library", "licence", "comes with")
    lines += ["Of the system:", ""]
    lines += table(list(SYSTEM), "what", "licence", "for")
    lines += ["In this package:", ""]
    lines += table(list(BUNDLED), "what", "licence", "")
    lines += ["To build and to examine it:", ""]
    lines += table(list(BUILDING), "package", "licence", "for")
    lines += ["## Of training, tests and benchmarks, besides", ""]
    lines += ["`constraints.txt` pins them by version; the monitor never needs them.", ""]
    besides = extras.keys() - run_time.keys() - {name for name, *_ in BUILDING}
    lines += table([row(extras[name]) for name in sorted(besides)], *head)
    lines += ["Libraries inside their wheels:", ""]
    lines += table(list(IN_EXTRAS), "library", "licence", "comes with")
    sys.stdout.write("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
