"""What the transcriber promises when recognition is slow or fails, and what Vosk hears."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from monitor.asr import (
    AsrSettings,
    SharedVosk,
    VoskEngine,
    VoskModel,
    VoskTranscriber,
    find_model,
)
from monitor.errors import ModelError
from monitor.events import Samples, Transcript, Word
from tests.support.speech import silence, spoken

Test = Callable[[VoskTranscriber], Awaitable[None]]


class EchoEngine:
    """Answers each segment with one word: how much audio it was given. Can be held up or broken."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails_in = ""
        self.fed: list[int] = []
        self._start = 0

    def begin(self, start: int) -> None:
        self._start = start
        self.fed = []
        self._fail("begin")

    def feed(self, samples: Samples) -> None:
        self.may_go_on.wait()
        self._fail("feed")
        self.fed.append(len(samples))

    def finish(self, end: int) -> Transcript:
        self._fail("finish")
        return Transcript((Word(str(sum(self.fed)), self._start / 16_000, end / 16_000, 1.0),))

    def resume(self, n_samples: int) -> None:
        while sum(self.fed) > n_samples:
            self.fed.pop()

    def _fail(self, where: str) -> None:
        if where == self.fails_in:
            self.fails_in = ""
            raise SystemExit(1)


def with_transcriber(
    test: Test, engine: EchoEngine, *, backlog_s: float = 1.0, late_s: float = 3.0
) -> VoskTranscriber:
    """Run ``test`` with a started transcriber on ``engine``; returns it, closed."""
    settings = AsrSettings(backlog_s=backlog_s, late_s=late_s)
    transcriber = VoskTranscriber(find_model("stser-tiny-en"), settings, load=lambda _: engine)

    async def main() -> None:
        async with transcriber:
            await test(transcriber)

    asyncio.run(main())
    return transcriber


def text(transcript: Transcript | None) -> str | None:
    return None if transcript is None else transcript.text


# --- what may wait -----------------------------------------------------------------------------


def test_everything_that_was_fed_reaches_the_engine_in_blocks_that_ignore_the_feeding() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        for utterance, chunks in enumerate([[3300], [20] * 165, [1599, 1, 1700], [1700, 1600]]):
            transcriber.begin(utterance, 0)
            for chunk in chunks:
                transcriber.feed(np.zeros(chunk, np.float32))
                await transcriber.wait_ready()
            assert text(await transcriber.finish(3300)) == "3300"
            assert engine.fed == [1600, 1600, 100]

    with_transcriber(test, engine)


def test_utterance_that_outgrows_the_backlog_is_given_up_whole_and_the_next_one_is_not() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        engine.may_go_on.clear()
        transcriber.begin(1, 0)
        transcriber.feed(silence(1.0))
        transcriber.feed(silence(0.1))
        slow = transcriber.finish(17_600)
        engine.may_go_on.set()
        assert await slow is None
        assert transcriber.trouble == "the recogniser is 1.0 s behind"
        transcriber.begin(2, 24_000)
        await transcriber.finish(24_000)  # behind all that waits
        transcriber.begin(3, 32_000)
        transcriber.feed(silence(1.0))
        assert text(await transcriber.finish(48_000)) == "16000"

    with_transcriber(test, engine, backlog_s=1.0)


def test_words_that_come_late_are_not_waited_for_where_audio_is_live() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        engine.may_go_on.clear()
        transcriber.begin(1, 0)
        transcriber.feed(silence(0.5))
        assert await transcriber.finish(8_000, live=True) is None
        assert "not known 0.1 s after its end" in transcriber.trouble
        engine.may_go_on.set()
        transcriber.begin(2, 32_000)
        transcriber.feed(silence(0.5))
        assert text(await transcriber.finish(40_000)) == "8000"

    with_transcriber(test, engine, late_s=0.1)


def test_utterance_that_fills_the_backlog_to_the_brim_keeps_its_words() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        engine.may_go_on.clear()
        transcriber.begin(1, 0)
        transcriber.feed(silence(1.0))
        answer = transcriber.finish(16_000)
        engine.may_go_on.set()
        assert text(await answer) == "16000"

    assert not with_transcriber(test, engine, backlog_s=1.0).trouble


