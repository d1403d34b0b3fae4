// One line for what happened, said by screen readers and shown for a while.
const SHOWN_MS = 6_000;

class Announcer {
  message = $state("");
  #timer: ReturnType<typeof setTimeout> | undefined;

  say(message: string) {
    this.message = message;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.message = ""), SHOWN_MS);
  }
}

export const announcer = new Announcer();
