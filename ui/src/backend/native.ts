// The door to the shell of the desktop app: its commands and its events, typed. Only what a
// browser cannot do goes this way; everything else is asked of the hub. In a browser there
// is no such door. Deliberately absent: retrying, and any knowledge of screens.

import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import { ApiError, type FaultCode } from "./client";
import type { TalkMessage } from "./generated";

/** What this app is. */
export interface AppInfo {
  version: string;
  platform: "linux" | "macos" | "windows";
  wayland: boolean;
  firstRun: boolean;
  canUpdate: boolean;
  /** Whether something shows the icon in the tray. */
  hasTray: boolean;
}

/** Why a device is silent; `null` when it is not. */
export type DeviceFault = "missing" | "failed" | null;

export interface TalkSnapshot {
  phase: "offline" | "muted" | "idle" | "listening" | "thinking" | "speaking";
  isMuted: boolean;
  isHeld: boolean;
  session: string | null;
  microphone: DeviceFault;
  speaker: DeviceFault;
}

export interface Device {
  id: string;
  name: string;
  isDefault: boolean;
}

/** What there is and what is chosen; `null` follows the system. */
export interface DeviceList {
  microphones: Device[];
  speakers: Device[];
  microphone: string | null;
  speaker: string | null;
}

export interface Hotkey {
  accelerator: string | null;
  isActive: boolean;
  /** The desktop itself asks the person for the keys. */
  isPortal: boolean;
  problem: string | null;
}

export interface UpdateFound {
  version: string | null;
  problem: string | null;
}

/** Every command: what it is given and what it answers. */
export interface Commands {
  app_info: { given: undefined; answer: AppInfo };
  talk_press: { given: undefined; answer: undefined };
  talk_release: { given: undefined; answer: undefined };
  talk_cancel: { given: undefined; answer: undefined };
  talk_mute: { given: { on: boolean }; answer: undefined };
  talk_text: { given: { text: string; speak: boolean }; answer: undefined };
  talk_fresh: { given: undefined; answer: undefined };
  talk_snapshot: { given: undefined; answer: TalkSnapshot };
  devices_list: { given: undefined; answer: DeviceList };
  devices_choose: { given: { microphone: string | null; speaker: string | null }; answer: undefined };
  devices_listen: { given: { on: boolean }; answer: undefined };
  devices_try_speaker: { given: undefined; answer: undefined };
  preferences_read: { given: undefined; answer: Record<string, unknown> };
  preferences_write: { given: { preferences: Record<string, unknown> }; answer: undefined };
  hotkey_read: { given: undefined; answer: Hotkey };
  hotkey_choose: { given: { accelerator: string | null }; answer: Hotkey };
  autostart_read: { given: undefined; answer: boolean };
  autostart_choose: { given: { on: boolean }; answer: boolean };
  first_run_done: { given: undefined; answer: undefined };
  save_file: { given: { name: string; text: string }; answer: string | null };
  open_main: { given: { route: string }; answer: undefined };
  overlay_hide: { given: undefined; answer: undefined };
  quit: { given: undefined; answer: undefined };
  update_check: { given: undefined; answer: UpdateFound };
  open_link: { given: { name: string }; answer: undefined };
}

/** The names of all commands; a test of the shell compares them with its own list. */
export const COMMANDS = [
  "app_info",
  "talk_press",
  "talk_release",
  "talk_cancel",
  "talk_mute",
  "talk_text",
  "talk_fresh",
  "talk_snapshot",
  "devices_list",
  "devices_choose",
  "devices_listen",
  "devices_try_speaker",
  "preferences_read",
  "preferences_write",
  "hotkey_read",
  "hotkey_choose",
  "autostart_read",
  "autostart_choose",
  "first_run_done",
  "save_file",
  "open_main",
  "overlay_hide",
  "quit",
  "update_check",
  "open_link",
] as const satisfies readonly (keyof Commands)[];

// A command that is missing above does not compile.
type Missing = Exclude<keyof Commands, (typeof COMMANDS)[number]>;
const nothingIsMissing: [Missing] extends [never] ? true : never = true;
void nothingIsMissing;

/** What the shell tells about talking: the actions of `talk/state.ts`, and the devices. */
export type TalkTold =
  | { type: "opened" }
  | { type: "closed" }
  | { type: "held" }
  | { type: "let_go" }
  | { type: "typed"; text: string }
  | { type: "muted"; on: boolean }
  | { type: "playing"; on: boolean }
  | { type: "refused"; fault: FaultCode }
  | { type: "ended" }
  | { type: "fresh" }
  | { type: "hub"; message: TalkMessage }
  | { type: "level"; level: number }
  | { type: "microphone"; fault: DeviceFault }
  | { type: "speaker"; fault: DeviceFault };

/** Every event and what it carries. */
export interface Told {
  talk: TalkTold;
  preferences: Record<string, unknown>;
  navigate: { route: string };
}

/** The shell as the screens see it. */
export interface Native {
  call<C extends keyof Commands>(
    command: C,
    ...given: Commands[C]["given"] extends undefined ? [] : [Commands[C]["given"]]
  ): Promise<Commands[C]["answer"]>;
  /** Listens until the returned function is called. */
  on<E extends keyof Told>(event: E, take: (told: Told[E]) => void): () => void;
}

/** Whether this page stands in a window of the desktop app. */
export function isNative(): boolean {
  return "__TAURI_INTERNALS__" in window;
}

/** The door of this window. */
export function createNative(): Native {
  return {
    async call(command, ...given) {
      try {
        return await invoke(command, given[0]);
      } catch (error) {
        throw asNativeError(error);
      }
    },
    on(event, take) {
      let isOver = false;
      const heard = listen<never>(event, ({ payload }) => {
        if (!isOver) take(payload);
      });
      // A window that may not listen shows what it is told on asking.
      heard.catch(() => undefined);
      return () => {
        isOver = true;
        void heard.then((stop) => stop()).catch(() => undefined);
      };
    },
  };
}

/** The shell rejects with `{ code, message }`; Tauri itself with a text. */
function asNativeError(error: unknown): ApiError {
  if (typeof error === "object" && error !== null && "code" in error && "message" in error) {
    return new ApiError(error.code as FaultCode, String(error.message));
  }
  return new ApiError("unreadable", String(error));
}
