"""The wyoming package, unmodified, against a hub's Wyoming server.

    python tests/python/wyoming_client.py PORT CLIP_WAV TEXT OUT_WAV

Asks as Home Assistant does and prints one JSON object of what came back; judging it is
the business of `tests/hub/wyoming.rs`.
"""

import asyncio
import importlib.metadata
import json
import sys
import wave

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop, wav_to_chunks
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.handle import Handled, NotHandled
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

PATIENCE = 120


def client(port: int) -> AsyncTcpClient:
    return AsyncTcpClient("127.0.0.1", port, connect_timeout=PATIENCE, read_timeout=PATIENCE)


async def describe(port: int) -> dict:
    async with client(port) as it:
        await it.write_event(Describe().event())
        event = await it.read_event()
        assert Info.is_type(event.type), event
        info = Info.from_event(event)
        return {
            "asr": [[model.name, model.languages] for program in info.asr for model in program.models],
            "tts": [[voice.name, voice.languages] for program in info.tts for voice in program.voices],
            "streaming": [program.supports_synthesize_streaming for program in info.tts],
            "handle": [[model.name, model.languages] for program in info.handle for model in program.models],
            "installed": all(program.installed for program in [*info.asr, *info.tts, *info.handle]),
        }


async def transcribe(port: int, clip: str, **options) -> dict:
    async with client(port) as it:
        await it.write_event(Transcribe(**options).event())
        with wave.open(clip, "rb") as reader:
            for chunk in wav_to_chunks(reader, 1024, start_event=True, stop_event=True):
                await it.write_event(chunk.event())
        while event := await it.read_event():
            if Transcript.is_type(event.type):
                return {"text": Transcript.from_event(event).text}
            if Error.is_type(event.type):
                return {"error": Error.from_event(event).code}
    return {"closed": True}


async def sound(it: AsyncTcpClient, last) -> dict:
    kinds, audio, format = [], b"", None
    while event := await it.read_event():
        if not kinds or kinds[-1] != event.type:
            kinds.append(event.type)
        if AudioStart.is_type(event.type):
            start = AudioStart.from_event(event)
            format = [start.channels, start.width, start.rate]
        elif AudioChunk.is_type(event.type):
            audio += AudioChunk.from_event(event).audio
        elif Error.is_type(event.type):
            return {"error": Error.from_event(event).code}
        if last.is_type(event.type):
            break
    return {"kinds": kinds, "format": format, "seconds": len(audio) / 48000, "audio": audio}


async def synthesize(port: int, text: str, **options) -> dict:
    async with client(port) as it:
        await it.write_event(Synthesize(text=text, **options).event())
        return await sound(it, AudioStop)


async def synthesize_streaming(port: int, text: str) -> dict:
    """In the order in which Home Assistant sends it: the whole text comes again at the end."""
    async with client(port) as it:
        await it.write_event(SynthesizeStart().event())
        for word in text.split(" "):
            await it.write_event(SynthesizeChunk(text=word + " ").event())
        await it.write_event(Synthesize(text=text).event())
        await it.write_event(SynthesizeStop().event())
        return await sound(it, SynthesizeStopped)


async def handle(it: AsyncTcpClient, text: str, conversation=None) -> dict:
    context = {"conversation_id": conversation} if conversation else None
    await it.write_event(Transcript(text=text, context=context, language="en").event())
    event = await it.read_event()
    if Handled.is_type(event.type):
        handled = Handled.from_event(event)
        return {"handled": handled.text, "context": handled.context}
    if NotHandled.is_type(event.type):
        return {"not_handled": NotHandled.from_event(event).text}
    return {"other": event.type}


async def main() -> dict:
    port, clip, text, out = int(sys.argv[1]), *sys.argv[2:]
    seen = {"package": importlib.metadata.version("wyoming"), "describe": await describe(port)}
    seen["transcript"] = await transcribe(port, clip, language="en")
    seen["transcript_plain"] = await transcribe(port, clip)
    seen["transcript_unknown"] = await transcribe(port, clip, language="xx")

    spoken = await synthesize(port, text)
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(24000)
        writer.writeframes(spoken.pop("audio"))
    seen["spoken"] = spoken
    voice = seen["describe"]["tts"][0][0]
    named = await synthesize(port, text, voice=SynthesizeVoice(name=voice))
    named.pop("audio")
    seen["named"] = named
    seen["nobody"] = await synthesize(port, text, voice=SynthesizeVoice(name="nobody"))
    seen["ssml"] = await synthesize(port, "<speak>x</speak>", text_format="ssml")
    seen["nothing"] = await synthesize(port, "?!")
    streamed = await synthesize_streaming(port, text)
    streamed.pop("audio")
    seen["streamed"] = streamed

    async with client(port) as it:
        await it.write_event(Ping(text="there?").event())
        seen["pong"] = Pong.from_event(await it.read_event()).text
        seen["handled"] = await handle(it, "set a tea timer for three minutes", "kitchen")
        seen["again"] = await handle(it, "how much time is left on the tea timer", "kitchen")
        seen["not_handled"] = await handle(it, "?!")
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
