"""Hostile input: mutated settings, PCM, audio files, manifests, journals, queries, commands, HTTP and WebSocket bytes.

    python -m bench.fuzz [--inputs 5000] [--seed 1] [--target NAME] [--markdown]
    python -m bench.fuzz --coverage [--seconds 60] [--target NAME] [--markdown]   (guided; needs the extra fuzz)

A target takes bytes. It may refuse them with the error that its contract names; anything else, and anything
that takes longer than a few seconds, is a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import logging
import math
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe_machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
SLOW_S = 5.0
"""An input that takes longer is a finding: whoever sends it could stop the monitor."""
LARGEST = 1 << 16

Target = Callable[[bytes], None]


# --- mutation ----------------------------------------------------------------------------------

TOKENS = (
    *(b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 40,
        b"true",
        b"null",
        b"[]",
        b"{}",
        b'""',
        b"[[",
        b'{"a":' * 50,
    ),
    *(b"../../etc/passwd", b"%00", b"%", b"\r\n", b"\n", b"=", b"[vad]", b'type":"', b"&since="),
)


def mutated(seed: bytes, rng: random.Random) -> bytes:
    """A seed with one to eight things done to it."""
    data = bytearray(seed)
    for _ in range(1 << rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + 1 + int(rng.expovariate(0.1)))
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.randrange(256)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = rng.choice(TOKENS)
            case 4:
                data[at:end] = rng.choice(TOKENS)
            case 5:
                data[at:at] = data[rng.randrange(len(data) + 1) :][:64]
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data[:LARGEST])


# --- in this process ---------------------------------------------------------------------------


def settings_file(data: bytes) -> None:
    """A settings file is read, or refused with words."""
    from config.loader import SettingsError, load
    from monitor.settings import MonitorSettings

    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        try:
            settings = load(Path(file.name), MonitorSettings)
        except SettingsError:
            return
    settings.digest()
    text = json.dumps(dataclasses.asdict(settings), default=str, allow_nan=False)
    assert text, "a number that is none would slip through every comparison"


def pcm_stream(data: bytes) -> None:
    """Any bytes as audio of any rate give finite frames on one clock, and disjoint segments."""
    from monitor.events import FRAME_SAMPLES, AudioFrame, AudioGap, Segment
    from monitor.framer import Framer
    from monitor.segmenter import Segmenter

    rng = random.Random(data)
    kind = rng.choice((np.int16, np.float32))
    channels, rate_hz = rng.randint(1, 3), rng.choice((8_000, 16_000, 44_100, 48_000, 191_999))
    whole = len(data) // (np.dtype(kind).itemsize * channels)
    samples = np.frombuffer(data, kind, whole * channels).reshape(-1, channels)
    framer, segmenter = Framer(rate_hz, channels), Segmenter()
    clock = ended = 0

    def take(audio: AudioFrame | AudioGap) -> None:
        nonlocal clock, ended
        assert audio.start == clock
        if isinstance(audio, AudioFrame):
            assert len(audio.samples) == FRAME_SAMPLES
            assert np.all(np.abs(audio.samples) <= 1), "not finite, or beyond full scale"
            clock += FRAME_SAMPLES
        else:
            clock += audio.length
        for output in segmenter.push(audio):
            if isinstance(output, Segment):
                assert ended <= output.start < output.end <= clock
                assert math.isfinite(output.level_dbfs)
                assert math.isfinite(output.noise_floor_dbfs)
                ended = output.end

    at = 0
    while at < len(samples):
        n = rng.choice((1, 7, 160, 1_000, 48_000))
        for frame in framer.push(samples[at : at + n]):
            take(frame)
        at += n
        if rng.random() < 0.05:
            take(framer.gap(rng.randrange(10_000), "overflow"))
    for frame in framer.flush():
        take(frame)
    segmenter.flush()


def audio_file(data: bytes) -> None:
    """A file is played to its end, or refused with words."""
    from monitor.errors import UsageError
    from monitor.replay import FileSource

    async def play(path: Path) -> None:
        try:
            async with FileSource(path) as source:
                async for audio in source:
                    assert np.all(np.abs(audio.samples) <= 1)  # type: ignore[union-attr]
        except UsageError:
            return

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with quiet_decoders():
            asyncio.run(play(Path(file.name)))


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """libmpg123 complains on standard error, from C."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def manifest(data: bytes) -> None:
    """A checkpoint's manifest is read, or refused with words."""
    from stser_core.checkpoint import MANIFEST, read_manifest
    from stser_core.errors import CheckpointError

    folder = _checkpoint_folder()
    (folder / MANIFEST).write_bytes(data)
    with contextlib.suppress(CheckpointError):
        read_manifest(folder)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _checkpoint_folder() -> Path:
    """The default checkpoint's files beside a manifest of one's own."""
    from stser_core.checkpoint import MANIFEST
    from stser_core.ensemble import DEFAULT_CHECKPOINT

    if not _folders:
        folder = tempfile.TemporaryDirectory(prefix="stser-fuzz-")
        _folders.append(folder)
        for file in DEFAULT_CHECKPOINT.iterdir():
            if file.name != MANIFEST:
                (Path(folder.name) / file.name).symlink_to(file)
    return Path(_folders[0].name)


