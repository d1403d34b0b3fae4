// A door to the shell for tests of single parts: answers from a table, and events by hand.

import type { Commands, Native, Told } from "../../src/backend";

type Answers = { [C in keyof Commands]?: (given: Commands[C]["given"]) => unknown };

export interface Door extends Native {
  /** What was asked, in order. */
  readonly asked: [command: keyof Commands, given: unknown][];
  tell<E extends keyof Told>(event: E, told: Told[E]): void;
}

export function door(answers: Answers): Door {
  const asked: Door["asked"] = [];
  const takers: [event: keyof Told, take: (told: never) => void][] = [];
  return {
    asked,
    async call(command, ...given) {
      asked.push([command, given[0]]);
      const answer = answers[command] as ((given: unknown) => unknown) | undefined;
      return (await answer?.(given[0])) as never;
    },
    on(event, take) {
      const taker: (typeof takers)[number] = [event, take];
      takers.push(taker);
      return () => void takers.splice(takers.indexOf(taker), 1);
    },
    tell(event, told) {
      for (const [name, take] of [...takers]) if (name === event) take(told as never);
    },
  };
}
