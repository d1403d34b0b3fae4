// What came out differently when a session was run again, as rows for a table. Pure.

import type { Failure, ReplayedTurn, ToolCall } from "../backend";

export type What = "transcript" | "tool" | "reply" | "failure";

export interface DifferenceRow {
  what: What;
  before: string;
  after: string;
  isSame: boolean;
}

/** The rows of one turn: what was heard and answered always, the rest where there is any. */
export function rows(difference: ReplayedTurn, failureWords: (failure: Failure) => string): DifferenceRow[] {
  const { transcript, tool, reply, failure } = difference;
  const fault = (value: Failure | null | undefined) => (value ? failureWords(value) : "");
  const all: DifferenceRow[] = [
    { what: "transcript", before: transcript.before, after: transcript.after, isSame: transcript.same },
    { what: "tool", before: call(tool.before), after: call(tool.after), isSame: tool.same },
    { what: "reply", before: reply.before, after: reply.after, isSame: reply.same },
    { what: "failure", before: fault(failure.before), after: fault(failure.after), isSame: failure.same },
  ];
  return all.filter(({ what, before, after }) => what === "transcript" || before !== "" || after !== "");
}

/** Whether it was understood in the same way; another wording of the answer counts, too. */
export function isSame(difference: ReplayedTurn): boolean {
  const { transcript, tool, reply, failure } = difference;
  return transcript.same && tool.same && reply.same && failure.same;
}

/** Milliseconds that the first sound came later this time; `null` where there is no pair. */
export function later(difference: ReplayedTurn): number | null {
  const { before, after } = difference.latency_ms;
  return typeof before === "number" && typeof after === "number" ? after - before : null;
}

/** A call as `timer.start {"minutes":5}`. */
function call(value: ToolCall | null | undefined): string {
  if (!value) return "";
  const given = JSON.stringify(value.arguments ?? {});
  return given === "{}" ? value.name : `${value.name} ${given}`;
}
