"""Sentences said by Debian's synthesisers: flite, espeak-ng and festival, in many manners.

A voice is kept for one side of the split. What is said is drawn so that rare words of the vocabulary
are said, too.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from stser_core.audio import Waveform
from training.errors import TrainingError
from training.recogniser.sentences import Sentence

SAMPLE_RATE_HZ: Final = 16_000
PROGRAMS: Final = ("flite", "espeak-ng", "festival")
"""Each is a Debian package of the same name; festival's voices are packages of their own."""
FESTIVAL_VOICES: Final = {
    "kal_diphone": "festvox-kallpc16k",
    "ked_diphone": "festvox-kdlpc16k",
    "cmu_us_slt_arctic_hts": "festvox-us-slt-hts",
}
"""Voice and the Debian package that has it."""
_FESTIVAL_FOLDER: Final = Path("/usr/share/festival/voices")

Engine = Literal["flite", "espeak-ng", "festival"]


@dataclass(frozen=True, slots=True)
class Voice:
    """One of a synthesiser's voices."""

    engine: Engine
    name: str
    pitch_hz: float = 0.0
    """Usual mean pitch; flite only."""


_ESPEAK_ACCENTS: Final = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland")
_ESPEAK_TRAIN: Final = (
    "m1 m2 m3 m4 m5 m7 m8 f1 f2 f3 Andy Annie Gene john linda steph klatt2 klatt4 anika michael "
    "shelby"
)
_ESPEAK_TEXT: Final = (
    "Alex Alicia Andrea antonio benjamin caleb david Denis ed edward Hugo Lee Marco Mike pablo paul "
    "pedro quincy rob robert sandro travis zac grandma"
)
_NATURAL_TRAIN: Final = (
    Voice("flite", "slt", 172),
    Voice("flite", "rms", 98),
    Voice("flite", "kal16", 105),
    Voice("festival", "cmu_us_slt_arctic_hts"),
    Voice("festival", "kal_diphone"),
)

VOICES: Final[Mapping[str, tuple[Voice, ...]]] = {
    "train": (
        *_NATURAL_TRAIN,
        *(
            Voice("espeak-ng", f"{accent}+{name}")
            for accent in _ESPEAK_ACCENTS
            for name in _ESPEAK_TRAIN.split()
        ),
    ),
    "valid": (
        Voice("flite", "awb", 115),
        Voice("espeak-ng", "en-us+max"),
        Voice("espeak-ng", "en-us+klatt"),
    ),
    "test": (
        Voice("festival", "ked_diphone"),
        *(
            Voice("espeak-ng", f"en-us+{name}")
            for name in ("f4", "m6", "f5", "belinda", "klatt3", "victor")
        ),
    ),
    "text": (
        *_NATURAL_TRAIN,
        *(Voice("espeak-ng", f"en-us+{name}") for name in _ESPEAK_TEXT.split()),
    ),
}
"""No person or variant is on two of the recogniser's sides, ``train``, ``valid`` and ``test``; slt and
kal speak through two programs, on the same side. ``text`` is for sentences that the text branch learns
from: the recogniser's training voices of the more natural programs, and variants that it never heard."""

ENGINE_SHARES: Final = {"flite": 0.55, "festival": 0.2, "espeak-ng": 0.25}
"""How often each program is drawn where a side has voices of it: the more natural, the more often."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and how it is said."""

    words: Sentence
    voice: Voice
    stretch: float = 1.0
    """Duration relative to the voice's usual; above 1 is slower."""
    pitch: float = 1.0
    """Mean pitch relative to the voice's usual."""
    liveliness: float = 1.0
    """Spread of the pitch relative to the voice's usual."""


def missing_packages(programs: Collection[str] = PROGRAMS) -> list[str]:
    """Debian packages that these synthesisers need and this machine lacks."""
    missing = [program for program in PROGRAMS if program in programs and not shutil.which(program)]
    if "festival" in programs:
        missing += [
            package
            for name, package in FESTIVAL_VOICES.items()
            if not any(_FESTIVAL_FOLDER.glob(f"*/{name}"))
        ]
    return missing


