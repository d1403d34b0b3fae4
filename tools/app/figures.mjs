#!/usr/bin/env node
// `npm run app:figures`: what the built app takes of the machine while it does nothing, and
// how soon it answers, on the same machine of its own as the test of the window. It measures
// and judges nothing; on a busy machine the figures are those of a busy machine.

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { prepare } from "../setup/prepare.mjs";
import { provideVirtualSound } from "../setup/sound.mjs";
import { ROOT, targetFolder } from "../setup/paths.mjs";
import { provideWindow } from "../setup/window.mjs";
import { App } from "../../tests/app/app.mjs";
import { until } from "../../tests/app/webdriver.mjs";

/** Time for what a start leaves to do, before rest is measured. Chosen. */
const SETTLE_MS = 10_000;
const REST_MS = 30_000;
/** Ticks of the processor's clock in a second, on every Linux. */
const TICKS = 100;
const CLIP = join(ROOT, "models", "starter", "speech", "timer.wav");

async function main([count = "20"]) {
  const turns = Number(count);
  if (!Number.isInteger(turns) || turns < 0) {
    process.stderr.write("usage: npm run app:figures -- [TURNS]\n");
    return 2;
  }
  const env = await prepare();
  if (!env || !(await provideVirtualSound(env)) || !(await provideWindow(env))) return 1;
  const logs = join(targetFolder(env), "app-figures");
  await mkdir(logs, { recursive: true });
  const app = await App.onItsMachine(logs);
  try {
    const { readyMs, shownMs } = await app.start();
    print("from the start to ready for the key", `${readyMs} ms`);
    print("from the start to the window's page", `${shownMs} ms`);
    await app.page.find("heading", "What stays here");
    await app.page.click("button", "Leave");
    await app.page.sees(/Ready/);
    await wait(SETTLE_MS);
    await rest(app);
    await answers(app, turns);
  } finally {
    await app.end();
  }
  return 0;
}

/** Memory and processor time by program, while nobody does anything. */
async function rest(app) {
  const before = await usage(app);
  await wait(REST_MS);
  const after = await usage(app);
  for (const [name, { rss, own, ticks }] of after) {
    const cpu = ((ticks - (before.get(name)?.ticks ?? 0)) / TICKS / (REST_MS / 1000)) * 100;
    print(name, `${mb(rss)} resident, ${mb(own)} its own share, ${cpu.toFixed(2)} % of a core over ${REST_MS / 1000} s`);
  }
  const all = (of) => [...after.values()].reduce((sum, one) => sum + one[of], 0);
  print("all of it", `${mb(all("rss"))} resident, ${mb(all("own"))} in proportion`);
}

async function usage(app) {
  const found = new Map();
  for (const { pid, name } of await app.processes()) {
    const [stat, smaps] = await Promise.all(["stat", "smaps_rollup"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")));
    // What follows the name in brackets; the name may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const kb = (label) => Number(new RegExp(`^${label}:\\s+(\\d+)`, "m").exec(smaps)?.[1] ?? 0);
    const one = found.get(name) ?? { rss: 0, own: 0, ticks: 0 };
    found.set(name, { rss: one.rss + kb("Rss"), own: one.own + kb("Pss"), ticks: one.ticks + Number(fields[11] ?? 0) + Number(fields[12] ?? 0) });
  }
  return found;
}

/** Turns by the key, and what the hub measured of them. */
async function answers(app, turns) {
  for (let turn = 0; turn < turns; turn += 1) {
    await app.key("press");
    await until("it listens", async () => (await app.key("status")).phase === "listening");
    await app.machine.say(CLIP);
    await app.key("release");
    await until("the answer is over", async () => (await app.key("status")).phase === "idle");
  }
  const measured = [];
  for (const { session } of (await app.loqa("sessions", "list")).sessions) {
    for (let after = null; ; ) {
      const page = await app.loqa("sessions", "show", session, "--limit", "100", ...(after ? ["--after", after] : []));
      measured.push(...page.turns.map(({ latency_ms: split }) => split).filter(Boolean));
      after = page.next;
      if (!after) break;
    }
  }
  if (measured.length === 0) return;
  print("from the release to the first sample", `${measured.length} of ${turns} turns`);
  for (const part of Object.keys(measured[0])) {
    const values = measured.map((split) => split[part]).sort((a, b) => a - b);
    const at = (of) => values[Math.ceil(values.length * of) - 1].toFixed(1);
    print(`  ${part}`, `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, most ${at(1)} ms`);
  }
}

function mb(kb) {
  return `${(kb / 1000).toFixed(0)} MB`;
}

function print(name, value) {
  process.stdout.write(`${name.padEnd(38)} ${value}\n`);
}

function wait(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

process.exitCode = await main(process.argv.slice(2));