def query(data: bytes) -> None:
    """The query of a subscription is understood, or refused with words."""
    from monitor.publish.subscription import Subscription

    with contextlib.suppress(ValueError):
        Subscription.from_query(data.decode("latin-1"))


def audio_query(data: bytes) -> None:
    """The query of a client's audio is understood, or refused with words."""
    from monitor.publish.audio_endpoint import Asked

    with contextlib.suppress(ValueError):
        Asked.from_query(data.decode("latin-1"))


def audio_message(data: bytes) -> None:
    """A text message of a client that sends audio is understood, or ends its connection with words."""
    from monitor.incoming import IncomingAudio
    from monitor.publish.audio_endpoint import _configure, _Conversation, _Misbehaved, _said

    audio, talk = IncomingAudio("fuzz"), _Conversation(transcript=True)
    with contextlib.suppress(_Misbehaved):
        kind, value = _said(data.decode("utf-8", "replace"))
        if kind == "config":
            _configure(audio, talk, value)


def journal_file(data: bytes) -> None:
    """A journal is opened and read, or refused with words."""
    from monitor.errors import UsageError
    from monitor.publish.journal import Journal, JournalSettings

    async def read(path: Path) -> None:
        try:
            async with Journal(path, "fuzz", JournalSettings(), required=True) as journal:
                for source in journal.sources:
                    journal.newest(source)
                    journal.after(source, 0)
                journal.waiting()
        except UsageError:
            return

    with tempfile.TemporaryDirectory(prefix="stser-fuzz-") as folder:
        path = Path(folder) / "journal.db"
        path.write_bytes(data)
        asyncio.run(read(path))


def wav_header(data: bytes) -> None:
    """A WAV header is read, or is none."""
    from monitor.wav_header import read_wav_header

    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        read_wav_header(file.fileno())


def command(data: bytes) -> None:
    """A command is obeyed, or refused with a code."""
    from monitor.commands import CommandDesk, CommandError

    desk = CommandDesk()
    desk.open(lambda _: None)
    for message in (data, data.decode("utf-8", "replace")):
        try:
            desk.take(message)
        except CommandError as error:
            json.dumps(str(error), ensure_ascii=False).encode()


# --- against the running program ---------------------------------------------------------------


class Program:
    """``stser-monitor`` on the bundled recording, and a port to throw bytes at."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stser-fuzz-")
        self._log = Path(self._folder.name) / "log"
        flags = ("--ws-port", "0", "--no-asr", "--journal", "off", "--pace", "realtime")
        recording = ROOT / "monitor" / "demo" / "conversation.flac"
        long = Path(self._folder.name) / "long.wav"
        self._lengthen(recording, long)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "monitor", "--input", str(long), *flags],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
            )
        self.port = self._wait_for_port()

    @staticmethod
    def _lengthen(recording: Path, path: Path) -> None:
        """An hour, so that the port stays open."""
        import soundfile

        samples, rate_hz = soundfile.read(recording, dtype="int16")
        with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16") as file:
            for _ in range(3_600 * rate_hz // len(samples)):
                file.write(samples)

    def _wait_for_port(self) -> int:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and self.process.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", self._log.read_text("utf-8", "replace"))
            if found:
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"the monitor did not open its port: {self._log.read_text()}")

    def descriptors(self) -> int:
        """Files and sockets that it holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def check(self) -> None:
        """It lives, answers, and has reported no error of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SLOW_S) as client:
            client.settimeout(SLOW_S)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        log = self._log.read_text("utf-8", "replace")
        assert "Traceback" not in log, log[log.index("Traceback") :][:4_000]

    def throw(self, data: bytes, *, upgrade: bool) -> None:
        """Send bytes, to HTTP or as what follows a WebSocket handshake; then be gone."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SLOW_S) as client:
            client.settimeout(0.05)
            if upgrade:
                client.sendall(HANDSHAKE)
            with contextlib.suppress(OSError):
                client.sendall(data)
                client.recv(65_536)
                client.recv(65_536)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()


