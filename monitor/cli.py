"""``stser-monitor``: flags and settings in, a running pipeline out, an exit code at the end."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import config
from config.loader import SettingsError, build, load
from monitor.errors import ModelError, MonitorError, OutOfMemoryError, UsageError
from monitor.logs import LogFormat, configure_logging
from monitor.memory import MemoryWatch, ran_out
from monitor.service import Service
from monitor.settings import MOVED, MonitorSettings
from stser_core.errors import CheckpointError

logger = logging.getLogger(__name__)

EPILOG = """\
Standard output carries events only; everything else goes to standard error.
Exit codes: 0 orderly, 1 memory limit, 2 usage, settings or input file, 3 audio device, 4 model,
5 port (for --doctor, the broker, too), 130 broken off (a second Ctrl-C, or one during --doctor).
"""

NO_MEMORY = (
    "the system gives this process no more memory. Everything announced is in the journal, if there is one. Raise the "
    "limit that it runs under, or hear fewer streams; with memory.limit_mb below it, what can be left out is, first."
)

FLAG_SETTINGS = {
    "device": "capture.device",
    "wait_for_device": "capture.wait_for_device",
    "node": "node",
    "stream": "stream",
    "model": "ensemble.checkpoint",
    "classifiers": "ensemble.classifiers",
    "vosk_model": "asr.model",
    "asr": "asr.enabled",
    "ws_host": "websocket.host",
    "ws_port": "websocket.port",
    "ws": "websocket.enabled",
    "ws_token_file": "websocket.token_file",
    "allow_origin": "websocket.allow_origins",
    "max_clients": "websocket.max_clients",
    "mqtt_url": "mqtt.url",
    "mqtt_prefix": "mqtt.prefix",
    "ha_discovery": "mqtt.ha_discovery",
    "journal": "journal.path",
    "record": "record.folder",
    "transcript": "transcript",
    "provisional": "provisional.enabled",
    "silence_ms": "segmenter.silence_ms",
    "log_format": "log_format",
}
"""Each flag that stands for a setting, by its dotted name."""


def parser() -> argparse.ArgumentParser:
    """Every flag of ``stser-monitor``; those that were not given leave no trace in the result."""
    flags = argparse.ArgumentParser(
        prog="stser-monitor",
        description="Listen to a microphone, judge the emotion of each utterance, publish it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--version", action="version", version=f"%(prog)s {version('stser-monitor')}"
    )
    flags.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    flags.add_argument(
        "--print-config",
        action="store_true",
        help="print every setting with its default and effect, as a settings file, and exit",
    )
    flags.add_argument(
        "--doctor",
        action="store_true",
        help="check devices, models, port and broker, say what to do about each problem, and exit "
        "(as JSON with --log-format json)",
    )
    _add_input_flags(flags.add_argument_group("audio in"))
    _add_model_flags(flags.add_argument_group("models"))
    _add_output_flags(flags.add_argument_group("events out"))
    return flags


def _index_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _add_input_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--device",
        action="append",
        type=_index_or_name,
        metavar="INDEX|NAME",
        help="microphone: index or part of its name (default: the system's; without one, a demo); "
        "may be repeated, each is a stream of its own; none: audio of clients only",
    )
    group.add_argument(
        "--wait-for-device",
        action="store_true",
        help="wait for a microphone that is not there yet, or that another program holds "
        "(default: end, or play the demo)",
    )
    group.add_argument(
        "-l", "--list-devices", action="store_true", help="list the microphones and exit"
    )
    group.add_argument(
        "--input",
        action="append",
        metavar="FILE|-",
        help="WAV, FLAC, Ogg, Opus or MP3 instead of a microphone; - for 16 kHz mono PCM16 on standard input; "
        "may be repeated",
    )
    group.add_argument(
        "--pace",
        choices=("realtime", "max"),
        help="speed of a file: as it was spoken, or as fast as it goes (default: max)",
    )
    group.add_argument(
        "--silence-ms",
        type=int,
        metavar="MS",
        help="silence that ends an utterance, more or less by how it ended (default: 400)",
    )
    group.add_argument("--node", help="name of this machine in topics (default: the host name)")
    group.add_argument(
        "--stream",
        action="append",
        help="name of the audio stream in topics, once for each (default: mic, mic-2, ...)",
    )


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", type=Path, metavar="DIR", help="STSER checkpoint folder")
    group.add_argument(
        "--classifiers",
        type=lambda text: tuple(text.split(",")),
        metavar="LIST",
        help="any of speech,text,bimodal (default: all; their average is the verdict)",
    )
    group.add_argument(
        "--vosk-model",
        metavar="DIR|NAME",
        help="recogniser's model: a folder, or a name such as vosk-model-small-en-us-0.15, fetched once",
    )
    group.add_argument(
        "--no-asr", dest="asr", action="store_false", help="no recogniser: judge the voice alone"
    )


def _add_output_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--events",
        metavar="FILE|-",
        help="where events are written; a file is appended to (default: standard output)",
    )
    group.add_argument(
        "--format",
        choices=("jsonl", "human", "emotionml"),
        help="shape of the written events (default: human on a terminal, else jsonl)",
    )
    group.add_argument("--ws-host", metavar="HOST", help="address to serve on (default: 127.0.0.1)")
    group.add_argument(
        "--ws-port", type=int, metavar="PORT", help="port to serve on; 0 picks one (default: 8765)"
    )
    group.add_argument(
        "--no-ws", dest="ws", action="store_false", help="no dashboard and no WebSocket"
    )
    group.add_argument(
        "--ws-token-file",
        metavar="FILE",
        help="file with the token that clients must show; needed for an address that others reach",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        metavar="ORIGIN",
        help="web page origin that may subscribe, such as https://example.org; may be repeated",
    )
    group.add_argument("--max-clients", type=int, metavar="N", help="subscribers at once")
    group.add_argument(
        "--mqtt-url", metavar="URL", help="broker, such as mqtt://user:password@host:1883"
    )
    group.add_argument(
        "--mqtt-prefix", metavar="PREFIX", help="first part of topics (default: stser)"
    )
    group.add_argument(
        "--ha-discovery", action="store_true", help="introduce the monitor to Home Assistant"
    )
    group.add_argument(
        "--journal",
        metavar="FILE|off",
        help="where events are kept for those who missed them (default: the user's state folder)",
    )
    group.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep what is heard in WAV files in this folder (default: no audio is stored)",
    )
    group.add_argument(
        "--no-transcript",
        dest="transcript",
        action="store_false",
        help="leave the recognised words out of events",
    )
    group.add_argument(
        "--provisional",
        action=argparse.BooleanOptionalAction,
        help="announce the emotion so far while someone speaks (default: yes, but for a file at full speed)",
    )
    group.add_argument("--log-format", choices=("text", "json"), help="shape of log lines")


def settings_from(flags: argparse.Namespace) -> MonitorSettings:
    """The settings file, if any, with the flags on top.

    Raises:
        UsageError: A flag or a setting breaks a rule.
    """
    given: dict[str, Any] = vars(flags)
    overrides = {
        FLAG_SETTINGS[flag]: _single(value) if flag in {"device", "stream"} else value
        for flag, value in given.items()
        if flag in FLAG_SETTINGS
    }
    try:
        if "config" in given:
            return load(given["config"], MonitorSettings, overrides=overrides, moved=MOVED)
        return build(MonitorSettings, overrides=overrides)
    except SettingsError as error:
        raise UsageError(str(error)) from error


def _single(values: list[Any]) -> Any:
    """One value as in a settings file that has one."""
    return values[0] if len(values) == 1 else tuple(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    flags = parser().parse_args(arguments)
    if "print_config" in flags:
        sys.stdout.write((resources.files(config) / "monitor.toml").read_text("utf-8"))
        return 0
    log_format: LogFormat = flags.log_format if "log_format" in flags else "text"
    configure_logging(log_format)
    try:
        settings = settings_from(flags)
        log_format = settings.log_format
        configure_logging(log_format)
        if "list_devices" in flags:
            return _list_devices()
        if "doctor" in flags:
            return _examine(settings)
        gc.disable()  # until ready: little of what is loaded is ever garbage
        return asyncio.run(_run(settings, flags))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if ran_out(error):
            _tell(NO_MEMORY, log_format)
            return OutOfMemoryError.exit_code
        if isinstance(error, MonitorError | CheckpointError):
            _tell(str(error), log_format)
            return getattr(error, "exit_code", ModelError.exit_code)
        raise
    finally:
        gc.unfreeze()  # or a resampler that was frozen is never freed, which nanobind reports at the exit


def _tell(text: str, log_format: LogFormat) -> None:
    """Why the program ends: a line for people, or one in the shape of the others for programs."""
    if log_format == "json":
        logger.error("%s", text)
    else:
        sys.stderr.write(f"stser-monitor: {text}\n")


def _end(_number: int, _frame: FrameType | None) -> None:
    """A signal after all is loaded and before anything is heard."""
    sys.exit(0)


def leave_what_is_loaded() -> None:
    """Keep the garbage collector from looking at what lives as long as the program.

    Looking at the modules and models takes it 10 to 20 ms each time, which is a late event. And give back what
    loading the models has freed: glibc would keep 30 MB of it.
    """
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _list_devices() -> int:
    from monitor.held_devices import held_microphones
    from monitor.portaudio import list_devices

    devices, held = list_devices(), held_microphones()
    for device in devices:
        mark = "*" if device.default else " "
        sys.stdout.write(
            f"{mark} {device.index:3d}  {device.name}  "
            f"({device.channels} ch, {device.sample_rate_hz} Hz)\n"
        )
    for name in held:
        sys.stdout.write(f"    -  {name}  (held by another program)\n")
    if not devices and not held:
        sys.stderr.write("No microphone found. Plug one in, or try --input FILE.\n")
    return 0


def _examine(settings: MonitorSettings) -> int:
    # What is broken off has found nothing out, so it must not end with 0.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from monitor.doctor.examination import examine
    from monitor.doctor.finding import as_json, exit_code, page

    logging.getLogger().setLevel(logging.ERROR)  # the findings say it all
    if sys.stderr.isatty():
        sys.stderr.write("Listening for three seconds: say something.\n")
    findings = asyncio.run(examine(settings))
    sys.stdout.write(as_json(findings) if settings.log_format == "json" else page(findings))
    return exit_code(findings)


async def _run(settings: MonitorSettings, flags: argparse.Namespace) -> int:
    from monitor.assembly import assemble

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # by an exception: half a model that was fetched is removed
    parts = assemble(
        settings,
        audio=getattr(flags, "input", ()),
        pace=getattr(flags, "pace", None),
        events=getattr(flags, "events", "-"),
        event_format=getattr(flags, "format", None),
    )
    loop = asyncio.get_running_loop()
    service = Service.from_environment(os.environ)

    def stop() -> None:
        """First signal: end orderly. The second one ends the program at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        logger.info("Stopping: publishing what was said so far.")
        service.stopping()
        parts.pipeline.stop()

    def ready() -> None:
        leave_what_is_loaded()
        if parts.notice:
            logger.info("%s", parts.notice)
        if settings.record.folder is not None:
            logger.info("Recording: what is heard is kept in %s.", settings.record.folder)
        if parts.websocket is not None and (not parts.offline or settings.websocket.port == 0):
            logger.info("Dashboard: %s", parts.websocket.url)
        heard = ", ".join(stream.health.device for stream in parts.streams) or "clients only"
        logger.info("Listening to %s. Ctrl-C ends.", heard)
        service.ready(f"Listening to {heard}")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    watch = MemoryWatch(settings.memory, spare=parts.pipeline.spare, stop=stop)
    watching = asyncio.create_task(watch.run(), name="memory")
    async with service:
        await parts.pipeline.run(ready)
    watching.cancel()
    if watch.exceeded:
        raise OutOfMemoryError(
            f"memory.limit_mb ({settings.memory.limit_mb:g}): {watch.exceeded:.0f} MB were held, although what can be "
            "left out was. Everything announced is in the journal; raise the limit or hear fewer streams."
        )
    return 0
