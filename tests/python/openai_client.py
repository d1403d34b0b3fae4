"""The openai package, unmodified, against a hub's OpenAI-compatible server.

    python tests/python/openai_client.py BASE_URL KEY_FILE CLIP_WAV TIMER_TEXT OUT_WAV

Does what a program would do and prints one JSON object of what came back; judging it is
the business of `tests/hub/openai.rs`.
"""

import asyncio
import json
import pathlib
import sys
import wave

import openai


def refused(call) -> dict:
    """How the package understands an error."""
    try:
        call()
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return {"class": type(error).__name__, "status": error.status_code, "code": body.get("code"), "param": body.get("param")}
    return {"class": None}


def main() -> dict:
    base_url, key_file, clip, timer_text, out = sys.argv[1:]
    key = pathlib.Path(key_file).read_text(encoding="utf-8").strip()
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=120)
    seen = {"package": openai.__version__}

    seen["models"] = [model.id for model in client.models.list()]
    seen["model"] = client.models.retrieve("loqa").id

    def transcribe(**options):
        with open(clip, "rb") as file:
            return client.audio.transcriptions.create(file=file, **{"model": "whisper-1", **options})

    seen["json"] = transcribe().text
    seen["text"] = transcribe(response_format="text", language="en", temperature=0, prompt="timer")
    verbose = transcribe(response_format="verbose_json")
    seen["verbose"] = {"text": verbose.text, "language": verbose.language, "duration": verbose.duration}
    seen["srt"] = transcribe(response_format="srt")
    seen["vtt"] = transcribe(response_format="vtt", model="loqa")
    seen["stream"] = [event.type for event in transcribe(stream=True)]
    events = list(transcribe(stream=True))
    seen["stream_text"] = events[-1].text

    speech = dict(model="tts-1", voice="alloy", input="The timer is set for five minutes. Have a nice day.")
    with client.audio.speech.with_streaming_response.create(response_format="wav", **speech) as response:
        pieces = list(response.iter_bytes())
        seen["wav_type"] = response.headers["content-type"]
    pathlib.Path(out).write_bytes(b"".join(pieces))
    with wave.open(out, "rb") as reader:
        seen["wav"] = [reader.getnchannels(), reader.getsampwidth(), reader.getframerate()]
    pcm = client.audio.speech.create(response_format="pcm", speed=1.5, **speech).read()
    seen["pcm_seconds"] = len(pcm) / 48000
    seen["wav_seconds"] = (pathlib.Path(out).stat().st_size - 44) / 48000

    chat = dict(model="loqa", messages=[{"role": "user", "content": timer_text}])
    answer = client.chat.completions.create(**chat)
    seen["chat"] = {
        "content": answer.choices[0].message.content,
        "finish_reason": answer.choices[0].finish_reason,
        "loqa": answer.model_extra["loqa"],
    }
    chunks = list(client.chat.completions.create(stream=True, **chat))
    seen["chunks"] = {
        "n": len(chunks),
        "content": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "finish_reason": chunks[-1].choices[0].finish_reason,
        "ids": len({chunk.id for chunk in chunks}),
        "loqa": chunks[-1].model_extra["loqa"],
    }

    async def at_the_same_time():
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=120) as many:
            asked = [many.chat.completions.create(model="loqa", messages=[{"role": "user", "content": "list my timers"}]) for _ in range(3)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]

    seen["together"] = asyncio.run(at_the_same_time())

    def with_key(other):
        return openai.OpenAI(base_url=base_url, api_key=other, max_retries=0)

    message = [{"role": "user", "content": "hello"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    seen["refused"] = {
        "wrong_key": refused(lambda: with_key("sk-loqa-" + "0" * 64).models.list()),
        "other_key": refused(lambda: with_key("x").chat.completions.create(**chat)),
        "model": refused(lambda: client.chat.completions.create(model="gpt-4o", messages=message)),
        "mp3": refused(lambda: client.audio.speech.create(response_format="mp3", **speech)),
        "speed": refused(lambda: client.audio.speech.create(response_format="wav", speed=4.0, **speech)),
        "voice": refused(lambda: client.audio.speech.create(response_format="wav", **{**speech, "voice": "nobody"})),
        "words": refused(lambda: transcribe(response_format="verbose_json", timestamp_granularities=["word"])),
        "not_wav": refused(lambda: client.audio.transcriptions.create(file=("x.mp3", b"ID3" + bytes(64)), model="whisper-1")),
        "language": refused(lambda: transcribe(language="xx")),
        "tools": refused(lambda: client.chat.completions.create(model="loqa", messages=message, tools=[tool])),
        "empty": refused(lambda: client.chat.completions.create(model="loqa", messages=[])),
        "no_word": refused(lambda: client.chat.completions.create(model="loqa", messages=[{"role": "user", "content": "?!"}])),
        "no_word_streamed": refused(
            lambda: client.chat.completions.create(model="loqa", stream=True, messages=[{"role": "user", "content": "?!"}])
        ),
        "path": refused(lambda: client.embeddings.create(model="loqa", input="x")),
    }
    return seen


if __name__ == "__main__":
    print(json.dumps(main()))
