// The hub as all screens share it: whether it answers, whether one is logged in, what it
// asks the person, and a tick for every turn that ended. Deliberately absent: what belongs
// to one screen.

import { createContext } from "svelte";
import {
  asApiError,
  follow,
  type AppInfo,
  type Client,
  type Live,
  type ModelPull,
  type Native,
  type Status,
} from "../backend";
import { Resource } from "../components/resource.svelte";
import { withPull } from "../models/pulls";
import { onLive, snapshot, without, type Open } from "../prompts/prompts";

/** Time between two looks at the state of the hub, in milliseconds. Chosen. */
const LOOK_MS = 15_000;

export class Hub {
  readonly client: Client;
  /** The shell of the desktop app; `null` in a browser. */
  readonly native: Native | null;
  /** What the shell is, once it has said so. */
  app = $state.raw<AppInfo | null>(null);
  isOnline = $state(false);
  /** Known to be neither; before the first answer nothing is said. */
  isKnown = $state(false);
  needsLogin = $state(false);
  prompts = $state.raw<Open[]>([]);
  /** Downloads of models since the hub started. */
  pulls = $state.raw<ModelPull[]>([]);
  /** Counts turns that ended, so that lists know when to look again. */
  turnsEnded = $state(0);
  readonly status = new Resource<Status>();
  #stop: () => void = () => undefined;

  constructor(client: Client, native: Native | null = null) {
    this.client = client;
    this.native = native;
  }

  /** Connects and stays connected; returns how to stop. */
  start(): () => void {
    void this.look();
    const timer = setInterval(() => void this.look(), LOOK_MS);
    this.#stop = () => clearInterval(timer);
    return () => this.#stop();
  }

  /** Asks the shell once what it is; `null` in a browser. */
  async meetApp(): Promise<AppInfo | null> {
    if (!this.native) return null;
    try {
      this.app = await this.native.call("app_info");
    } catch {
      // An app that does not say what it is offers what every app can do.
    }
    return this.app;
  }

  /** Asks how the hub does; what comes back also tells whether one is logged in. */
  async look() {
    await this.status.load(() => this.client.call("GET /v1/status", {}));
    const fault = this.status.error?.code;
    this.needsLogin = fault === "unauthorized";
    this.isKnown = true;
    if (fault === undefined) this.#listen();
    else if (fault === "offline") this.isOnline = false;
  }

  /** Gives an answer; says what went wrong, if anything did. */
  async answer(id: string, answer: string) {
    try {
      await this.client.call("POST /v1/prompts/{prompt}/answer", { path: { prompt: id }, body: { answer } });
    } catch (error) {
      // Somebody else was faster, or the time was over: there is nothing left to answer.
      if (asApiError(error).code !== "not_found") throw error;
    }
    this.prompts = without(this.prompts, id);
  }

  #isListening = false;

  #listen() {
    if (this.#isListening) return;
    this.#isListening = true;
    const followed = follow<Live>(this.client, "/v1/events", {
      opened: () => {
        this.isOnline = true;
        void this.#catchUp();
      },
      closed: () => {
        this.isOnline = false;
        void this.look();
      },
      message: (live) => this.#take(live),
    });
    const before = this.#stop;
    this.#stop = () => {
      before();
      followed.stop();
    };
  }

  async #catchUp() {
    try {
      const { prompts } = await this.client.call("GET /v1/prompts", {});
      this.prompts = snapshot(this.prompts, prompts, Date.now());
    } catch {
      // The next connection asks again.
    }
    await this.lookForPulls();
  }

  async lookForPulls() {
    try {
      this.pulls = (await this.client.call("GET /v1/models/pulls", {})).pulls;
    } catch {
      // The next connection asks again.
    }
  }

  pulled(pull: ModelPull) {
    this.pulls = withPull(this.pulls, pull);
  }

  #take(live: Live) {
    if (live.type === "model_pull") {
      this.pulled(live.pull);
      return;
    }
    this.prompts = onLive(this.prompts, live, Date.now());
    if (live.type === "turn" && live.event.event.type === "turn_ended") this.turnsEnded += 1;
    if (live.type === "dropped") void this.#catchUp();
  }
}

export const [getHub, setHub] = createContext<Hub>();
