"""What is kept of the events: over kills, full disks, age, and other people's files."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.loader import build
from monitor.assembly import choose_journal
from monitor.errors import UsageError
from monitor.events import SpeechBegan, WireEvent
from monitor.publish.journal import Journal, JournalSettings, journal_path
from monitor.publish.outbox import Lost, Message
from monitor.publish.wire import WireEncoder
from monitor.settings import MonitorSettings
from tests.support.happenings import encoded, numbered

DEADLINE_S = 20.0
SOURCE = "/stser/node/mic"
DOOR = "/stser/node/door"
EVENTS = numbered(300)


def journal(path: Path | None, node: str = "node", **settings: Any) -> Journal:
    return Journal(path, node, JournalSettings(**settings))


def aged(path: Path, clock: Callable[[], float]) -> Journal:
    """One whose clock nobody sets."""
    return Journal(path, "node", JournalSettings(), clock, clock)


async def append(kept: Journal, *events: WireEvent) -> Journal:
    async with kept:
        for event in events:
            kept.append(event)
    return kept


def sequences(items: list[Message | Lost]) -> list[int]:
    assert all(isinstance(item, Message) for item in items)
    return [item.sequence for item in items if isinstance(item, Message)]


def test_events_are_read_back_as_they_were_after_a_restart(tmp_path: Path) -> None:
    async def main() -> list[Message | Lost]:
        await append(journal(tmp_path / "j"), *EVENTS[:5])
        async with journal(tmp_path / "j") as kept:
            assert kept.newest(SOURCE) == 5
            return kept.after(SOURCE, 2)

    assert asyncio.run(main()) == [Message.of(event) for event in EVENTS[2:5]]


def test_only_the_user_may_read_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal(tmp_path / "state" / "j") as kept:
            kept.append(EVENTS[0])
            for file in (tmp_path / "state").iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    before = os.umask(0)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_what_was_appended_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    writer = textwrap.dedent(
        f"""
        import asyncio
        from pathlib import Path
        from monitor.publish.journal import Journal, JournalSettings
        from tests.support.happenings import numbered
        async def main():
            path = Path({str(tmp_path / "j")!r})
            async with Journal(path, "node", JournalSettings()) as kept:
                newest = kept.newest({SOURCE!r})
                for event in numbered(newest + 1_000)[newest:]:
                    kept.append(event)
                    print(event.sequence, flush=True)
        asyncio.run(main())
        """
    )
    announced = 0
    for lines in (1, 7, 40):
        process = subprocess.Popen(
            [sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            announced = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        announced = max([announced, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        process.stdout.close()

    async def main() -> tuple[int, list[int]]:
        async with journal(tmp_path / "j") as kept:
            return kept.newest(SOURCE), sequences(kept.after(SOURCE, 0, limit=1_000_000))

    newest, found = asyncio.run(main())
    # One more may be there: committed, and killed before it was announced.
    assert announced <= newest <= announced + 1
    assert found == list(range(1, newest + 1))


def test_oldest_give_way_by_number_and_by_age_and_the_numbering_stays() -> None:
    now = 0.0

    async def main() -> None:
        nonlocal now
        settings = JournalSettings(max_events=20, max_age_h=1.0)
        async with Journal(None, "node", settings, lambda: now, lambda: now) as kept:
            for event in EVENTS[:64]:
                kept.append(event)
            gap, *rest = kept.after(SOURCE, 0)
            assert gap == Lost(SOURCE, 1, 44, 44)
            assert sequences(rest) == list(range(45, 65))
            now = 3_601.0
            for event in EVENTS[64:128]:
                kept.append(event)
            now = 7_300.0
            kept._expire()
            assert kept.after(SOURCE, 0) == [Lost(SOURCE, 1, 128, 128)]
            assert kept.newest(SOURCE) == 128

    asyncio.run(main())


@pytest.mark.parametrize("hours", [-48, 48])
def test_clock_that_is_set_makes_events_neither_older_nor_younger(hours: int) -> None:
    now, ticks = 1e9, 0.0

    async def main() -> None:
        nonlocal now, ticks
        settings = JournalSettings(max_age_h=1.0)
        async with Journal(None, "node", settings, lambda: now, lambda: ticks) as kept:
            for event in EVENTS[:10]:
                kept.append(event)
            now, ticks = now + hours * 3_600 + 1_800, 1_800.0
            kept._expire()
            for event in EVENTS[10:20]:
                kept.append(event)
            assert sequences(kept.after(SOURCE, 0)) == list(range(1, 21))
            now, ticks = now + 2_400, ticks + 2_400
            kept._expire()
            assert kept.after(SOURCE, 0)[0] == Lost(SOURCE, 1, 10, 10)

    asyncio.run(main())


@pytest.mark.parametrize("hours", [-2, 2])
def test_clock_that_is_set_while_the_disk_is_full_costs_no_event_on_it(
    hours: int, tmp_path: Path
) -> None:
    now, ticks = 1e9, 0.0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> None:
        nonlocal now, ticks
        settings = JournalSettings(max_age_h=1.0)
        async with Journal(tmp_path / "j", "node", settings, lambda: now, lambda: ticks) as kept:
            for event in EVENTS[:5]:
                kept.append(event)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                now += hours * 3_600
                kept.append(EVENTS[5])
                assert not kept.durable
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            now, ticks = now + 31, 31.0
            kept.append(EVENTS[6])
            assert kept.durable
            kept._expire()
            assert sequences(kept.after(SOURCE, 0)) == list(range(1, 8))

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGXFSZ, before)


def test_events_that_became_too_old_while_no_monitor_ran_are_gone_at_the_start(
    tmp_path: Path,
) -> None:
    now = 1e9

    async def main() -> None:
        nonlocal now
        await append(aged(tmp_path / "j", lambda: now), *EVENTS[:5])
        now += 7 * 86_400
        async with aged(tmp_path / "j", lambda: now) as kept:
            assert kept.after(SOURCE, 0) == [Lost(SOURCE, 1, 5, 5)]
            assert kept.newest(SOURCE) == 5
        with closing(sqlite3.connect(tmp_path / "j")) as database:
            assert database.execute("SELECT count(*) FROM events").fetchone() == (0,)

    asyncio.run(main())


def test_events_become_too_old_in_silence_too() -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), journal(None, max_age_h=1e-6) as kept:
            for event in EVENTS[:3]:
                kept.append(event)
            while kept.sources:
                await asyncio.to_thread(kept.newest, SOURCE)
            assert kept.after(SOURCE, 0) == [Lost(SOURCE, 1, 3, 3)]

    asyncio.run(main())


def test_clock_that_is_behind_at_the_start_and_set_later_keeps_nothing_for_ever(
    tmp_path: Path,
) -> None:
    now, ticks, years = 1e9, 0.0, 3 * 365 * 86_400.0

    def kept_here() -> Journal:
        return Journal(tmp_path / "j", "node", JournalSettings(), lambda: now, lambda: ticks)

    async def main() -> None:
        nonlocal now, ticks
        await append(kept_here(), *EVENTS[:10])
        now -= years
        async with kept_here() as kept:
            kept.append(EVENTS[10])
            assert sequences(kept.after(SOURCE, 0)) == list(range(1, 12))
            now += years
            kept.append(EVENTS[11])
            assert sequences(kept.after(SOURCE, 0)) == list(range(1, 13))
            now, ticks = now + 86_401, 86_401.0
            kept.append(EVENTS[12])
            kept._expire()
            assert kept.after(SOURCE, 0)[0] == Lost(SOURCE, 1, 12, 12)

    asyncio.run(main())


def test_events_from_the_future_keep_no_others_for_ever(tmp_path: Path) -> None:
    now = 1e9

    async def main() -> None:
        nonlocal now
        await append(aged(tmp_path / "j", lambda: now), *EVENTS[:2])
        with closing(sqlite3.connect(tmp_path / "j")) as database, database:
            database.execute("UPDATE events SET at = at + 1e8 WHERE sequence = 1")
        now += 86_401
        async with aged(tmp_path / "j", lambda: now) as kept:
            assert kept.after(SOURCE, 0) == [Lost(SOURCE, 1, 2, 2)]

    asyncio.run(main())


def test_stream_of_which_nothing_is_kept_is_not_visited_and_its_numbers_go_on(
    tmp_path: Path,
) -> None:
    now = 1e9

    async def main() -> None:
        nonlocal now
        async with aged(tmp_path / "j", lambda: now) as kept:
            for event in of_stream("door", 3):
                kept.append(event)
            now += 86_401
            kept.append(EVENTS[0])
            kept._expire()
            assert kept.sources == (SOURCE,)
        async with aged(tmp_path / "j", lambda: now) as kept:
            assert kept.sources == (SOURCE,)
            assert kept.newest(DOOR) == 3
            kept.append(of_stream("door", 4)[3])
            assert kept.sources == (SOURCE, DOOR)

    asyncio.run(main())


def test_reading_goes_on_where_the_last_read_ended() -> None:
    async def main() -> None:
        async with journal(None) as kept:
            for event in EVENTS:
                kept.append(event)
            read: list[int] = []
            while found := kept.after(SOURCE, read[-1] if read else 0, limit=7):
                read += sequences(found)
            assert read == [event.sequence for event in EVENTS]

    asyncio.run(main())


def test_position_of_a_consumer_survives_and_a_new_one_starts_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal(tmp_path / "j") as kept:
            for event in EVENTS[:9]:
                kept.append(event)
            kept.register("broker")
            assert kept.delivered_to("broker", SOURCE) == 9
            kept.set_delivered("broker", SOURCE, 4)
        async with journal(tmp_path / "j") as kept:
            kept.register("broker")
            assert kept.delivered_to("broker", SOURCE) == 4
            kept.register("another")
            assert kept.delivered_to("another", SOURCE) == 9

    asyncio.run(main())


def test_damaged_journal_is_refused_with_the_remedy(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal(tmp_path / "j") as kept:
            for event in EVENTS[:20]:
                kept.append(event)
        whole = bytearray((tmp_path / "j").read_bytes())
        for at in range(100, len(whole), 7):
            whole[at] ^= 0x5A
        (tmp_path / "j").write_bytes(whole)
        with pytest.raises(UsageError, match=r"not a journal, or damaged .* Move the file away"):
            async with journal(tmp_path / "j"):
                pass

    asyncio.run(main())


def test_full_disk_costs_durability_and_no_event_and_heals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> None:
        nonlocal now
        kept = Journal(tmp_path / "j", "node", JournalSettings(), ticks=lambda: now)
        async with kept:
            for event in EVENTS[:5]:
                kept.append(event)
            kept.register("broker")
            kept.set_delivered("broker", SOURCE, 3)
            # No file may grow: what a full disk does to a write.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                for event in EVENTS[5:10]:
                    kept.append(event)
                assert not kept.durable
                assert sequences(kept.after(SOURCE, 5)) == [6, 7, 8, 9, 10]
                # What is on the disk can be read all the same.
                assert sequences(kept.after(SOURCE, 0)) == list(range(1, 11))
                assert sequences(kept.after(SOURCE, 2, limit=4)) == [3, 4, 5, 6]
                assert kept.delivered_to("broker", SOURCE) == 3
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            now = 31.0
            kept.append(EVENTS[10])
            assert kept.durable
        async with journal(tmp_path / "j") as kept:
            assert sequences(kept.after(SOURCE, 0)) == list(range(1, 12))

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with caplog.at_level(logging.WARNING):
            asyncio.run(main())
    finally:
        signal.signal(signal.SIGXFSZ, before)
    assert ["cannot be written" in caplog.messages[0], len(caplog.messages)] == [True, 2]


def test_place_in_one_source_tells_the_place_in_another_by_the_time() -> None:
    now = 0.0
    of_door = encoded(*(SpeechBegan(number, 0) for number in range(1, 5)), stream="door")

    async def main() -> None:
        nonlocal now
        async with Journal(None, "node", JournalSettings(), clock=lambda: now) as kept:
            # mic 1, door 1, mic 2, door 2, ... a second apart.
            for pair in zip(EVENTS[:4], of_door, strict=True):
                for event in pair:
                    now += 1
                    kept.append(event)
            assert [kept.at_that_time(DOOR, {SOURCE: at}) for at in (1, 2, 3, 4)] == [0, 1, 2, 3]
            assert kept.at_that_time(DOOR, {SOURCE: 2, DOOR: 3}) == 3
            # Nothing is known where nothing has been.
            for nothing in ({}, {SOURCE: 0}, {SOURCE: 10**20}, {"/stser/node/attic": 1}):
                assert kept.at_that_time(DOOR, nothing) == 4

    asyncio.run(main())


@pytest.mark.parametrize("back_s", [30.0, 3_600.0])
def test_clock_that_is_set_back_moves_no_place_in_another_source(back_s: float) -> None:
    now, of_door = 1e9, of_stream("door", 6)

    async def main() -> None:
        nonlocal now
        async with Journal(None, "node", JournalSettings(), lambda: now, lambda: 0.0) as kept:
            for event in (EVENTS[0], *of_door[:2], EVENTS[1]):
                kept.append(event)
            now -= back_s
            for event in of_door[2:]:
                now += 1
                kept.append(event)
            assert kept.at_that_time(DOOR, {SOURCE: 2}) == 2

    asyncio.run(main())


def test_place_in_another_source_is_told_over_a_disk_that_fails_and_works_again(
    tmp_path: Path,
) -> None:
    now, of_door = 0.0, of_stream("door", 4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> None:
        nonlocal now
        kept = Journal(tmp_path / "j", "node", JournalSettings(), ticks=lambda: now)
        pairs = list(zip(EVENTS[:4], of_door, strict=True))
        async with kept:
            for event in (*pairs[0], *pairs[1]):
                kept.append(event)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                for event in pairs[2]:
                    kept.append(event)
                assert not kept.durable
                assert [kept.at_that_time(DOOR, {SOURCE: at}) for at in (1, 2, 3)] == [0, 1, 2]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            now = 31.0
            for event in pairs[3]:
                kept.append(event)
            assert kept.durable
            assert [kept.at_that_time(DOOR, {SOURCE: at}) for at in (1, 2, 3, 4)] == [0, 1, 2, 3]

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGXFSZ, before)


def test_what_a_consumer_has_had_is_known_on_a_full_disk_so_that_it_gets_nothing_twice(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> None:
        async with journal(tmp_path / "j") as kept:
            for event in EVENTS[:5]:
                kept.append(event)
            kept.register("broker")
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                kept.set_delivered("broker", SOURCE, 4)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert kept.delivered_to("broker", SOURCE) == 4

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGXFSZ, before)


def test_second_process_on_the_same_file_is_refused_or_goes_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with journal(tmp_path / "j"):
            with pytest.raises(UsageError, match=r"another monitor.*--stream"):
                await append(journal(tmp_path / "j"))
            other = Journal(tmp_path / "j", "node", JournalSettings(), required=False)
            async with other:
                other.append(EVENTS[0])
                assert not other.durable

    asyncio.run(main())
    assert "in memory only" in caplog.text


def test_file_of_another_node_or_version_or_of_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("dear diary " * 1_000)
    asyncio.run(append(journal(tmp_path / "theirs", "kitchen"), EVENTS[0]))
    asyncio.run(append(journal(tmp_path / "newer"), EVENTS[0]))
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    for name, told in [
        ("text", "not a journal"),
        ("theirs", "belongs to node kitchen"),
        ("newer", "version 9"),
    ]:
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UsageError, match=told):
            asyncio.run(append(journal(tmp_path / name)))
        assert (tmp_path / name).read_bytes() == before


def test_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--journal .*file/j: cannot be written.*'off'"):
        asyncio.run(append(journal(tmp_path / "file" / "j")))


def test_state_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert journal_path("node", "mic") == tmp_path / "stser-monitor" / "node.mic.sqlite3"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/robot")
    expected = Path("/home/robot/.local/state/stser-monitor/node.mic.sqlite3")
    assert journal_path("node", "mic") == expected


@pytest.mark.parametrize(("served", "n_kept"), [(True, 300), (False, 45)])
def test_memory_holds_no_events_that_nobody_can_ask_for(served: bool, n_kept: int) -> None:
    given = {"websocket.enabled": served, "journal.path": "off"}

    async def main() -> list[Message | Lost]:
        kept = choose_journal(build(MonitorSettings, overrides=given), "node", offline=False)
        async with kept:
            for event in EVENTS:
                kept.append(event)
            return kept.after(SOURCE, 0, limit=1_000)

    kept = [item for item in asyncio.run(main()) if isinstance(item, Message)]
    assert len(kept) == n_kept


@pytest.mark.parametrize(("name", "value"), [("max_age_h", 0.0), ("max_events", 0)])
def test_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"journal\.{name}"):
        JournalSettings(**{name: value})  # type: ignore[arg-type]


def of_stream(stream: str, count: int) -> list[WireEvent]:
    encoder = WireEncoder("node", stream)
    return [encoder.encode(SpeechBegan(number, 0)) for number in range(1, count + 1)]


def test_each_source_has_its_own_numbers_and_is_read_apart(tmp_path: Path) -> None:
    mic, door = of_stream("mic", 5), of_stream("door", 3)

    async def main() -> None:
        await append(journal(tmp_path / "j"), mic[0], door[0], mic[1], mic[2], door[1])
        async with journal(tmp_path / "j") as kept:
            assert kept.sources == ("/stser/node/mic", "/stser/node/door")
            assert (kept.newest("/stser/node/mic"), kept.newest("/stser/node/door")) == (3, 2)
            assert kept.newest("/stser/node/attic") == 0
            kept.append(door[2])
            assert kept.after("/stser/node/door", 1) == [Message.of(door[1]), Message.of(door[2])]
            assert sequences(kept.after("/stser/node/mic", 0)) == [1, 2, 3]
            assert kept.after("/stser/node/attic", 0) == []

    asyncio.run(main())


def test_consumer_that_is_known_gets_all_of_a_source_that_begins_later(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal(tmp_path / "j") as kept:
            kept.register("broker")
        async with journal(tmp_path / "j") as kept:
            for event in of_stream("door", 2):
                kept.append(event)
        async with journal(tmp_path / "j") as kept:
            kept.register("broker")
            assert kept.delivered_to("broker", "/stser/node/door") == 0
            assert kept.waiting() == {"broker": 2}

    asyncio.run(main())


def test_consumers_of_earlier_runs_do_not_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal(tmp_path / "j") as kept:
            kept.register("old")
        async with journal(tmp_path / "j") as kept:
            kept.register("new")
            for event in EVENTS[:3]:
                kept.append(event)
            kept.set_delivered("new", SOURCE, 2)
            assert kept.waiting() == {"new": 1}
        async with journal(tmp_path / "j") as kept:
            kept.register("old")
            assert kept.waiting() == {"old": 3}

    asyncio.run(main())


VERSION_1 = """
    CREATE TABLE events (sequence INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE delivered (consumer TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
    CREATE TABLE journal (source TEXT NOT NULL);
    INSERT INTO journal VALUES ('/stser/node/mic');
    INSERT INTO delivered VALUES ('broker', 4);
    PRAGMA user_version = 1;
"""


def test_journal_of_version_1_is_brought_up_to_date_with_all_that_it_holds(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j")) as old:
        old.executescript(VERSION_1)
        old.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?)",
            [(e.sequence, time.time(), e.kind, e.body) for e in EVENTS[2:6]],
        )
        old.commit()

    async def main() -> None:
        for _ in range(2):  # the second time there is nothing left to do
            async with journal(tmp_path / "j") as kept:
                assert kept.newest(SOURCE) == 6
                assert kept.after(SOURCE, 2) == [Message.of(event) for event in EVENTS[2:6]]
                kept.register("broker")
                assert kept.delivered_to("broker", SOURCE) == 4

    asyncio.run(main())


def test_journal_of_version_1_of_another_node_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j")) as old:
        old.executescript(VERSION_1)
    with pytest.raises(UsageError, match="belongs to node node"):
        asyncio.run(append(journal(tmp_path / "j", "kitchen")))
    with closing(sqlite3.connect(tmp_path / "j")) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
