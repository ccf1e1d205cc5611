"""When the monitor had better not name an emotion: the reasons of an ``uncertain`` label."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.events import SAMPLE_RATE_HZ, CloseReason, Segment, Transcript
from stser_core.ensemble import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionSettings:
    """A verdict beyond any of these bounds is published as ``uncertain``, with the reason."""

    min_speech_ms: int = 240
    """Less speech than this is ``too_short`` to judge a voice by."""
    min_snr_db: float = 3.0
    """Speech less far above the noise floor is ``low_snr``."""
    min_transcript_confidence: float = 0.35
    """A transcript below this is not read by the text and bimodal classifiers."""
    min_agreement: float = 0.4
    """Classifiers that agree less than this are ``classifiers_disagree``."""
    min_confidence: float = 0.35
    """A best class with less probability than this is ``low_confidence``."""
    not_like_training: bool = True
    """A sound that is not like the model's training speech, such as music or a dog, is
    ``not_like_training``."""

    def __post_init__(self) -> None:
        for name in ("min_transcript_confidence", "min_agreement", "min_confidence"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"abstention.{name} ({value:g}) must be from 0 to 1.")
        if self.min_speech_ms < 0:
            raise ValueError(
                f"abstention.min_speech_ms ({self.min_speech_ms}) must not be negative: "
                "it is a duration. Use 0 to judge segments of any length."
            )


def readable(transcript: Transcript | None, settings: AbstentionSettings) -> bool:
    """Whether a transcript is good enough to be read by the text and bimodal classifiers."""
    return (
        transcript is not None
        and bool(transcript.words)
        and transcript.confidence >= settings.min_transcript_confidence
    )


def reasons(
    segment: Segment,
    transcript: Transcript | None,
    verdict: Verdict,
    settings: AbstentionSettings,
    *,
    judged: bool = True,
) -> tuple[str, ...]:
    """Why the label should be ``uncertain``, in the words of the wire contract; empty where it should not.

    A transcript that is missing or doubtful is no reason while the voice can still be judged: the
    verdict's modalities say that the words were left out. It is one where only the words were asked for.
    Where the ensemble failed (``judged`` is False), nothing is known, whatever was heard: ``low_confidence``.
    """
    found: list[str] = []
    if segment.speech_samples * 1000 < settings.min_speech_ms * SAMPLE_RATE_HZ:
        found.append("too_short")
    if segment.snr_db < settings.min_snr_db:
        found.append("low_snr")
    if segment.clipped:
        found.append("clipped")
    if not verdict.modalities and judged:
        unread = transcript is not None and bool(transcript.words)
        found.append("low_transcript_confidence" if unread else "no_transcript")
    if verdict.agreement < settings.min_agreement:
        found.append("classifiers_disagree")
    if verdict.posterior.confidence < settings.min_confidence or not judged:
        found.append("low_confidence")
    if segment.reason is CloseReason.GAP:
        found.append("audio_gap")
    if settings.not_like_training and verdict.novel:
        found.append("not_like_training")
    return tuple(found)
