// Something that is fetched: waiting, slow, there, or a fault. A newer request makes the
// answer of an older one count for nothing. Deliberately absent: a cache.

import { untrack } from "svelte";
import { asApiError, type ApiError } from "../backend";

/** When waiting is worth saying, in milliseconds; from the promise. */
export const SLOW_MS = 1_000;

export class Resource<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  isLoading = $state(false);
  /** Waiting for longer than a second. */
  isSlow = $state(false);
  #asked = 0;

  /** Fetches; what is there stays visible meanwhile. */
  async load(fetch: () => Promise<T>): Promise<T | null> {
    this.#asked += 1;
    const mine = this.#asked;
    this.isLoading = true;
    const slow = setTimeout(() => (this.isSlow = mine === this.#asked), SLOW_MS);
    try {
      // An effect that loads must not run again because of what loading reads.
      const value = await untrack(fetch);
      if (mine !== this.#asked) return null;
      this.value = value;
      this.error = null;
      return value;
    } catch (error) {
      if (mine === this.#asked) this.error = asApiError(error);
      return null;
    } finally {
      clearTimeout(slow);
      if (mine === this.#asked) {
        this.isLoading = false;
        this.isSlow = false;
      }
    }
  }

  /** Forgets, for another thing that is to be shown. */
  clear() {
    this.#asked += 1;
    this.value = null;
    this.error = null;
    this.isLoading = false;
    this.isSlow = false;
  }
}
