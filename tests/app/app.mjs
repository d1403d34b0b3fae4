// The desktop app on its machine: its start through the driver, its windows on the display,
// its key, its command line, and its end.

import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, targetFolder } from "../../tools/setup/paths.mjs";
import { freePort, listening, Machine } from "./machine.mjs";
import { Driver, until } from "./webdriver.mjs";
import { askToClose, picture } from "./x11.mjs";

const BUILT = join(targetFolder(), "debug");
const DESKTOP = process.env.LOQA_TEST_APP ?? join(BUILT, "loqa-desktop");
const LOQA = process.env.LOQA_TEST_PROGRAM ?? join(BUILT, "loqa");
/** As the app's settings name it at first, and as the keyboard does. */
const HOTKEY = ["ctrl", "alt", "space"];

export class App {
  static async onItsMachine(logs) {
    const app = new App();
    app.machine = await Machine.start(logs);
    return app;
  }

  /** Starts it, and waits until the key may be pressed and the window shows it. */
  async start() {
    const port = await freePort();
    // The web view lets itself be driven only when this is set at its start.
    const env = { TAURI_WEBVIEW_AUTOMATION: "true" };
    this.driver = this.machine.spawn("WebKitWebDriver", ["--host=127.0.0.1", `--port=${port}`], { env, cwd: ROOT });
    await until("the driver answers", async () => (await fetch(`http://127.0.0.1:${port}/status`)).ok);
    this.page = new Driver(port);
    const began = Date.now();
    // The driver answers when there is a web view, so the key is looked at meanwhile.
    const driving = this.page.start(DESKTOP);
    const ready = until("it is ready for the key", async () => (await this.key("status")).phase === "idle", 180_000).then(() => Date.now() - began);
    await driving;
    const readyMs = await ready;
    await this.page.window("/ui/");
    await this.page.sees(/\S/);
    return { readyMs, shownMs: Date.now() - began };
  }

  /** What it runs and listens on. */
  async footprint() {
    const processes = await this.processes();
    const ports = await this.machine.ports(processes.map(({ pid }) => pid));
    if (ports.length === 0) throw new Error("it listens on no port, so that none can be seen to be free afterwards");
    const rss = {};
    for (const { pid, name } of processes) {
      const pages = Number((await readFile(`/proc/${pid}/statm`, "utf8").catch(() => "0 0")).split(" ")[1]);
      rss[name] = (rss[name] ?? 0) + Math.round((pages * 4096) / 1e6);
    }
    return { ports, rssMb: rss };
  }

  processes() {
    return this.machine.guests();
  }

  async isListening(port) {
    return (await listening()).some((one) => one.port === port);
  }

  /** `loqa …`, as JSON. */
  async loqa(...args) {
    const { code, out, err } = await this.machine.run(LOQA, ["--json", ...args], { cwd: ROOT });
    if (code !== 0) throw new Error(`loqa ${args.join(" ")} ended with ${code}: ${err}`);
    return JSON.parse(out.toString().trim().split("\n").at(-1));
  }

  key(what) {
    return this.loqa("ptt", what);
  }

  /** A second start of the program. */
  again() {
    return this.machine.run(DESKTOP, [], { cwd: ROOT, patience: 60_000 });
  }

  async packed(folder) {
    const file = join(this.machine.folder, "run", "skill.loqaskill");
    await this.loqa("skill", "pack", folder, "--out", file);
    return file;
  }

  holdHotkey() {
    return this.#xdotool("keydown", ...HOTKEY);
  }

  letGoHotkey() {
    return this.#xdotool("keyup", ...[...HOTKEY].reverse());
  }

  /** The app's windows that can be seen, with their sizes. */
  async windows() {
    const { out } = await this.machine.run("xdotool", ["search", "--onlyvisible", "--name", "^Loqa"]);
    const found = [];
    for (const id of out.toString().split("\n").filter(Boolean)) {
      const { code, out } = await this.machine.run("xdotool", ["getwindowgeometry", "--shell", id]);
      if (code !== 0) continue;
      const read = (name) => Number(new RegExp(`^${name}=(\\d+)`, "m").exec(out.toString())?.[1]);
      found.push({ id: Number(id), width: read("WIDTH"), height: read("HEIGHT") });
    }
    return found;
  }

  /** Closes the main window, as its cross does, and waits until it is gone from the screen. */
  async close() {
    const main = (await this.windows()).find(({ width }) => width >= 800);
    if (!main) throw new Error("there is no main window to close");
    await askToClose(this.machine.env.DISPLAY, main.id);
    await until("the window is hidden", async () => !(await this.windows()).some(({ width }) => width >= 800));
  }

  /** Quits it by its own button. */
  async quit() {
    await this.page.click("link", "Settings");
    try {
      await this.page.click("button", "Quit Loqa");
    } catch (error) {
      // The driver loses the app while it waits for the end of the click.
      if ((await this.processes()).some(({ name }) => name === "loqa-desktop")) {
        await until("it ends", async () => !(await this.processes()).some(({ name }) => name === "loqa-desktop")).catch(() => {
          throw error;
        });
      }
    }
  }

  /** Pictures of the screen and of every window, and what stands in them. */
  async keep(folder) {
    await writeFile(join(folder, "screen.png"), await picture(this.machine.env.DISPLAY)).catch(() => undefined);
    const handles = await this.page?.handles().catch(() => []);
    for (const [n, handle] of (handles ?? []).entries()) {
      try {
        await this.page.switchTo(handle);
        await writeFile(join(folder, `window-${n}.txt`), `${await this.page.url()}\n\n${await this.page.text()}\n`);
        await writeFile(join(folder, `window-${n}.png`), await this.page.screenshot());
      } catch {
        // A window that has gone has no picture.
      }
    }
    const processes = await this.processes().catch(() => []);
    await writeFile(join(folder, "processes.txt"), processes.map(({ pid, command }) => `${pid} ${command}\n`).join(""));
  }

  /** Ends whatever is left. */
  async end() {
    // A key that is still down would be down for the next test, too, if the display lived on.
    await this.machine.stop();
  }

  async #xdotool(...args) {
    const { code, err } = await this.machine.run("xdotool", args);
    if (code !== 0) throw new Error(`xdotool ${args.join(" ")}: ${err}`);
  }
}

/** Whether the programs are there at all. */
export function missingPrograms() {
  return [DESKTOP, LOQA].filter((path) => spawnSync(path, ["--version"], { stdio: "ignore" }).error !== undefined);
}
