"""Every setting of the monitor in one tree; ``config/monitor.toml`` lists them with their defaults."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from config.loader import Moved
from monitor.abstention import AbstentionSettings
from monitor.asr import AsrSettings
from monitor.capture import CaptureSettings
from monitor.heard_voice import AdaptationSettings
from monitor.incoming import AudioSettings
from monitor.logs import LogFormat
from monitor.memory import MemorySettings
from monitor.provisional import ProvisionalSettings
from monitor.publish.broker import MqttSettings
from monitor.publish.journal import JournalSettings
from monitor.publish.jsonl import OutputSettings
from monitor.publish.websocket import WebSocketSettings
from monitor.recordings import RecordSettings
from monitor.segmenter import SegmenterSettings
from monitor.shedding import SheddingSettings
from monitor.state import StateSettings
from monitor.vad import VadSettings

MOVED: Final = {
    "mqtt.outbox_events": Moved(
        None,
        "is no setting any more: what waits for a broker is in the journal (journal.max_events).",
    ),
}
"""Settings of older files."""

ClassifierName = Literal["speech", "text", "bimodal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSettings:
    """Which weights judge, and which of their classifiers are averaged."""

    checkpoint: Path | None = None
    """Folder of a checkpoint; without it, the one in the package."""
    classifiers: tuple[ClassifierName, ...] = ("speech", "text", "bimodal")
    """Classifiers whose average is the verdict."""
    engine: Literal["onnx", "torch"] = "onnx"
    """ONNX Runtime, or PyTorch as the reference (needs the extra ``train``)."""
    explain_words: bool = True
    """Reads each sentence again without the words that say most, to say which weighed; False: all weigh the same."""
    hang_s: float = 10.0
    """An ensemble that is busy with one call for so long hangs, and a fresh one takes over."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.hang_s <= 600.0:
            raise ValueError(
                f"ensemble.hang_s ({self.hang_s:g}) must lie between 1 and 600: less takes a busy machine for an "
                "ensemble that hangs, more leaves utterances waiting for a verdict that never comes."
            )
        if not self.classifiers:
            raise ValueError(
                "ensemble.classifiers must name at least one of speech, text, bimodal: "
                "with none there is no verdict."
            )
        if len(set(self.classifiers)) != len(self.classifiers):
            raise ValueError(
                f"ensemble.classifiers ({', '.join(self.classifiers)}) names one twice: "
                "each counts once in the average."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """The whole settings file. Every table and key may be left out."""

    node: str = ""
    """Name of this machine in sources and topics; empty for the host name."""
    stream: tuple[str, ...] | str = "mic"
    """Name of the audio stream in sources and topics; a list for several. Those without one are numbered."""
    transcript: bool = True
    """False leaves the recognised words out of every event and the journal; they still inform the verdict. To
    leave them out of one channel only: output.transcript, websocket.transcript, mqtt.transcript."""
    log_format: LogFormat = "text"
    """Shape of the log lines on standard error."""
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    vad: VadSettings = field(default_factory=VadSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    asr: AsrSettings = field(default_factory=AsrSettings)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    adaptation: AdaptationSettings = field(default_factory=AdaptationSettings)
    abstention: AbstentionSettings = field(default_factory=AbstentionSettings)
    state: StateSettings = field(default_factory=StateSettings)
    provisional: ProvisionalSettings = field(default_factory=ProvisionalSettings)
    shedding: SheddingSettings = field(default_factory=SheddingSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    record: RecordSettings = field(default_factory=RecordSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)

    def __post_init__(self) -> None:
        names = [("node", self.node), *(("stream", name) for name in self.stream_names)]
        for name, value in names:
            if not re.fullmatch(r"[a-zA-Z0-9_-]*", value) or (name == "stream" and not value):
                raise ValueError(
                    f"{name} ({value!r}) must be made of letters, digits, '_' and '-': "
                    "it becomes part of topics and source names."
                )
        if len(set(self.stream_names)) != len(self.stream_names):
            raise ValueError(
                f"stream ({', '.join(self.stream_names)}) names one twice: events would not tell them apart."
            )

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Names of the streams that have been given one."""
        return (self.stream,) if isinstance(self.stream, str) else self.stream

    def digest(self) -> str:
        """``sha256:...`` of all settings but the broker's address, which may hold a password."""
        tree = dataclasses.asdict(self)
        tree["mqtt"].pop("url", None)
        text = json.dumps(tree, sort_keys=True, default=str)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
