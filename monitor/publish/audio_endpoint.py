"""``ws /audio``: a client's audio in, in the protocol of vosk-server, so that its clients work unchanged.

Each binary message, PCM16 mono, is answered by one ``{"partial":...}``, or by one ``{"text":...,"result":[...]}`` where
an utterance has ended, with the emotion beside the words; ``{"eof":1}`` by the last of them. The stream's events
follow after that, or come between the answers as they happen where ``{"config":{"events":true}}`` asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qs

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from monitor.errors import MonitorError
from monitor.events import SAMPLE_RATE_HZ, UtteranceEmotion, WireEvent
from monitor.incoming import AudioSettings, IncomingAudio
from monitor.publish.admission import Admission, Refusal
from monitor.publish.connection import Client, Dropped
from monitor.publish.journal import Journal
from monitor.publish.outbox import Message
from monitor.publish.wire import body_without_transcript, to_json
from monitor.reception import Guest, Reception, ReceptionError

_KNOWN: Final = "config, eof or reset"
_LONGEST_REASON_BYTES: Final = 123
_CLOSE_OF_STATUS: Final = {
    400: CloseCode.POLICY_VIOLATION,
    409: CloseCode.POLICY_VIOLATION,
    503: CloseCode.TRY_AGAIN_LATER,
}


class _Misbehaved(Exception):  # noqa: N818
    """Ends a client's stream, with a reason.

    Attributes:
        code: Of the WebSocket's close.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True)
class _Conversation:
    """What was said to one client, and what is still to be said."""

    transcript: bool
    """Whether the client is told the words."""
    events_live: bool | None = None
    """Whether events come between the answers; None until audio has come, before which it can be asked for."""
    events: deque[bytes] = field(default_factory=deque)
    """To be sent between the answers."""
    judged: list[dict[str, Any]] = field(default_factory=list)
    """Data of utterances that no answer has told yet."""
    first: int = 0
    """Sequence of the stream's first event; 0 before it."""
    last: int = 0
    """Sequence of its latest; what follows under the same name belongs to another client."""

    def take(self, event: WireEvent) -> None:
        self.first = self.first or event.sequence
        self.last = event.sequence or self.last
        body = self.told(event.body)
        if self.events_live is not False:
            self.events.append(body)
        if isinstance(event.happening, UtteranceEmotion):
            self.judged.append(json.loads(body)["data"])

    def told(self, body: bytes) -> bytes:
        """An event as this client gets it."""
        return body if self.transcript else body_without_transcript(body)

    def audio_has_come(self) -> None:
        """What happened before is told only where events were asked for by now."""
        if not self.events_live:
            self.events_live = False
            self.events.clear()

    def answer(self, partial: str) -> bytes:
        """To one message."""
        return (
            self._answered()
            if self.judged
            else to_json({"partial": partial if self.transcript else ""})
        )

    def last_answer(self) -> bytes:
        return self._answered() if self.judged else to_json({"text": ""})

    def _answered(self) -> bytes:
        """Utterances that ended within one message are told as one, with the emotion of the last."""
        told, self.judged = self.judged, []
        said = [utterance["transcript"] for utterance in told if utterance["transcript"]]
        words = [
            {key: word[key] for key in ("conf", "end", "start", "word")}
            for transcript in said
            for word in transcript["words"]
        ]
        text = " ".join(transcript["text"] for transcript in said if transcript["text"])
        result = {"result": words} if words else {}
        return to_json({**result, "text": text, "emotion": told[-1]})


