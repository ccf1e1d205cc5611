"""A microphone without hardware: a private PulseAudio whose only source is what a test plays.

PortAudio reaches it through ALSA's pulse plugin, as on any desktop, and sees it as the default
device.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.processes import end, wait_until

NEEDED = ("pulseaudio", "pactl", "parec", "paplay")

ALSA_CONFIG = """\
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse hint { show on description "Default" } }
ctl.!default { type pulse }
pcm.fakemic { type pulse device mic hint { show on description "Fake microphone" } }
"""


class VirtualMicrophone:
    """A running PulseAudio with a speaker, and a microphone that hears it.

    Attributes:
        environment: What a program needs in its environment to find this microphone and no other.
    """

    def __init__(self, folder: Path) -> None:
        self.environment: Mapping[str, str] = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{folder}/native",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }

    def play(self, path: Path) -> None:
        """Speak a sound file into the microphone; returns when it has been heard to its end."""
        self.run("paplay", "--device=spk", "--latency-msec=20", str(path))

    @contextmanager
    def playing(self, path: Path) -> Iterator[None]:
        """Speak a sound file into the microphone inside the block; at its end, fall silent."""
        command = ["paplay", "--device=spk", "--latency-msec=20", str(path)]
        player = subprocess.Popen(command, env={**os.environ, **self.environment})
        try:
            yield
        finally:
            end(player)

    def control(self, *arguments: str) -> str:
        """Run ``pactl``, for instance ``suspend-source mic 1``; returns what it prints."""
        return self.run("pactl", *arguments)

    def run(self, *command: str) -> str:
        """Run a command beside this PulseAudio; returns what it prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, check=True, stdout=subprocess.PIPE
        )
        return done.stdout.decode()


@contextmanager
def running_virtual_microphone() -> Iterator[VirtualMicrophone]:
    """Start the microphone; bring it down on the way out."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: there can be no virtual microphone")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stser-mic-")))
        microphone = VirtualMicrophone(folder)
        (folder / "asound.conf").write_text(ALSA_CONFIG)
        environment = {**os.environ, **microphone.environment, "HOME": str(folder)}

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(end, process)
            return process

        daemon = start(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
            *("--realtime=no", "--high-priority=no"),
            *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={folder}/native"),
            *("-L", "module-null-sink sink_name=spk rate=16000 channels=1"),
            *("-L", "module-remap-source source_name=mic master=spk.monitor"),
        )
        wait_until(lambda: _succeeds(["pactl", "info"], environment), daemon, "pulseaudio")
        # Without a reader in a hurry, the null sink renders in blocks of up to 1.8 s. The first
        # was begun before the reader came: it is waited for here, so that no test has to.
        start("parec", "--latency-msec=10", "-d", "spk.monitor")
        _read_one_block(environment)
        yield microphone


@pytest.fixture(scope="session")
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    """For subprocesses: pass its ``environment`` on. One for the whole test session."""
    with running_virtual_microphone() as microphone:
        yield microphone


@pytest.fixture
def in_process_microphone(
    virtual_microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VirtualMicrophone]:
    """For capture inside the test process: PortAudio's default device is the virtual microphone."""
    with heard_in_process(virtual_microphone, monkeypatch):
        yield virtual_microphone


@contextmanager
def heard_in_process(
    microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Inside the block, this process's PortAudio has this microphone and no other."""
    for name, value in microphone.environment.items():
        monkeypatch.setenv(name, value)
    _initialise_portaudio_again()
    yield
    monkeypatch.undo()
    _initialise_portaudio_again()


def _initialise_portaudio_again() -> None:
    """Reading its environment and listing devices is what PortAudio does then, and only then."""
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is not None:
        sounddevice._terminate()
        sounddevice._initialize()


def _read_one_block(environment: Mapping[str, str]) -> None:
    reader = subprocess.Popen(
        ["parec", "--latency-msec=10", "-d", "mic"], env=environment, stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    with reader, reader.stdout:
        reader.stdout.read(640)
        reader.terminate()


def _succeeds(command: list[str], environment: Mapping[str, str]) -> bool:
    quiet = subprocess.DEVNULL
    done = subprocess.run(command, check=False, env=environment, stdout=quiet, stderr=quiet)
    return done.returncode == 0