def chosen(
    pool: Sequence[Sentence], n: int, words: range, said: Counter[str], rng: np.random.Generator
) -> list[Sentence]:
    """Draw sentences, those with words that have been said least before others.

    Args:
        pool: What there is to say.
        n: Sentences at most.
        words: Lengths that are taken, in words.
        said: How often each word has been said; counted up.
        rng: Breaks the ties.
    """
    fitting = sorted({sentence for sentence in pool if len(sentence) in words})
    order = rng.permutation(len(fitting))
    drawn: dict[Sentence, None] = {}
    for needed in (1, 3, 8):  # every word once, then thrice, then eight times, while there is room
        for index in order:
            sentence = fitting[index]
            rare = min(said[word] for word in sentence) < needed
            if len(drawn) < n // 2 and rare and sentence not in drawn:
                drawn[sentence] = None
                said.update(sentence)
    rest = [fitting[index] for index in order if fitting[index] not in drawn]
    return [*drawn, *rest[: n - len(drawn)]]


def lines(sentences: Sequence[Sentence], side: str, rng: np.random.Generator) -> list[Line]:
    """Give each sentence a voice of that side, and a manner: calm, hurried, high, low, lively or flat."""
    voices = VOICES[side]
    engines = [engine for engine in ENGINE_SHARES if any(v.engine == engine for v in voices)]
    shares = np.array([ENGINE_SHARES[engine] for engine in engines])
    said = []
    for words in sentences:
        engine = engines[rng.choice(len(engines), p=shares / shares.sum())]
        own = [voice for voice in voices if voice.engine == engine]
        stretch, pitch = np.exp(rng.normal(0, 0.14)), np.exp(rng.normal(0, 0.16))
        liveliness = np.exp(rng.normal(0.2, 0.5))
        said.append(Line(words, own[rng.integers(len(own))], stretch, pitch, liveliness))
    return said


def spoken(said: Sequence[Line]) -> Iterator[tuple[Line, NDArray[np.float32]]]:
    """Each line with its speech, float32 ``(samples,)`` at 16 kHz; in the order of the programs.

    Lines that a synthesiser leaves without sound are left out.

    Raises:
        TrainingError: A program is missing or fails.
    """
    if missing := missing_packages({line.voice.engine for line in said}):
        raise TrainingError(
            "Speech synthesis needs: sudo apt-get install -y --no-install-recommends "
            + " ".join(missing)
        )
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "line.wav"
        for line in said:
            if line.voice.engine != "festival":
                _run(_command(line, wav))
                yield from _read(line, wav)
        festival = [line for line in said if line.voice.engine == "festival"]
        for first in range(0, len(festival), 100):
            part = festival[first : first + 100]
            paths = [Path(folder) / f"{number}.wav" for number in range(len(part))]
            script = Path(folder) / "say.scm"
            script.write_text("\n".join(map(_scheme, part, paths)), "utf-8")
            _run(["festival", "-b", str(script)])
            for line, path in zip(part, paths, strict=True):
                yield from _read(line, path)


def _command(line: Line, wav: Path) -> list[str]:
    text = " ".join(line.words)
    if line.voice.engine == "flite":
        prosody = {
            "duration_stretch": line.stretch,
            "int_f0_target_mean": line.voice.pitch_hz * line.pitch,
            "int_f0_target_stddev": 14 * line.liveliness,
        }
        settings = [
            part for key, value in prosody.items() for part in ("--setf", f"{key}={value:.3f}")
        ]
        return ["flite", "-voice", line.voice.name, *settings, "-t", text, "-o", str(wav)]
    pace, pitch = round(165 / line.stretch), round(np.clip(50 * line.pitch, 0, 99))
    return [
        "espeak-ng",
        "-v",
        line.voice.name,
        "-s",
        str(pace),
        "-p",
        str(pitch),
        "-w",
        str(wav),
        text,
    ]


def _scheme(line: Line, wav: Path) -> str:
    return (
        f"(voice_{line.voice.name}) (Parameter.set 'Duration_Stretch {line.stretch:.3f})"
        f'(set! said (Utterance Text "{" ".join(line.words)}")) (utt.synth said)'
        f'(utt.save.wave said "{wav}" \'riff)'
    )


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=300)  # noqa: S603
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", b"") or b""
        raise TrainingError(
            f"{' '.join(command)}: {said.decode(errors='replace')[-300:] or error}"
        ) from error


def _read(line: Line, wav: Path) -> Iterator[tuple[Line, NDArray[np.float32]]]:
    """The line's samples between its first and last sound, and the file removed."""
    if not wav.is_file():
        return
    try:
        channels, rate_hz = soundfile.read(wav, dtype="float32")
    except soundfile.LibsndfileError:
        return
    finally:
        wav.unlink()
    loud = np.flatnonzero(np.abs(channels) > 0.01)
    if len(loud) > rate_hz // 10:
        wave = Waveform.mixed(channels[loud[0] : loud[-1] + 1], rate_hz)
        yield line, wave.resampled(SAMPLE_RATE_HZ).samples