HANDSHAKE = (
    b"GET /events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + base64.b64encode(b"0123456789abcdef")
    + b"\r\n\r\n"
)
_programs: list[Program] = []


def _program() -> Program:
    if not _programs:
        _programs.append(Program())
    return _programs[0]


def _thrown(data: bytes, *, upgrade: bool) -> None:
    program = _program()
    program.throw(data, upgrade=upgrade)
    program.check()


def http_bytes(data: bytes) -> None:
    """Any bytes on the port leave the monitor at work for everybody else."""
    _thrown(data, upgrade=False)


def websocket_bytes(data: bytes) -> None:
    """Any bytes after the handshake, too."""
    _thrown(data, upgrade=True)


# --- seeds -------------------------------------------------------------------------------------


def _audio_seeds() -> list[bytes]:
    import soundfile

    rng = np.random.default_rng(1)
    samples = np.clip(rng.standard_normal(4_000) * 0.1, -1, 1).astype(np.float32)
    seeds = []
    formats = (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"))
    for shape, coding in (*formats, ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")):
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format=shape, subtype=coding)
        seeds.append(file.getvalue())
    return seeds


def _frame(opcode: int, payload: bytes, *, mask: bytes | None = b"abcd", fin: int = 0x80) -> bytes:
    """A WebSocket frame."""
    n = len(payload)
    length = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2, "big")
    if mask is None:
        return bytes([fin | opcode]) + length + payload
    head = bytes([fin | opcode, length[0] | 0x80]) + length[1:] + mask
    return head + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def _journal_seed() -> bytes:
    """A journal of a few events."""
    from monitor.events import Marked, SpeechBegan
    from monitor.publish.journal import Journal, JournalSettings
    from monitor.publish.wire import WireEncoder

    async def write(path: Path) -> None:
        encoder = WireEncoder("fuzz", "mic")
        async with Journal(path, "fuzz", JournalSettings(), required=True) as journal:
            journal.register("mqtt://broker")
            for number in range(4):
                journal.append(encoder.encode(SpeechBegan(number + 1, number)))
            journal.append(encoder.encode(Marked("here", 7)))

    with tempfile.TemporaryDirectory(prefix="stser-fuzz-") as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(write(path))
        return path.read_bytes()


COMMANDS = tuple(
    json.dumps(tree).encode()
    for tree in (
        {"type": "mute"},
        {"type": "mark", "text": "here"},
        {"type": "reset", "extra": [1, {"a": None}]},
        {"type": 7},
        [],
    )
)


NESTED = (b"[" * 60_000, b'{"a":' * 10_000, b"9" * 5_000)
"""JSON that a parser may run out of stack or patience over."""


def seeds_of(name: str) -> list[bytes]:
    """Valid inputs of a target, to start from."""
    match name:
        case "settings_file":
            listed = (ROOT / "config" / "monitor.toml").read_bytes()
            odd = [b"[vad]\nonset_db = nan", b"[mqtt]\ntimeout_s = inf", b"node = " + b"[" * 20_000]
            odd.append(b'[ensemble]\ncheckpoint = "~nobody-of-this-name/x"')
            return [listed, *odd, b"[capture]\nchannels = " + b"9" * 5_000]
        case "pcm_stream":
            noise = np.random.default_rng(2).standard_normal(8_000) * 8_000
            return [
                noise.astype("<i2").tobytes(),
                (noise / 9_000).astype("<f4").tobytes(),
                bytes(8_000),
            ]
        case "audio_file":
            return _audio_seeds()
        case "wav_header":
            return [seed[:200] for seed in _audio_seeds()[:2]]
        case "manifest":
            from stser_core.checkpoint import MANIFEST
            from stser_core.ensemble import DEFAULT_CHECKPOINT

            return [(DEFAULT_CHECKPOINT / MANIFEST).read_bytes(), *NESTED]
        case "query":
            return [b"types=emotion.utterance,emotion.state&since=12&transcript=0", b""]
        case "command":
            return [*COMMANDS, *NESTED]
        case "audio_query":
            return [
                b"stream=kitchen&sample_rate=48000",
                b"stream=&stream=a",
                b"sample_rate=" + b"9" * 5_000,
            ]
        case "audio_message":
            config = (
                b'{"config":{"sample_rate":8000,"events":true}}',
                b'{"config":{"sample_rate":1e400}}',
            )
            return [*config, b'{"eof":1}', b'{"reset":1}', b'{"config":null}', *NESTED]
        case "journal_file":
            return [_journal_seed()]
        case "http_bytes":
            return [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", HANDSHAKE]
        case "websocket_bytes":
            frames = [_frame(1, text) for text in COMMANDS]
            odd = [_frame(8, b"\x03\xe8bye"), _frame(9, b"ping"), _frame(2, b"\x00" * 200)]
            odd += [_frame(1, b"half", fin=0) + _frame(0, b"whole"), _frame(1, b"x", mask=None)]
            return frames + odd + [_frame(1, b"x" * 5_000)]
        case _:
            raise ValueError(name)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(
            settings_file,
            pcm_stream,
            audio_file,
            wav_header,
            manifest,
            journal_file,
            query,
            command,
        ),
        *(audio_query, audio_message),
        *(http_bytes, websocket_bytes),
    )
}
COSTLY = {"http_bytes", "websocket_bytes"}
"""Each input takes a connection; they get a tenth of the inputs."""


