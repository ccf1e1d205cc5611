"""A microphone that one program at a time can have, as a sound card is without an audio server.

It is the virtual microphone behind a plugin of ALSA (exclusive.c), compiled when it is asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.virtual_microphone import VirtualMicrophone, running_virtual_microphone

SOURCE = Path(__file__).with_name("exclusive.c")
NAME = "deskmic"

DEVICE = """\
pcm_hook_type.exclusive {{ lib "{library}" install "_snd_pcm_hook_exclusive_install" }}
pcm.{name} {{
    type hooks
    slave.pcm {slave}
    hooks.0 {{ type exclusive hook_args.lock "{lock}" }}
    hint {{ show on description "Exclusive microphone" }}
}}
"""

HOLDER = """\
import ctypes, sys, time
alsa, pcm = ctypes.CDLL("libasound.so.2"), ctypes.c_void_p()
while alsa.snd_pcm_open(ctypes.byref(pcm), sys.argv[1].encode(), 1, 1) < 0:
    time.sleep(0.01)
print("held", flush=True)
sys.stdin.read()
alsa.snd_pcm_close(pcm)
"""


class ExclusiveMicrophone:
    """``deskmic``, which hears what the virtual microphone hears.

    Attributes:
        virtual: The microphone behind it.
    """

    def __init__(self, virtual: VirtualMicrophone) -> None:
        self.virtual = virtual
        configuration = Path(virtual.environment["ALSA_CONFIG_PATH"])
        library = _compiled(configuration.parent)
        common = {"library": library, "name": NAME, "lock": configuration.parent / "lock"}
        device = DEVICE.format(slave="{ type pulse device mic }", **common)
        configuration.write_text(configuration.read_text() + device)
        self._alone = configuration.with_name("alone.conf")
        self._alone.write_text(device)
        # The other program needs the card alone: it may take it before the audio server has a microphone again.
        self._card = configuration.with_name("card.conf")
        self._card.write_text(DEVICE.format(slave="{ type null }", **common))

    @property
    def only_one(self) -> Mapping[str, str]:
        """The environment of a program that finds this microphone and no other."""
        return {**self.virtual.environment, "ALSA_CONFIG_PATH": str(self._alone)}

    @contextmanager
    def held_by_another_program(self) -> Iterator[Callable[[], None]]:
        """Inside the block, another program has it, until what is yielded is called. Waits for it on entry."""
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, NAME],
            env={**os.environ, "ALSA_CONFIG_PATH": str(self._card)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"

            def let_go() -> None:
                assert holder.stdin is not None
                holder.stdin.close()
                holder.wait()

            try:
                yield let_go
            finally:
                let_go()


def _compiled(folder: Path) -> Path:
    """The plugin."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: there can be no exclusive microphone")
    library = folder / "exclusive.so"
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-DPIC", "-Wall", "-Werror", "-o", library, SOURCE, "-lasound"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "alsa/asoundlib.h: No such file" in done.stderr:
        pytest.skip("libasound2-dev is not installed: there can be no exclusive microphone")
    assert done.returncode == 0, done.stderr
    return library


@contextmanager
def running_exclusive_microphone() -> Iterator[ExclusiveMicrophone]:
    """Start the virtual microphone with the exclusive one in front of it; bring both down on the way out."""
    with running_virtual_microphone() as virtual:
        yield ExclusiveMicrophone(virtual)
