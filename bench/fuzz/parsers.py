"""What reads bytes in this process. Each function's first line is the promise that it checks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np


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


def remove_folders() -> None:
    """Those that the targets have made."""
    while _folders:
        _folders.pop().cleanup()


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