# --- running -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """What became of a target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    findings: dict[str, bytes] = field(default_factory=dict)
    """The first input that led to each kind of error."""


def attack(name: str, inputs: int, seed: int) -> Outcome:
    """Throw ``inputs`` mutated inputs at a target; the same seed gives the same ones."""
    target, seeds, rng = TARGETS[name], seeds_of(name), random.Random(f"{name} {seed}")
    outcome = Outcome(name)
    if name in COSTLY:
        _program()
    began_s = time.monotonic()
    for number in range(inputs):
        # Seeds themselves first; then now and then something without any form.
        data = seeds[number] if number < len(seeds) else mutated(rng.choice(seeds), rng)
        if number >= len(seeds) and rng.random() < 0.05:
            data = rng.randbytes(rng.randrange(2_000))
        at_s = time.monotonic()
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            outcome.findings.setdefault(_kind_of(error), data)
        took_s = time.monotonic() - at_s
        outcome.slowest_s = max(outcome.slowest_s, took_s)
        if took_s > SLOW_S:
            outcome.findings.setdefault(f"took {took_s:.1f} s", data)
        outcome.inputs += 1
    outcome.seconds = time.monotonic() - began_s
    return outcome


def _kind_of(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__} at {where}: {str(error)[:200]}"


def clean_up() -> None:
    """End what the targets have started."""
    while _programs:
        _programs.pop().close()
    while _folders:
        _folders.pop().cleanup()


# --- guided by coverage ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coverage:
    """What atheris has tried."""

    target: str
    inputs: int
    seconds: float
    edges: int
    """Edges of the monitor's code that its inputs have reached."""
    finding: str


