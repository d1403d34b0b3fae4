// A shell that is made up: answers every command of the desktop app and tells what the real
// one would tell. It speaks through Tauri's own mocks, so that everything above the door is
// the product's own code. What was asked of it stands in `asked`, for tests.

import { emit } from "@tauri-apps/api/event";
import { mockIPC } from "@tauri-apps/api/mocks";
import { COMMANDS, type Commands, type DeviceList, type Hotkey, type TalkTold } from "../../src/backend";
import { script } from "./talk";

export interface ShellOptions {
  isFirstRun?: boolean;
  /** What goes on: as of the made-up hub, and `idle`, `muted`, `tapped`, `deaf`. */
  talk?: string;
  /** No microphone, and a speaker that fails. */
  hasNoDevices?: boolean;
  isPortal?: boolean;
  /** Refuses what changes something. */
  isBroken?: boolean;
}

export interface Asked {
  command: string;
  given: Record<string, unknown>;
}

export interface FakeShell {
  asked: Asked[];
  tell: (told: TalkTold) => void;
  navigate: (route: string) => void;
}

/** Puts the shell into the page. */
export function fakeShell(options: ShellOptions): FakeShell {
  const asked: Asked[] = [];
  const device = (id: string, name: string, isDefault = false) => ({ id, name, isDefault });
  let devices: DeviceList = {
    microphones: options.hasNoDevices ? [] : [device("m-1", "Built-in microphone", true), device("m-2", "USB headset")],
    speakers: options.hasNoDevices ? [] : [device("s-1", "Built-in speaker", true), device("s-2", "USB headset")],
    microphone: null,
    speaker: null,
  };
  let hotkey: Hotkey = {
    accelerator: "CommandOrControl+Alt+Space",
    isActive: !options.isBroken,
    isPortal: options.isPortal ?? false,
    problem: options.isBroken ? "Another program holds these keys: choose others." : null,
  };
  let preferences: Record<string, unknown> = {};
  let isAutostart = false;
  let isMuted = options.talk === "muted";
  let levels: ReturnType<typeof setInterval> | undefined;

  const tell = (told: TalkTold) => void emit("talk", told);
  const listen = (on: boolean) => {
    clearInterval(levels);
    let n = 0;
    if (on && !options.hasNoDevices) {
      levels = setInterval(() => tell({ type: "level", level: 0.25 + 0.2 * Math.sin((n += 1) / 2) }), 50);
    }
  };
  const refuse = () => {
    if (options.isBroken) return Promise.reject({ code: "conflict", message: "made up for a test" });
    return undefined;
  };

  const answers: { [C in keyof Commands]: (given: Commands[C]["given"]) => unknown } = {
    app_info: () => ({
      version: "0.1.0",
      platform: "linux",
      wayland: options.isPortal ?? false,
      firstRun: options.isFirstRun ?? false,
      canUpdate: true,
      hasTray: true,
    }),
    talk_press: () => (isMuted ? tell({ type: "refused", fault: "muted" }) : tell({ type: "held" })),
    talk_release: () => tell({ type: "let_go" }),
    talk_cancel: () => tell({ type: "ended" }),
    talk_mute: ({ on }) => tell({ type: "muted", on: (isMuted = on) }),
    talk_text: ({ text }) => {
      tell({ type: "typed", text });
      for (const message of script("done")) tell({ type: "hub", message });
    },
    talk_fresh: () => tell({ type: "fresh" }),
    talk_snapshot: () => {
      setTimeout(() => play(options.talk ?? "", tell));
      return {
        phase: options.talk === "offline" ? "offline" : isMuted ? "muted" : "idle",
        isMuted,
        isHeld: false,
        session: null,
        microphone: options.hasNoDevices ? "missing" : null,
        speaker: options.hasNoDevices ? "failed" : null,
      };
    },
    devices_list: () => devices,
    devices_choose: (chosen) => refuse() ?? void (devices = { ...devices, ...chosen }),
    devices_listen: ({ on }) => listen(on),
    devices_try_speaker: () => refuse(),
    preferences_read: () => preferences,
    preferences_write: (given) => {
      preferences = given.preferences;
      void emit("preferences", preferences);
    },
    hotkey_read: () => hotkey,
    hotkey_choose: ({ accelerator }) =>
      refuse() ?? (hotkey = { ...hotkey, accelerator, isActive: accelerator !== null, problem: null }),
    autostart_read: () => isAutostart,
    autostart_choose: ({ on }) => refuse() ?? (isAutostart = on),
    first_run_done: () => undefined,
    save_file: ({ name }) => `/home/ada/${name}`,
    open_main: () => undefined,
    overlay_hide: () => undefined,
    quit: () => undefined,
    update_check: () => ({ version: options.isBroken ? null : "0.2.0", problem: null }),
    open_link: () => undefined,
  };

  mockIPC(
    (command, given) => {
      asked.push({ command, given: { ...(given as Record<string, unknown>) } });
      if (!COMMANDS.some((known) => known === command)) throw `Command ${command} not found`;
      return answers[command as keyof Commands](given as never);
    },
    { shouldMockEvents: true },
  );
  return { asked, tell, navigate: (route) => void emit("navigate", { route }) };
}

function play(talk: string, tell: (told: TalkTold) => void) {
  if (["", "idle", "muted", "offline"].includes(talk)) return;
  const isHeld = talk === "listening" || talk === "tapped";
  const messages = script(talk);
  // What was said before stands above; the last turn begins with a key or a text.
  const before = talk === "done" || talk === "failed" ? 0 : 2;
  for (const message of messages.slice(0, before)) tell({ type: "hub", message });
  tell(isHeld ? { type: "held" } : { type: "typed", text: "" });
  for (const message of messages.slice(before)) tell({ type: "hub", message });
  if (isHeld) tell({ type: "level", level: 0.55 });
  if (talk === "speaking") tell({ type: "playing", on: true });
}
