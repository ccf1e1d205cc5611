"""Have a monitor hear a recording, or the microphone of this machine: python speak.py URL [FILE.wav]

URL is such as ws://127.0.0.1:8765/audio?stream=kitchen. A recording is PCM16 mono WAV, of any rate.
"""

import asyncio
import json
import sys
import wave
from collections.abc import AsyncIterator

from websockets.asyncio.client import connect

BLOCK_S = 0.2


async def recording(path: str) -> AsyncIterator[tuple[int, bytes]]:
    with wave.open(path) as wav:
        if (wav.getnchannels(), wav.getsampwidth()) != (1, 2):
            sys.exit(
                f"{path}: not PCM16 mono. Convert it: ffmpeg -i IN -ac 1 -c:a pcm_s16le OUT.wav"
            )
        rate = wav.getframerate()
        while block := wav.readframes(round(BLOCK_S * rate)):
            yield rate, block


async def microphone(rate: int = 16_000) -> AsyncIterator[tuple[int, bytes]]:
    import sounddevice

    loop, heard = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    with sounddevice.RawInputStream(
        rate,
        round(BLOCK_S * rate),
        channels=1,
        dtype="int16",
        callback=lambda data, *_: loop.call_soon_threadsafe(heard.put_nowait, bytes(data)),
    ):
        while True:
            yield rate, await heard.get()


async def main(url: str, path: str | None = None) -> None:
    async with connect(url) as monitor:
        configured = False
        async for rate, block in recording(path) if path else microphone():
            if not configured:
                await monitor.send(json.dumps({"config": {"sample_rate": rate}}))
                configured = True
            await monitor.send(block)
            show(await monitor.recv())  # one answer for each message
        await monitor.send('{"eof" : 1}')
        show(await monitor.recv())


def show(answer: str | bytes) -> None:
    said = json.loads(answer)
    if "emotion" in said:
        print(said["emotion"]["label"], said["text"], flush=True)


asyncio.run(main(*sys.argv[1:]))
