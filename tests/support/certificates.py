"""An authority of the test's own, and what it has signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a server on the loopback interface, all PEM."""

    authority: Path
    certificate: Path
    key: Path


def signed(folder: Path) -> Certificates:
    """A new authority and a certificate of it, for two days."""
    authority, key = folder / "authority.pem", folder / "authority.key"
    made = Certificates(authority, folder / "certificate.pem", folder / "certificate.key")
    asked, names = folder / "request.pem", folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for command in (
        (
            "req",
            "-x509",
            *_KEY,
            "-days",
            "2",
            "-subj",
            "/CN=Tests",
            "-keyout",
            key,
            "-out",
            authority,
        ),
        ("req", "-new", *_KEY, "-subj", "/CN=localhost", "-keyout", made.key, "-out", asked),
        (
            *("x509", "-req", "-in", asked, "-CA", authority, "-CAkey", key, "-CAcreateserial"),
            *("-days", "2", "-extfile", names, "-out", made.certificate),
        ),
    ):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return made
