"""A microphone without hardware: a private PulseAudio whose only source is what a test plays.

PortAudio reaches it through ALSA's pulse plugin, as on any desktop, and sees it as the default
device.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
SECOND = """\
pcm.fakedoor { type pulse device mic_door hint { show on description "Fake microphone at the door" } }
"""


class VirtualMicrophone:
    """A PulseAudio with a speaker, and a microphone that hears it.

    Attributes:
        environment: What a program needs in its environment to find this microphone and no other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None
        self._reader: subprocess.Popen[bytes] | None = None
        self.environment: Mapping[str, str] = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{folder}/native",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "HOME": str(folder),
        }
        (folder / "asound.conf").write_text(ALSA_CONFIG)

    # --- what becomes of a microphone ----------------------------------------------------------

    def start(self, *, plugged_in: bool = True) -> None:
        """Start the audio server; returns when it answers and, if plugged in, can be heard."""
        socket = self._folder / "native"
        socket.unlink(missing_ok=True)  # left over where it was killed
        daemon = self._daemon = self._start(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
            *("--realtime=no", "--high-priority=no", "--use-pid-file=no"),
            *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={socket}"),
        )
        wait_until(lambda: self._succeeds("pactl", "info"), daemon, "pulseaudio")
        if plugged_in:
            self.plug_in()

    def plug_in(self, rate_hz: int = 16_000) -> None:
        """Give the server its speaker and the microphone that hears it."""
        rate = f"rate={rate_hz}"
        self.control("load-module", "module-null-sink", "sink_name=spk", rate, "channels=1")
        self.control("load-module", "module-remap-source", "source_name=mic", "master=spk.monitor")
        # Without a reader in a hurry, the null sink renders in blocks of up to 1.8 s. The first
        # was begun before the reader came: it is waited for here, so that no test has to.
        self._reader = self._start("parec", "--latency-msec=10", "-d", "spk.monitor")
        self._read_one_block()

    @contextmanager
    def second_microphone(self) -> Iterator[None]:
        """Inside the block there is another one: ``fakedoor``, which hears the speaker ``spk_door``.

        A PortAudio that was initialised before does not know it.
        """
        configuration = self._folder / "asound.conf"
        configuration.write_text(ALSA_CONFIG + SECOND)
        modules = [
            self.control(
                *("load-module", "module-null-sink", "sink_name=spk_door"),
                *("rate=16000", "channels=1"),
            ),
            self.control(
                *("load-module", "module-remap-source", "source_name=mic_door"),
                "master=spk_door.monitor",
            ),
        ]
        reader = self._start("parec", "--latency-msec=10", "-d", "spk_door.monitor")
        try:
            self._read_one_block("mic_door")
            yield
        finally:
            end(reader)
            for module in reversed(modules):
                self.control("unload-module", module.strip())
            configuration.write_text(ALSA_CONFIG)

    def unplug(self) -> None:
        """The device goes, the server stays."""
        self.control("unload-module", "module-null-sink")
        self._end_reader()

    def kill(self) -> None:
        """The audio server crashes."""
        assert self._daemon is not None, "not started"
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None
        self._end_reader()

    def freeze(self) -> None:
        """The audio server hangs: nothing comes, and nobody is told."""
        assert self._daemon is not None, "not started"
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The audio server goes on where it was."""
        assert self._daemon is not None, "not started"
        self._daemon.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Bring everything down."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGCONT)
            end(self._daemon)
        self._end_reader()

    # --- what it hears -------------------------------------------------------------------------

    def play(self, path: Path, speaker: str = "spk") -> None:
        """Speak a sound file into the microphone; returns when it has been heard to its end."""
        self.run(*_player(path, speaker))

    @contextmanager
    def playing(self, path: Path) -> Iterator[None]:
        """Speak a sound file into the microphone inside the block; at its end, fall silent."""
        player = subprocess.Popen(_player(path), env={**os.environ, **self.environment})
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

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _end_reader(self) -> None:
        if self._reader is not None:
            end(self._reader)
            self._reader = None

    def _read_one_block(self, source: str = "mic") -> None:
        reader = subprocess.Popen(
            ["parec", "--latency-msec=10", "-d", source],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
        )
        assert reader.stdout is not None
        with reader, reader.stdout:
            reader.stdout.read(640)
            reader.terminate()

    def _succeeds(self, *command: str) -> bool:
        done = subprocess.run(
            command,
            check=False,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return done.returncode == 0


@contextmanager
def running_virtual_microphone() -> Iterator[VirtualMicrophone]:
    """Start the microphone; bring it down on the way out."""
    with silent_machine() as microphone:
        microphone.start()
        yield microphone


@contextmanager
def silent_machine() -> Iterator[VirtualMicrophone]:
    """A machine whose audio server has not been started."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: there can be no virtual microphone")
    with tempfile.TemporaryDirectory(prefix="stser-mic-", ignore_cleanup_errors=True) as folder:
        microphone = VirtualMicrophone(Path(folder))
        try:
            yield microphone
        finally:
            microphone.end()


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


def _player(path: Path, speaker: str = "spk") -> list[str]:
    """A command; so much of the sound lies ready that a machine under load leaves no holes in it."""
    return ["paplay", f"--device={speaker}", "--latency-msec=500", str(path)]


def _initialise_portaudio_again() -> None:
    """Reading its environment and listing devices is what PortAudio does then, and only then."""
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is not None:
        sounddevice._terminate()
        sounddevice._initialize()