class AudioEndpoint:
    """Serves clients that bring audio, each a stream of its own.

    Args:
        settings: Their limits.
        reception: Has them heard.
        journal: Has their events.
        transcript: False keeps the words from them.
    """

    def __init__(
        self, settings: AudioSettings, reception: Reception, journal: Journal, *, transcript: bool
    ) -> None:
        self._settings = settings
        self._transcript = transcript
        self._reception = reception
        self._journal = journal

    def refusal(self, query: str) -> Refusal | None:
        """Why a client that asks for this is not heard now; None where it is."""
        try:
            self._reception.name_for(Asked.from_query(query).stream)
        except ValueError as error:
            return Refusal(http.HTTPStatus.BAD_REQUEST, str(error))
        except ReceptionError as error:
            return Refusal(http.HTTPStatus(error.status), str(error))
        return None

    async def serve(self, client: Client, admission: Admission) -> None:
        """Hear one client to its end."""
        code, reason = CloseCode.NORMAL_CLOSURE, ""
        try:
            await admission.check_token(client)
            await self._converse(client)
        except ReceptionError as error:
            code, reason = _CLOSE_OF_STATUS[error.status], str(error)
        except _Misbehaved as error:
            code, reason = error.code, str(error)
        except MonitorError as error:
            code, reason = CloseCode.INTERNAL_ERROR, str(error)
        except (ConnectionClosed, Dropped):
            return
        await client.connection.close(code, _shortened(reason))

    async def _converse(self, client: Client) -> None:
        talk = _Conversation(self._transcript)
        audio, asked = IncomingAudio(_address(client)), Asked.from_query(client.query)
        audio.set_rate(asked.sample_rate_hz)
        async with self._reception.guest(asked.stream, audio, talk.take) as guest:
            ended = await self._hear(client, audio, guest, talk)
        if not ended:
            raise _Misbehaved(CloseCode.GOING_AWAY, "the monitor stops")
        talk.audio_has_come()
        await _flush(client, talk)
        await client.send(talk.last_answer())
        if not talk.events_live:
            await self._send_events(client, guest.stream.source, talk)

    async def _hear(
        self, client: Client, audio: IncomingAudio, guest: Guest, talk: _Conversation
    ) -> bool:
        """Answer every message until the client says that it was the last; False where the monitor stops first."""
        while True:
            message = await self._receive(client, guest)
            if message is None:
                return False
            if isinstance(message, str):
                kind, value = _said(message)
                if kind == "eof":
                    return True
                if kind == "config":
                    _configure(audio, talk, value)
                    continue
                await guest.stream.cut()
            else:
                talk.audio_has_come()
                try:
                    await audio.hear(message)
                except ValueError as error:
                    raise _Misbehaved(CloseCode.INVALID_DATA, str(error)) from error
            await guest.stream.settled()
            with contextlib.suppress(ConnectionClosed):  # what it sent before it left is heard
                await _flush(client, talk)
                await client.send(talk.answer(await guest.stream.partial()))

    async def _receive(self, client: Client, guest: Guest) -> str | bytes | None:
        """The next message; None where the monitor stops.

        Raises:
            _Misbehaved: None came for long, or one that is too long.
        """
        receiving = asyncio.ensure_future(client.connection.recv())
        try:
            await asyncio.wait(
                {receiving, guest.hearing},
                timeout=self._settings.idle_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if guest.hearing.done():
                return None
            if not receiving.done():
                raise _Misbehaved(
                    CloseCode.POLICY_VIOLATION,
                    f"nothing came for {self._settings.idle_timeout_s:g} s",
                )
            message = receiving.result()
        finally:
            receiving.cancel()
        if len(message) > self._settings.max_message_bytes:
            raise _Misbehaved(
                CloseCode.MESSAGE_TOO_BIG,
                f"messages have at most {self._settings.max_message_bytes} bytes",
            )
        return message

    async def _send_events(self, client: Client, source: str, talk: _Conversation) -> None:
        """All that happened in the stream, as the journal has it."""
        position = talk.first - 1
        while position < talk.last and (found := self._journal.after(source, position)):
            for item in found:
                position = item.sequence if isinstance(item, Message) else item.last
                if isinstance(item, Message) and position <= talk.last:
                    await client.send(talk.told(item.body))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for in the address of ``/audio``."""

    stream: str | None = None
    """Name of its stream; None for one that is free."""
    sample_rate_hz: int = SAMPLE_RATE_HZ
    """Of its audio, unless it says so itself: some clients of vosk-server have nothing but an address to set."""

    @classmethod
    def from_query(cls, query: str) -> Self:
        """Read ``stream=NAME&sample_rate=HZ``; each may be left out.

        Raises:
            ValueError: Anything else, with what is known.
        """
        given = parse_qs(query, keep_blank_values=True)
        if given.keys() - {"stream", "sample_rate"} or any(len(v) > 1 for v in given.values()):
            raise ValueError("known here are stream=NAME and sample_rate=HZ, each once.")
        rate = given.get("sample_rate", [str(SAMPLE_RATE_HZ)])[0]
        if not rate.isdecimal():
            raise ValueError(f"sample_rate ({rate!r}) must be a number of samples a second.")
        IncomingAudio("").set_rate(int(rate))
        return cls(given.get("stream", [None])[0], int(rate))


def _shortened(reason: str) -> str:
    """What fits into a close frame."""
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON_BYTES].decode(errors="ignore")


async def _flush(client: Client, talk: _Conversation) -> None:
    while talk.events:
        await client.send(talk.events.popleft())


def _said(message: str) -> tuple[str, Any]:
    """What a text message asks for, and its value.

    Raises:
        _Misbehaved: Nothing that is known.
    """
    try:
        tree = json.loads(message)
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        for kind in ("config", "eof", "reset"):
            if kind in tree:
                return kind, tree[kind]
    raise _Misbehaved(CloseCode.INVALID_DATA, f"a text message must be JSON with {_KNOWN}")


def _configure(audio: IncomingAudio, talk: _Conversation, config: Any) -> None:
    """Take what is known of a configuration; vosk-server's clients say more, which changes nothing here.

    Raises:
        _Misbehaved: It cannot be used.
    """
    if not isinstance(config, dict):
        raise _Misbehaved(CloseCode.INVALID_DATA, "config must be a JSON object")
    if config.get("events") is True:
        talk.events_live = True
    rate_hz = config.get("sample_rate")
    if rate_hz is None:
        return
    try:
        # Some clients write 16000.0.
        audio.set_rate(int(rate_hz))
    except (TypeError, ValueError, OverflowError) as error:
        raise _Misbehaved(CloseCode.INVALID_DATA, f"config.sample_rate: {error}") from error


def _address(client: Client) -> str:
    host, port = client.connection.remote_address[:2]
    return f"client {host}:{port}"
