// The question whose turn it is, with its clock, and how it is answered; the same for the
// dialog of a browser and for the window of the desktop app.

import { asApiError, type ApiError } from "../backend";
import { announcer } from "../components/announce.svelte";
import type { Hub } from "../shell/hub.svelte";
import { text } from "../text/text.svelte";
import { current, type Answer } from "./prompts";

export class Asking {
  now = $state(Date.now());
  fault = $state.raw<ApiError | null>(null);
  isBusy = $state(false);
  readonly #hub: Hub;
  readonly #open = $derived.by(() => current(this.#hub.prompts, this.now));
  /** The oldest question that may still be answered. */
  readonly first = $derived(this.#open[0]);
  readonly waiting = $derived(Math.max(0, this.#open.length - 1));

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** Runs the clock while something is open; for an `$effect`. */
  tick(): (() => void) | undefined {
    if (this.#hub.prompts.length === 0) return undefined;
    this.now = Date.now();
    const timer = setInterval(() => (this.now = Date.now()), 1000);
    return () => clearInterval(timer);
  }

  async answer(id: string, given: Answer) {
    if (this.isBusy) return;
    this.isBusy = true;
    this.fault = null;
    try {
      await this.#hub.answer(id, given);
      announcer.say(text().prompts.over);
    } catch (error) {
      this.fault = asApiError(error);
    } finally {
      this.isBusy = false;
    }
  }
}
