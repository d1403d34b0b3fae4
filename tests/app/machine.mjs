// A machine of the test's own for the desktop app: a display, a session bus, a sound server
// with a virtual microphone and speaker, a home. Everything that is started in it carries a
// mark in its environment, so that what stays behind is found whatever it is called, and is
// ended by its process id.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toolsFolder } from "../../tools/setup/paths.mjs";
import { pcm, RATE } from "./speech.mjs";
import { until } from "./webdriver.mjs";

const MARK = "MACHINE_OF_THE_APP_TEST";
/** A session bus without services that start themselves: nothing of the user's desktop is woken. */
const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=BUS_PATH</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`;

export class Machine {
  /** Processes in the order of their start. */
  #started = [];

  /** @param {string} logs folder for the words of everything that is started */
  static async start(logs) {
    const machine = new Machine();
    machine.folder = await mkdtemp(join(tmpdir(), "loqa-app-"));
    machine.logs = logs;
    await mkdir(logs, { recursive: true });
    try {
      await machine.#begin();
    } catch (error) {
      await machine.stop();
      throw error;
    }
    return machine;
  }

  async #begin() {
    const at = (...names) => join(this.folder, ...names);
    for (const name of ["home", "run"]) await mkdir(at(name), { mode: 0o700 });
    const keep = Object.fromEntries(["PATH", "LD_LIBRARY_PATH"].flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
    const bus = at("run", "bus");
    const sound = at("run", "native");
    this.env = {
      ...keep,
      LOQA_TOOLS: toolsFolder(),
      [MARK]: this.folder,
      // As on a bare Debian, where web views have been seen to know no language.
      LC_ALL: "C.UTF-8",
      HOME: at("home"),
      TMPDIR: at("run"),
      XDG_RUNTIME_DIR: at("run"),
      XDG_DATA_HOME: at("home", "data"),
      XDG_CONFIG_HOME: at("home", "config"),
      XDG_CACHE_HOME: at("home", "cache"),
      XDG_SESSION_TYPE: "x11",
      GDK_BACKEND: "x11",
      DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus}`,
      PULSE_RUNTIME_PATH: at("run"),
      PULSE_SERVER: `unix:${sound}`,
      ALSA_CONFIG_PATH: at("alsa.conf"),
      // No services for screen readers wait on this bus.
      NO_AT_BRIDGE: "1",
      GTK_A11Y: "none",
      GSETTINGS_BACKEND: "memory",
      LIBGL_ALWAYS_SOFTWARE: "1",
    };
    this.data = at("home", "data", "loqa");
    await writeFile(at("bus.conf"), BUS.replace("BUS_PATH", bus));
    this.spawn("dbus-daemon", ["--nofork", `--config-file=${at("bus.conf")}`]);
    this.env.DISPLAY = `:${await this.#display()}`;

    await writeFile(at("alsa.conf"), "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n");
    const modules = [
      "module-null-sink sink_name=speaker rate=48000",
      "module-null-sink sink_name=mouth rate=48000",
      "module-remap-source source_name=microphone master=mouth.monitor",
      `module-native-protocol-unix socket=${sound} auth-anonymous=1`,
    ];
    const quiet = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-target=stderr"];
    this.spawn("pulseaudio", [...quiet, ...modules.flatMap((module) => ["-L", module])]);
    await until("the sound server answers", async () => (await this.run("pactl", ["set-default-source", "microphone"])).code === 0);
    await until("the speaker is there", async () => (await this.run("pactl", ["set-default-sink", "speaker"])).code === 0);
    await until("the bus answers", async () => (await this.run("dbus-send", ["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId"])).code === 0);
  }

  /** A display whose number the server itself chooses. */
  async #display() {
    const args = ["-displayfd", "3", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"];
    const server = this.spawn("Xvfb", args, { also: "pipe" });
    let number = "";
    server.stdio[3].setEncoding("utf8").on("data", (text) => (number += text));
    await until("the display is there", () => number.includes("\n") || (server.exitCode !== null && Promise.reject(new Error(`Xvfb ended with ${server.exitCode}`))));
    return number.trim();
  }

  /** Starts something that runs on; its words go to a file. */
  spawn(program, args, { env = {}, also = "ignore", cwd = this.folder } = {}) {
    const child = spawn(program, args, { cwd, env: { ...this.env, ...env }, stdio: ["ignore", "pipe", "pipe", also] });
    const words = createWriteStream(join(this.logs, `${this.#started.length}-${program.split("/").at(-1)}.log`));
    child.stdout.pipe(words, { end: false });
    child.stderr.pipe(words, { end: false });
    child.on("error", (error) => words.write(`${error.message}\n`));
    child.on("close", () => words.end());
    this.#started.push(child);
    return child;
  }

  /** Runs something to its end. @returns {Promise<{code: number, out: Buffer, err: string}>} */
  run(program, args, { cwd = this.folder, patience = 120_000, env = {} } = {}) {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { cwd, env: { ...this.env, ...env }, stdio: ["ignore", "pipe", "pipe"], timeout: patience, killSignal: "SIGKILL" });
      const out = [];
      let err = "";
      child.stdout.on("data", (bytes) => out.push(bytes));
      child.stderr.setEncoding("utf8").on("data", (text) => (err += text));
      child.on("error", reject);
      child.on("close", (code) => resolve({ code: code ?? 128, out: Buffer.concat(out), err }));
    });
  }

  /** Says a recording into the microphone, and returns when it is said. */
  async say(wav) {
    const { code, err } = await this.run("paplay", ["--device=mouth", wav]);
    if (code !== 0) throw new Error(`paplay ended with ${code}: ${err}`);
  }

  /** Listens at the speaker until `stop`, which answers the samples. */
  async listen() {
    const raw = join(this.folder, "run", `heard-${this.#started.length}.raw`);
    const args = ["--device=speaker.monitor", "--raw", `--rate=${RATE}`, "--channels=1", "--format=s16le", "--latency-msec=50", raw];
    const recorder = this.spawn("parecord", args);
    const samples = async () => pcm(await readFile(raw).catch(() => Buffer.alloc(0)));
    await until("the recorder hears", async () => (await samples()).length > 0);
    return {
      samples,
      stop: async () => {
        recorder.kill("SIGTERM");
        await until("the recorder ends", () => recorder.exitCode !== null || recorder.signalCode !== null);
        return samples();
      },
    };
  }

  /** Every process that was started in this machine and runs, whoever started it. */
  async processes() {
    const found = [];
    const mark = `${MARK}=${this.folder}`;
    for (const pid of await readdir("/proc")) {
      if (!/^\d+$/.test(pid)) continue;
      const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
      const command = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      // The bus gets no environment, but its arguments name a folder of this machine.
      if (!environment.split("\0").includes(mark) && !command.some((word) => word.includes(this.folder))) continue;
      // A process that has ended and waits for its parent has no command line left.
      if (command[0]) found.push({ pid: Number(pid), name: command[0].split("/").at(-1), command: command.join(" ").trim() });
    }
    return found;
  }

  /** Processes besides the machine's own. */
  async guests() {
    const own = new Set(this.#started.map(({ pid }) => pid));
    return (await this.processes()).filter(({ pid }) => !own.has(pid));
  }

  /** TCP ports on which these processes listen. */
  async ports(pids) {
    const sockets = new Set();
    for (const pid of pids) {
      for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
        const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
        const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
        if (inode) sockets.add(inode);
      }
    }
    return (await listening()).filter(({ inode }) => sockets.has(inode)).map(({ port }) => port);
  }

  /** Ends everything, the newest first; tells what had to be ended that nobody had started here. */
  async stop() {
    const left = await this.guests().catch(() => []);
    for (const child of [...this.#started].reverse()) {
      if (child.exitCode !== null || child.signalCode !== null || !child.pid) continue;
      const gone = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await gone;
      clearTimeout(hard);
    }
    for (const { pid } of await this.guests().catch(() => [])) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself meanwhile.
      }
    }
    // What still ends may write into the folder that is removed next.
    await until("the last ones end", async () => (await this.guests()).length === 0, 10_000).catch(() => undefined);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
    return left;
  }
}

/** Ports in state LISTEN, with the inode of their socket. */
export async function listening() {
  const found = [];
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const lines = (await readFile(table, "utf8").catch(() => "")).trim().split("\n").slice(1);
    for (const line of lines) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === "0A") found.push({ port: parseInt(local.split(":")[1], 16), inode });
    }
  }
  return found;
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