def test_next_utterance_may_begin_before_the_words_of_the_last_are_known() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        answers = []
        for utterance, duration_s in enumerate([0.1, 0.2, 0.3]):
            transcriber.begin(utterance, 0)
            transcriber.feed(silence(duration_s))
            answers.append(transcriber.finish(0))
        assert [text(await answer) for answer in answers] == ["1600", "3200", "4800"]

    with_transcriber(test, engine)


def test_source_that_can_wait_waits_while_more_than_a_second_is_undone() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        engine.may_go_on.clear()
        transcriber.begin(1, 0)
        transcriber.feed(silence(1.0))
        await transcriber.wait_ready()
        transcriber.feed(silence(0.1))
        waiting = asyncio.ensure_future(transcriber.wait_ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        engine.may_go_on.set()
        await waiting
        assert text(await transcriber.finish(0)) == "17600"

    assert not with_transcriber(test, engine, backlog_s=5.0).trouble


@pytest.mark.parametrize("known", [False, True], ids=["words not known yet", "words known"])
def test_utterance_that_goes_on_after_its_end_has_the_audio_of_both_parts_in_the_same_blocks(
    known: bool,
) -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        transcriber.begin(1, 0)
        transcriber.feed(np.zeros(3300, np.float32))
        for _ in range(2):
            early = transcriber.finish(3300)
            if known:
                assert text(await early) == "3300"
            else:
                early.cancel()
            transcriber.resume()
        transcriber.feed(np.zeros(1700, np.float32))
        assert text(await transcriber.finish(5000)) == "5000"
        assert engine.fed == [1600, 1600, 1600, 200]

    with_transcriber(test, engine)


def test_an_utterance_cannot_go_on_once_the_next_has_begun() -> None:
    async def test(transcriber: VoskTranscriber) -> None:
        transcriber.begin(1, 0)
        await transcriber.finish(0)
        transcriber.begin(2, 0)
        with pytest.raises(RuntimeError, match="none to go on with"):
            transcriber.resume()

    with_transcriber(test, EchoEngine())


@pytest.mark.parametrize("stage", ["begin", "feed", "finish"])
def test_failure_of_the_recogniser_costs_the_words_of_one_utterance_only(stage: str) -> None:
    engine = EchoEngine()
    engine.fails_in = stage

    async def test(transcriber: VoskTranscriber) -> None:
        for expected in (None, "4800"):
            transcriber.begin(1, 0)
            transcriber.feed(silence(0.3))
            assert text(await transcriber.finish(4800)) == expected

    transcriber = with_transcriber(test, engine)
    assert transcriber.trouble == "SystemExit: 1"


def test_while_no_fresh_recogniser_can_be_had_utterances_are_wordless_for_that_reason() -> None:
    engines = [EchoEngine()]
    hung = engines[0]
    hung.may_go_on.clear()

    def load(_: Path) -> EchoEngine:
        if not engines:
            raise MemoryError("std::bad_alloc")
        return engines.pop()

    async def main() -> None:
        async with VoskTranscriber(
            find_model("stser-tiny-en"), AsrSettings(hang_s=1.0), load=load
        ) as transcriber:
            for utterance in (1, 2):  # during which it hangs; and after
                transcriber.begin(utterance, 0)
                transcriber.feed(silence(0.3))
                assert await transcriber.finish(4800) is None
                assert transcriber.trouble == "the recogniser failed: std::bad_alloc"
            hung.may_go_on.set()

    asyncio.run(main())


def test_leaving_does_not_wait_for_audio_that_nobody_asks_about() -> None:
    engine = EchoEngine()

    async def test(transcriber: VoskTranscriber) -> None:
        engine.may_go_on.clear()
        transcriber.begin(1, 0)
        transcriber.feed(silence(1.0))
        asyncio.get_running_loop().call_soon(engine.may_go_on.set)

    with_transcriber(test, engine)
    assert "stser-asr" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"late_s": 0.0}, r"asr.late_s \(0\) must lie between 0.1 and 300"),
        ({"load_s": 0.5}, r"asr.load_s \(0.5\) must lie between 1 and 3600"),
        ({"hang_s": 0.5}, r"asr.hang_s \(0.5\) must lie between 1 and 600"),
        ({"backlog_s": 0.5}, r"asr.backlog_s \(0.5\) must lie between 1 and 300"),
        ({"models_url": "ftp://host"}, r"asr.models_url \(ftp://host\) must start with https"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AsrSettings(**settings)


# --- Vosk itself -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vosk_engine() -> VoskEngine:
    return VoskEngine(find_model("stser-tiny-en").path)


def recognised(engine: VoskEngine, samples: Samples, *, start: int = 0) -> Transcript:
    engine.begin(start)
    for block in np.array_split(samples, max(1, len(samples) // 1600)):
        engine.feed(block)
    return engine.finish(start + len(samples))


@pytest.mark.parametrize("words", ["leave me alone", "i am so happy today"])
@pytest.mark.parametrize("voice", ["slt", "rms"])
def test_spoken_words_are_the_transcript(vosk_engine: VoskEngine, words: str, voice: str) -> None:
    transcript = recognised(vosk_engine, spoken(words, voice=voice))
    assert transcript.text == words
    assert transcript.confidence > 0.8


def test_segment_that_vosk_cuts_in_two_keeps_the_words_of_both_parts(
    vosk_engine: VoskEngine,
) -> None:
    parts = [spoken("leave me alone"), silence(1.5), spoken("i am so happy today")]
    transcript = recognised(vosk_engine, np.concatenate(parts))
    assert transcript.text == "leave me alone i am so happy today"


def test_word_times_lie_on_the_clock_of_the_stream(vosk_engine: VoskEngine) -> None:
    samples = spoken("leave me alone")
    transcript = recognised(vosk_engine, samples, start=80_000)
    spoken_at = 5.0 + np.flatnonzero(np.abs(samples) > 0.02)[[0, -1]] / 16_000
    assert transcript.words[0].start_s == pytest.approx(spoken_at[0], abs=0.1)
    assert transcript.words[-1].end_s == pytest.approx(spoken_at[1], abs=0.1)
    times = [time for word in transcript.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)


def test_words_of_the_second_part_do_not_start_the_clock_again(vosk_engine: VoskEngine) -> None:
    first, second = spoken("leave me alone"), spoken("i am so happy today")
    transcript = recognised(vosk_engine, np.concatenate([first, silence(1.5), second]))
    offset_s = len(first) / 16_000 + 1.5
    happy = next(word for word in transcript.words if word.word == "happy")
    alone = recognised(vosk_engine, second)
    assert happy.start_s == pytest.approx(
        offset_s + next(word for word in alone.words if word.word == "happy").start_s, abs=0.1
    )


def test_segment_that_goes_on_after_its_end_has_the_very_words_of_one_that_never_ended(
    vosk_engine: VoskEngine,
) -> None:
    samples = np.concatenate([spoken("leave me alone"), spoken("i am so happy today")])
    once = recognised(vosk_engine, samples)
    blocks = np.array_split(samples, len(samples) // 1600)
    vosk_engine.begin(0)
    for number, block in enumerate(blocks):
        vosk_engine.feed(block)
        if number % 7 == 6:
            n_samples = sum(len(block) for block in blocks[: number + 1])
            vosk_engine.feed(silence(0.05))
            vosk_engine.finish(n_samples + 800)
            vosk_engine.resume(n_samples)
    assert vosk_engine.finish(len(samples)) == once


def test_segment_that_was_given_up_leaves_nothing_to_the_next(vosk_engine: VoskEngine) -> None:
    samples = spoken("i am so happy today")
    alone = recognised(vosk_engine, samples)
    vosk_engine.begin(0)
    for block in np.array_split(spoken("leave me alone"), 10):
        vosk_engine.feed(block)
    assert recognised(vosk_engine, samples) == alone


def test_no_word_reaches_beyond_the_end_of_its_segment(vosk_engine: VoskEngine) -> None:
    samples = spoken("leave me alone")
    vosk_engine.begin(16_000)
    vosk_engine.feed(samples)
    words = vosk_engine.finish(16_000 + len(samples) // 2).words
    end_s = 1.0 + len(samples) // 2 / 16_000
    assert [word.word for word in words] == ["leave", "me", "alone"]
    assert all(word.start_s <= word.end_s <= end_s for word in words)


@pytest.mark.parametrize("name", ["silence", "full scale", "a click"])
def test_sound_without_words_has_none(vosk_engine: VoskEngine, name: str) -> None:
    click = silence(0.5)
    click[4000] = 1.0
    sounds = {"silence": silence(1.0), "full scale": np.ones(8000, np.float32), "a click": click}
    assert recognised(vosk_engine, sounds[name]).words == ()


def test_a_train_of_knocks_is_recognised_in_less_time_than_it_lasts_and_leaves_memory_as_it_was(
    vosk_engine: VoskEngine,
) -> None:
    # It sounds like any word at any time: without a bound (--max-mem in the model's conf) its lattice takes
    # minutes and hundreds of megabytes.
    knocks = np.random.default_rng(1).standard_normal(192_000).astype(np.float32) * np.float32(1e-3)
    for at in range(0, len(knocks), 2_000):
        knocks[at : at + 32] = 0.9
    before_mb, began_s = rss_mb(), time.process_time()
    recognised(vosk_engine, np.concatenate([knocks, spoken("leave me alone"), silence(0.5)]))
    assert time.process_time() - began_s < 12
    assert rss_mb() - before_mb < 60


def rss_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_segment_without_audio_has_no_words(vosk_engine: VoskEngine) -> None:
    vosk_engine.begin(0)
    assert vosk_engine.finish(0).words == ()


def test_word_outside_the_vocabulary_leaves_no_placeholder(vosk_engine: VoskEngine) -> None:
    transcript = recognised(vosk_engine, spoken("leave me alone hippopotamus"))
    assert transcript.text.startswith("leave me alone")
    assert "[unk]" not in transcript.text


def test_model_for_another_sample_rate_fails_the_start_and_not_each_utterance(
    tmp_path: Path,
) -> None:
    studio = shutil.copytree(find_model("stser-tiny-en").path, tmp_path / "studio")
    (studio / "conf" / "mfcc.conf").write_text(
        "--sample-frequency=44100\n--num-mel-bins=40\n--num-ceps=40\n"
    )
    with pytest.raises(ModelError, match="sample rate"):
        VoskEngine(studio)


def test_damaged_model_fails_the_start_with_its_path_and_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "am").mkdir()
    (tmp_path / "am" / "final.mdl").write_bytes(b"not a model")
    model = VoskModel(tmp_path, "damaged", embedded=False, notice="")

    async def main() -> None:
        async with VoskTranscriber(model, AsrSettings()):
            pass

    with pytest.raises(ModelError, match=f"{tmp_path}: Vosk cannot use.*leave --vosk-model out"):
        asyncio.run(main())


def test_vosk_is_loaded_without_what_its_downloads_need_until_they_need_it() -> None:
    program = """
import sys
from pathlib import Path
from monitor.asr import VoskEngine
VoskEngine(Path(sys.argv[1]))
import vosk
assert "requests" not in sys.modules
assert vosk.requests.get.__module__ == "requests.api"
assert sys.modules["requests"].get is vosk.requests.get
"""
    model = find_model("stser-tiny-en")
    subprocess.run([sys.executable, "-c", program, model.path], check=True, timeout=60)


def test_a_model_that_is_loaded_ahead_is_the_one_that_streams_get(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[Path] = []
    original = VoskEngine.__init__

    def counted(self: VoskEngine, folder: Path, model: object = None) -> None:
        if model is None:
            loaded.append(folder)
        original(self, folder, model)

    monkeypatch.setattr(VoskEngine, "__init__", counted)
    shared, path = SharedVosk(), find_model("stser-tiny-en").path
    shared.preload(path)
    assert shared.load(path).model is shared.load(path).model
    assert loaded == [path]


def test_a_model_that_cannot_be_loaded_ahead_is_told_by_the_stream_that_needs_it(
    tmp_path: Path,
) -> None:
    shared = SharedVosk()
    shared.preload(tmp_path)
    with pytest.raises(ModelError, match="Vosk cannot use this model"):
        shared.load(tmp_path)
