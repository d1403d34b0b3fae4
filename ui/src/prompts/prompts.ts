// The questions that are open, as a pure function of what the hub says. A question comes
// and goes over the live socket; the snapshot after connecting fills what was missed.

import type { Live, Prompt } from "../backend";

export type Answer = "once" | "session" | "always" | "deny" | "never";

/** A question with the moment at which no answer counts as a no. */
export interface Open {
  prompt: Prompt;
  untilMs: number;
}

/** What is open according to a snapshot; those that are shown already keep their place. */
export function snapshot(open: Open[], prompts: Prompt[], nowMs: number): Open[] {
  const known = open.filter((one) => prompts.some(({ id }) => id === one.prompt.id));
  const fresh = prompts.filter(({ id }) => !known.some((one) => one.prompt.id === id));
  return [...known, ...fresh.map((prompt) => ({ prompt, untilMs: nowMs + prompt.expires_ms }))];
}

export function onLive(open: Open[], live: Live, nowMs: number): Open[] {
  switch (live.type) {
    case "prompt_shown":
      if (open.some(({ prompt }) => prompt.id === live.prompt.id)) return open;
      return [...open, { prompt: live.prompt, untilMs: nowMs + live.prompt.expires_ms }];
    case "prompt_over":
      return without(open, live.prompt);
    case "turn":
    case "notice":
    case "model_pull":
    case "dropped":
      return open;
  }
}

export function without(open: Open[], id: string): Open[] {
  return open.some(({ prompt }) => prompt.id === id) ? open.filter(({ prompt }) => prompt.id !== id) : open;
}

/** Those that may still be answered. */
export function current(open: Open[], nowMs: number): Open[] {
  return open.filter(({ untilMs }) => untilMs > nowMs);
}

/** The answers as buttons: a no first and chosen, a lasting yes last. */
export function ordered(answers: string[]): Answer[] {
  const order: Answer[] = ["deny", "never", "once", "session", "always"];
  return order.filter((answer) => answer === "deny" || answers.includes(answer));
}
