"""The STSER ensemble on its own worker: log-mel grows with the audio, the verdict takes one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitor.events import ModelId, Samples
from monitor.heard_voice import VoiceFile
from monitor.worker import NativeWorker
from stser_core.adaptation import HEARD_FRAMES, LogMelStatistics
from stser_core.ensemble import Stser, Verdict
from stser_core.features import LogMelSettings, LogMelStream


class EnsembleWorker:
    """One thread that loads and owns the ensemble; every stream judges through it.

    Raises:
        stser_core.errors.CheckpointError: On entry, where the checkpoint cannot be used.
    """

    def __init__(self, load: Callable[[], Stser]) -> None:
        self._worker = NativeWorker("stser-inference", load, capacity=64)
        self.model: ModelId
        self.log_mel_settings: LogMelSettings

    async def __aenter__(self) -> Self:
        await self._worker.start()
        identity = await self._worker.call(lambda ensemble: ensemble.model_id)
        self.model = ModelId(identity.name, identity.version, identity.digest)
        self.log_mel_settings = await self._worker.call(lambda ensemble: ensemble.log_mel_settings)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._worker.close()

    def classify(
        self,
        log_mel: NDArray[np.float32],
        words: Sequence[str] | None,
        heard: LogMelStatistics | None,
    ) -> Awaitable[Verdict]:
        """The verdict on one segment; calls are answered in order.

        Args:
            log_mel: Of the segment, not normalised, float32 ``(time, mels)``.
            words: The transcript, or None where there is nothing to read.
            heard: Log-mel statistics of what the stream said before, or None at its start.
        """
        return self._worker.call(lambda ensemble: ensemble.classify(log_mel, words, heard))


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """What the ensemble needs of a segment, besides its words."""

    log_mel: NDArray[np.float32]
    """Not normalised, ``(time, mels)``, without the hangover."""
    before: LogMelStatistics | None
    """Of what the stream said before; None at its start."""


class StreamInference:
    """One stream's side of the ensemble: its log-mel so far and the voice and room it has heard.

    Calls come in stream order from one thread. The log-mel advances with the audio, so that the end
    of a segment leaves only the classifiers to run (1.1 ms of log-mel in each second of speech).
    """

    def __init__(self, ensemble: EnsembleWorker, kept: VoiceFile | None = None) -> None:
        self._ensemble = ensemble
        self._kept = kept
        self._settings = ensemble.log_mel_settings
        self._log_mel = LogMelStream(self._settings)
        self._blocks: list[NDArray[np.float32]] = []
        self._heard = None if kept is None else kept.load(self._settings)

    def begin(self) -> None:
        """A segment has opened."""
        self._log_mel = LogMelStream(self._settings)
        self._blocks = []

    def reset(self) -> None:
        """Forget the voice and the room: the next utterance is as the first of a stream."""
        self._heard = None
        self._keep()

    def feed(self, samples: Samples) -> None:
        """Further audio of the open segment."""
        self._blocks.append(self._log_mel.push(samples))

    def so_far(self) -> HeardSegment:
        """The segment that is open, as if it ended with what was fed last."""
        return HeardSegment(np.concatenate(self._blocks), self._heard)

    def close(self) -> HeardSegment:
        """The segment that was open; from now on, its voice counts as heard."""
        segment = self.so_far()
        heard = LogMelStatistics.of(segment.log_mel)
        merged = heard if self._heard is None else self._heard.merge(heard)
        self._heard = merged.capped(HEARD_FRAMES)
        self._keep()
        return segment

    def _keep(self) -> None:
        if self._kept is not None:
            self._kept.save(self._heard, self._settings)

    def judge(self, segment: HeardSegment, words: Sequence[str] | None) -> Awaitable[Verdict]:
        """The verdict on a segment."""
        return self._ensemble.classify(segment.log_mel, words, segment.before)
