// The events of a turn as a few steps that a person can read. What is only of use to
// programs (partial transcripts, pieces of a reply) is left out or joined. Words are made
// by the catalogue; here is only what they are about.

import type { EventRow, Failure, TurnClass, TurnEnd, TurnSource } from "../backend";

export type Step =
  | { kind: "started"; atMs: number; source: TurnSource }
  | { kind: "spoke"; atMs: number; audioMs: number }
  | { kind: "heard"; atMs: number; text: string; confidence: number }
  | { kind: "rule"; atMs: number; template: string; leftover: string }
  | { kind: "model"; atMs: number; capability: string; isDegraded: boolean }
  | { kind: "tool"; atMs: number; tool: string; skill: string; values: [string, string][] }
  | { kind: "tool_said"; atMs: number; tool: string; say: string; tookMs: number | null }
  | { kind: "denied"; atMs: number; tool: string; failure: Failure }
  | { kind: "spoken"; atMs: number; text: string }
  | { kind: "sound"; atMs: number }
  | { kind: "degraded"; atMs: number; failure: Failure }
  | { kind: "failed"; atMs: number; failure: Failure }
  | { kind: "ended"; atMs: number; end: TurnEnd; turnClass: TurnClass };

/** What happened, in order. Times are milliseconds since the turn began. */
export function timeline(events: EventRow[]): Step[] {
  const steps: Step[] = [];
  let calledAt: number | null = null;
  for (const { event, at_us } of [...events].sort((a, b) => a.seq - b.seq)) {
    const atMs = at_us / 1000;
    switch (event.type) {
      case "turn_started":
        steps.push({ kind: "started", atMs, source: event.source });
        break;
      case "speech_ended":
        steps.push({ kind: "spoke", atMs, audioMs: event.audio_ms });
        break;
      case "transcript_final":
        steps.push({ kind: "heard", atMs, text: event.text, confidence: event.confidence });
        break;
      case "intent_matched":
        steps.push({ kind: "rule", atMs, template: event.template, leftover: event.leftover });
        break;
      case "reply_started":
        steps.push({ kind: "model", atMs, capability: event.capability, isDegraded: event.degraded });
        break;
      case "tool_called":
        calledAt = atMs;
        steps.push({
          kind: "tool",
          atMs,
          tool: event.call.name,
          skill: skillOf(event.call.name),
          values: values(event.call.arguments),
        });
        break;
      case "tool_returned":
        steps.push({
          kind: "tool_said",
          atMs,
          tool: event.name,
          say: event.say,
          tookMs: calledAt === null ? null : atMs - calledAt,
        });
        break;
      case "tool_denied":
        steps.push({ kind: "denied", atMs, tool: event.name, failure: event.failure });
        break;
      case "speaking_started": {
        const last = steps.at(-1);
        if (last?.kind === "spoken") last.text = `${last.text} ${event.text}`;
        else steps.push({ kind: "spoken", atMs, text: event.text });
        break;
      }
      case "first_sound":
        steps.push({ kind: "sound", atMs });
        break;
      case "degraded":
        steps.push({ kind: "degraded", atMs, failure: event.failure });
        break;
      case "turn_failed":
        steps.push({ kind: "failed", atMs, failure: event.failure });
        break;
      case "turn_ended":
        steps.push({ kind: "ended", atMs, end: event.end, turnClass: event.class });
        break;
      case "speech_started":
      case "transcript_partial":
      case "reply_delta":
      case "speaking_finished":
        break;
    }
  }
  return steps;
}

/** `timer.start` is a tool of the skill `timer`. */
export function skillOf(tool: string): string {
  return tool.split(".", 1)[0] ?? tool;
}

/** Arguments as pairs of texts; what is nested stays JSON. */
export function values(of: Record<string, unknown> = {}): [string, string][] {
  return Object.entries(of).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
}

/** A snippet with `[` and `]` around what was searched for, as pieces. */
export function marked(snippet: string): { text: string; isHit: boolean }[] {
  const pieces: { text: string; isHit: boolean }[] = [];
  for (const [n, part] of snippet.split(/[[\]]/).entries()) {
    if (part !== "") pieces.push({ text: part, isHit: n % 2 === 1 });
  }
  return pieces;
}
