// What the Talk screen shows, as a pure function of what happened. Deliberately absent:
// the microphone, the speaker, the socket and the clock.

import type { FaultCode, TalkMessage, TalkSnapshot, TurnEvent, TurnReport } from "../backend";

/** What Loqa does at the moment; each has a shape and a word of its own. */
export type Phase = "offline" | "muted" | "idle" | "listening" | "thinking" | "speaking";

/** What was said and what was answered. */
export interface Exchange {
  turn: string;
  said: string;
  answered: string;
  /** Set when the turn failed. */
  fault: FaultCode | null;
  isCancelled: boolean;
  /** Milliseconds to the first sound. */
  latencyMs: number | null;
}

export interface TalkState {
  isOnline: boolean;
  isMuted: boolean;
  /** The key is down. */
  isHeld: boolean;
  isRunning: boolean;
  /** The turn that runs was stopped; how it ended is told with its report. */
  isStopped: boolean;
  /** Sound of the answer is being played. */
  isSpeaking: boolean;
  session: string | null;
  turn: string | null;
  heard: string;
  isFinal: boolean;
  reply: string;
  exchanges: Exchange[];
  /** Why the last thing that was tried did not begin. */
  fault: FaultCode | null;
}

export type TalkAction =
  | { type: "opened" }
  | { type: "closed" }
  | { type: "held" }
  | { type: "let_go" }
  | { type: "typed"; text: string }
  | { type: "muted"; on: boolean }
  | { type: "playing"; on: boolean }
  | { type: "refused"; fault: FaultCode }
  /** It ends without anything to say about it. */
  | { type: "ended" }
  | { type: "fresh" }
  | { type: "hub"; message: TalkMessage };

/** Exchanges that stay on the screen; older ones are under Sessions. Chosen. */
const MAX_EXCHANGES = 20;

export const START: TalkState = {
  isOnline: false,
  isMuted: false,
  isHeld: false,
  isRunning: false,
  isStopped: false,
  isSpeaking: false,
  session: null,
  turn: null,
  heard: "",
  isFinal: false,
  reply: "",
  exchanges: [],
  fault: null,
};

/** The one word for what goes on. */
export function phase(state: TalkState): Phase {
  if (!state.isOnline) return "offline";
  if (state.isHeld) return "listening";
  if (state.isSpeaking) return "speaking";
  if (state.isRunning) return "thinking";
  return state.isMuted ? "muted" : "idle";
}

/** What the shell says of itself, for a window that opens in the middle of things. */
export function fromSnapshot(state: TalkState, snapshot: TalkSnapshot): TalkState {
  const { phase: now } = snapshot;
  return {
    ...state,
    isOnline: now !== "offline",
    isMuted: snapshot.isMuted,
    isHeld: now === "listening",
    isRunning: now === "listening" || now === "thinking" || now === "speaking",
    isSpeaking: now === "speaking",
    session: snapshot.session,
    fault: now === "offline" || state.fault !== "offline" ? state.fault : null,
  };
}

export function step(state: TalkState, action: TalkAction): TalkState {
  switch (action.type) {
    case "opened":
      return { ...state, isOnline: true, fault: state.fault === "offline" ? null : state.fault };
    case "closed":
      return { ...ended(state, state.isRunning ? "offline" : null), isOnline: false };
    case "held":
      return { ...begun(state, ""), isHeld: true };
    case "let_go":
      return { ...state, isHeld: false };
    case "typed":
      return { ...begun(state, action.text), isFinal: true };
    case "muted":
      return { ...state, isMuted: action.on };
    case "playing":
      return { ...state, isSpeaking: action.on };
    case "refused":
      return { ...state, isHeld: false, isRunning: false, isSpeaking: false, fault: action.fault };
    case "ended":
      return ended(state, null);
    case "fresh":
      return { ...state, session: null, exchanges: [], heard: "", reply: "", fault: null };
    case "hub":
      return fromHub(state, action.message);
  }
}

function begun(state: TalkState, heard: string): TalkState {
  const rest = { isSpeaking: false, isStopped: false, turn: null, heard, isFinal: false, reply: "", fault: null };
  return { ...state, ...rest, isRunning: true };
}

function fromHub(state: TalkState, message: TalkMessage): TalkState {
  switch (message.type) {
    case "started":
      return { ...state, session: message.session, turn: message.turn, isRunning: true };
    case "event":
      return message.event.turn === state.turn ? onEvent(state, message.event.event) : state;
    case "report":
      return reported(state, message.report);
    case "problem":
      // Orders that come after the end of a turn are refused; that is no fault to show.
      return message.problem.code === "conflict"
        ? state
        : { ...ended(state, null), isHeld: false, fault: message.problem.code };
    case "audio":
    case "audio_end":
    case "audio_stop":
    case "dropped":
      return state;
  }
}

function onEvent(state: TalkState, event: TurnEvent): TalkState {
  switch (event.type) {
    case "transcript_partial":
      return state.isFinal ? state : { ...state, heard: event.text };
    case "transcript_final":
      return { ...state, heard: event.text, isFinal: true };
    case "reply_delta":
      return { ...state, reply: state.reply + event.text };
    case "tool_returned":
      return { ...state, reply: event.say };
    case "speaking_started":
      return state.reply.includes(event.text) ? state : { ...state, reply: join(state.reply, event.text) };
    case "turn_ended":
      return { ...state, isStopped: event.end === "cancelled" };
    default:
      return state;
  }
}

function reported(state: TalkState, report: TurnReport): TalkState {
  const exchange: Exchange = {
    turn: report.turn,
    said: report.transcript || state.heard,
    answered: report.reply,
    fault: report.failure && report.failure.code !== "cancelled" ? report.failure.code : null,
    isCancelled: state.isStopped || report.failure?.code === "cancelled",
    latencyMs: report.latency_ms?.total ?? null,
  };
  return { ...ended(state, null), exchanges: [...state.exchanges, exchange].slice(-MAX_EXCHANGES) };
}

function ended(state: TalkState, fault: FaultCode | null): TalkState {
  const rest = { isRunning: false, isStopped: false, isHeld: false, turn: null, heard: "", isFinal: false, reply: "" };
  return { ...state, ...rest, fault: fault ?? state.fault };
}

function join(before: string, after: string): string {
  return before === "" ? after : `${before} ${after}`;
}