def cover(name: str, seconds: float) -> None:
    """Inputs guided by coverage, in this process, which ends with it: 0, or otherwise where one led to an error."""
    import atheris

    quiet = logging.getLogger()
    quiet.addHandler(logging.NullHandler())
    with atheris.instrument_imports(include=["config", "monitor", "stser_core"]):
        import config.loader  # noqa: F401
        import monitor.assembly  # noqa: F401
        import stser_core.checkpoint  # noqa: F401
    corpus = Path(tempfile.mkdtemp(prefix="stser-corpus-"))
    for number, data in enumerate(seeds_of(name)):
        (corpus / str(number)).write_bytes(data)
    limits = (f"-max_total_time={seconds:.0f}", f"-timeout={SLOW_S:.0f}", "-rss_limit_mb=4096")
    told = ("-print_final_stats=1", f"-artifact_prefix={corpus}/", "-max_len=65536")
    atheris.Setup([sys.argv[0], *limits, *told, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def covered(name: str, seconds: float) -> Coverage:
    """The same in a process of its own."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz", "--in-process", name, "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
    )
    said = done.stdout + done.stderr
    executed = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    finding = ""
    if done.returncode != 0 or not executed:
        error = re.findall(
            r"^(\w+(?:Error|Exception)\b.*|.*(?:timeout|out-of-memory).*)$", said, re.MULTILINE
        )
        finding = error[0] if error else said[-2_000:]
        sys.stdout.write(said[-6_000:] + "\n")
    return Coverage(
        name,
        int(executed[-1]) if executed else 0,
        time.monotonic() - began_s,
        int(edges[-1]) if edges else 0,
        finding,
    )


# --- the page ----------------------------------------------------------------------------------

PAGE = RESULTS / "fuzz.md"
GUIDED = "## Guided by coverage"
FOUND = "## What was found, and is mended"


def page(outcomes: list[Outcome], seed: int) -> str:
    """The results of :func:`attack` as Markdown."""
    machine = describe_machine()
    lines = [
        "# Hostile input",
        "",
        f"`make fuzz`, seed {seed}, on {machine['processor']}, {machine['cores']} cores. "
        "Each input is a valid one with one to eight mutations.",
        "",
        "| target | promise | inputs | s | slowest, ms | findings |",
        "|---|---|---:|---:|---:|---|",
    ]
    for o in outcomes:
        promise = (TARGETS[o.target].__doc__ or "").strip()
        found = "; ".join(o.findings) or "none"
        lines.append(
            f"| {o.target} | {promise} | {o.inputs:,} | {o.seconds:.0f} | {o.slowest_s * 1000:.0f} | {found} |"
        )
    total = sum(o.inputs for o in outcomes)
    return "\n".join([*lines, "", f"{total:,} inputs in all.", "", ""])


def guided_page(coverage: list[Coverage]) -> str:
    """The results of :func:`covered` as Markdown."""
    lines = [
        GUIDED,
        "",
        "`python -m bench.fuzz --coverage --markdown` (atheris): what reaches new code is mutated further.",
        "",
        "| target | inputs | s | edges reached | findings |",
        "|---|---:|---:|---:|---|",
        *(
            f"| {c.target} | {c.inputs:,} | {c.seconds:.0f} | {c.edges:,} | {c.finding or 'none'} |"
            for c in coverage
        ),
    ]
    total = sum(c.inputs for c in coverage)
    return "\n".join([*lines, "", f"{total:,} inputs in all.", "", ""])


def rewrite(attacks: str = "", guided: str = "") -> None:
    """Put new parts into the page; the others, and what is written there by hand, stay."""
    text = PAGE.read_text("utf-8")
    before, _, by_hand = text.partition(FOUND)
    old_attacks, _, old_guided = before.partition(GUIDED)
    kept = GUIDED + old_guided if old_guided else ""
    PAGE.write_text((attacks or old_attacks) + (guided or kept) + FOUND + by_hand, "utf-8")


def main() -> int:
    """Attack, print, and write where asked to; 1 where something was found."""
    flags = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    flags.add_argument("--inputs", type=int, default=5_000)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--target", choices=tuple(TARGETS), action="append")
    flags.add_argument("--coverage", action="store_true", help="guided by coverage (needs atheris)")
    flags.add_argument(
        "--seconds", type=float, default=60.0, help="of each target, with --coverage"
    )
    flags.add_argument("--in-process", choices=tuple(TARGETS), help=argparse.SUPPRESS)
    flags.add_argument("--markdown", action="store_true", help="rewrite docs/results/fuzz.md")
    given: Any = flags.parse_args()
    if given.in_process:
        cover(given.in_process, given.seconds)
        return 0
    return guide(given) if given.coverage else attack_all(given)


def guide(given: Any) -> int:
    """Every target, guided by coverage."""
    coverage = []
    for name in given.target or [name for name in TARGETS if name not in COSTLY]:
        coverage.append(covered(name, given.seconds))
        sys.stdout.write(f"{coverage[-1]}\n")
        sys.stdout.flush()
    if given.markdown:
        rewrite(guided=guided_page(coverage))
    return int(any(c.finding for c in coverage))


def attack_all(given: Any) -> int:
    """Every target, by mutation alone."""
    outcomes = []
    try:
        for name in given.target or TARGETS:
            inputs = given.inputs // 10 if name in COSTLY else given.inputs
            outcome = attack(name, inputs, given.seed)
            outcomes.append(outcome)
            sys.stdout.write(
                f"{name}: {outcome.inputs} inputs, {outcome.seconds:.0f} s, slowest "
                f"{outcome.slowest_s * 1000:.0f} ms, {len(outcome.findings)} findings\n"
            )
            for kind, data in outcome.findings.items():
                sys.stdout.write(f"  {kind}\n    {data[:300]!r}\n")
            sys.stdout.flush()
    finally:
        clean_up()
    if given.markdown:
        rewrite(attacks=page(outcomes, given.seed))
    return int(any(o.findings for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
