// What a made-up hub says while one talks: messages that lead to a picture.

import type { TalkMessage } from "../../src/backend";
import * as data from "./data";

/** Messages that lead to a picture of talking. */
export function script(name: string): TalkMessage[] {
  if (name === "") return [];
  const ids = { session: "s-0", turn: "t-0-0" };
  const event = (event: Extract<TalkMessage, { type: "event" }>["event"]["event"]): TalkMessage => ({
    type: "event",
    event: { ...ids, seq: 0, at_us: 0, event },
  });
  const report = (failure: boolean): TalkMessage => ({
    type: "report",
    report: {
      ...ids,
      turn: failure ? "t-0-2" : "t-0-0",
      transcript: failure ? "" : "Set a timer for five minutes.",
      class: "intent",
      tool: null,
      reply: failure ? "" : "Timer set for 5 minutes.",
      latency_ms: failure ? null : (data.latencyTurns[0]?.latency_ms ?? null),
      failure: failure ? { hop: "stt", code: "no_speech", message: "" } : null,
    },
  });
  const done: TalkMessage[] = [{ type: "started", ...ids }, report(false)];
  const live: TalkMessage[] = [...done, { type: "started", ...ids, turn: "t-0-1" }];
  const on = (text: string, type: "transcript_partial" | "transcript_final"): TalkMessage => {
    const message = event(type === "transcript_final" ? { type, text, confidence: 1 } : { type, text });
    if (message.type === "event") message.event.turn = "t-0-1";
    return message;
  };
  const said = (text: string): TalkMessage => {
    const message = event({ type: "reply_delta", text });
    if (message.type === "event") message.event.turn = "t-0-1";
    return message;
  };
  switch (name) {
    case "done":
      return done;
    case "failed":
      return [...done, { type: "started", ...ids, turn: "t-0-2" }, report(true)];
    case "thinking":
      return [...live, on("How long do eggs take until they are hard?", "transcript_final")];
    case "speaking":
      return [
        ...live,
        on("How long do eggs take?", "transcript_final"),
        said("About nine minutes in boiling water, and ten if they come straight out of the fridge."),
        { type: "audio", sample_rate: 24_000 },
      ];
    default:
      return [...live, on("How long do eggs", "transcript_partial")];
  }
}
