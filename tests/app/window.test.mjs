// The built app in a real window, as a person uses it: from the start over a spoken question
// and a skill's question to the end, after which nothing is left. One story on one machine of
// its own; every step waits for what must become true, never for a time.
//
// LOQA_TEST_APP and LOQA_TEST_PROGRAM name the programs; without them they are those of
// cargo's build folder. When a step fails, pictures and logs are kept, and it says where.

import assert from "node:assert/strict";
import { access, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, targetFolder } from "../../tools/setup/paths.mjs";
import { App } from "./app.mjs";
import { judge } from "./speech.mjs";
import { until } from "./webdriver.mjs";

const CLIP = join(ROOT, "models", "starter", "speech", "timer.wav");
const SKILL = join(ROOT, "tests", "app", "skill");
const KEPT = join(targetFolder(), "app-test");
/** Where the story's figures go, one JSON object a line. */
const FIGURES = join(KEPT, "figures.jsonl");

test("the app, from its start to its end", { timeout: 900_000 }, async (t) => {
  const logs = join(KEPT, `run-${process.pid}`);
  const app = await App.onItsMachine(logs);
  const figures = {};
  const step = async (name, act) => {
    const began = Date.now();
    try {
      await act();
    } catch (error) {
      await app.keep(logs);
      error.message = `${name}: ${error.message}\n  pictures and logs: ${logs}`;
      throw error;
    }
    t.diagnostic(`${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  };
  let left = [];
  let own;
  try {
    await step("it starts, and is ready for the key", async () => {
      Object.assign(figures, await app.start());
      await app.page.find("heading", "What stays here");
      await app.page.click("button", "Leave");
      await app.page.find("heading", "Talk");
      await app.page.sees(/Ready/);
      assert.equal((await app.key("status")).phase, "idle");
      own = await app.footprint();
    });

    await step("the hotkey is held, a question is said, the answer is heard", async () => {
      const heard = await app.machine.listen();
      await app.holdHotkey();
      await until("it listens", async () => (await app.key("status")).phase === "listening");
      await app.machine.say(CLIP);
      await app.letGoHotkey();
      await app.page.find("link", "Show in Sessions");
      await app.page.sees(/5 minutes|five minutes/i);
      const verdict = await until("the answer is speech", async () => {
        const verdict = judge(await heard.samples());
        return verdict.isSpeech && verdict;
      });
      figures.heard = verdict;
      await until("it has said it", async () => (await app.key("status")).phase === "idle");
      await heard.stop();
    });

    await step("the same by `loqa ptt`, with the overlay while the window is hidden", async () => {
      await app.close();
      await until("it listens", async () => (await app.key("press")).phase === "listening");
      await until("the overlay is there", async () => (await app.windows()).some(({ height }) => height < 300));
      await app.machine.say(CLIP);
      await app.key("release");
      await app.page.window("/ui/overlay.html");
      await app.page.sees(/5 minutes|five minutes/i);
      await until("it has said it", async () => (await app.key("status")).phase === "idle");
      await until("the overlay goes", async () => (await app.windows()).length === 0);
    });

    await step("a second start shows the window of the first", async () => {
      const { code, err } = await app.again();
      assert.equal(code, 0, err);
      await until("the window is back", async () => (await app.windows()).some(({ width }) => width >= 800));
      await app.page.window("/ui/");
    });

    await step("both turns stand in Sessions, and their time in Latency", async () => {
      await app.page.click("link", "Sessions");
      await app.page.click("link", "/(five|5) minutes/");
      await app.page.click("button", "Show what happened");
      await app.page.sees(/The key was pressed[\s\S]*A rule decided[\s\S]*timer\.start[\s\S]*The turn ended/);
      await app.page.click("link", "Latency");
      await app.page.find("heading", "Last turns");
      await app.page.sees(/Speech recognised/);
    });

    await step("a skill is installed from a file, with its permission sheet", async () => {
      const file = await app.packed(SKILL);
      await app.page.click("link", "Skills");
      await app.page.find("heading", "Skills");
      await app.page.giveFile("input[type=file]", file);
      await app.page.sees(/Install Parrot\?/);
      await app.page.click("button", "Install");
      await app.page.sees(/Parrot is installed/);
    });

    await step("its question comes in a window of its own, and a yes is a yes", async () => {
      await app.page.click("link", "Talk");
      await app.page.type("Or type", "ask the parrot\uE007");
      await app.page.window("/ui/prompt.html");
      await app.page.sees(/Parrot asks/);
      await app.page.click("button", "Always allow");
      await until("the window of the question goes", async () => (await app.page.handles()).length === 2);
      await app.page.window("/ui/");
      await app.page.sees(/Done\./);
    });

    await step("the permission is taken away", async () => {
      await app.page.click("link", "Skills");
      await app.page.click("link", "/Parrot/");
      const grants = async () => (await app.loqa("skill", "grants", "parrot")).grants.map(({ permission }) => permission);
      assert.deepEqual(await grants(), ["transcript:read"]);
      await app.page.click(".permission [role=switch]", "/./");
      await until("it is off", async () => (await grants()).length === 0);
      await app.page.sees(/Not allowed/);
    });

    await step("the record is intact, and tells of it", async () => {
      await app.page.click("link", "Audit");
      await app.page.click("button", "Verify");
      await app.page.sees(/The record is intact/);
      await app.page.sees(/permission taken away/);
    });

    await step("it quits, and nothing is left", async () => {
      await app.quit();
      await until("every process has ended", async () => {
        left = await app.processes();
        if (left.length > 0) throw new Error(left.map(({ pid, command }) => `${pid} ${command}`).join(", "));
        return true;
      });
      for (const port of own.ports) assert.ok(!(await app.isListening(port)), `port ${port} is held`);
      await assert.rejects(access(join(app.machine.data, "run", "hub.json")), "the file that names the hub is gone");
    });
    await mkdir(KEPT, { recursive: true });
    await writeFile(FIGURES, `${JSON.stringify({ ...figures, own })}\n`, { flag: "a" });
    await rm(logs, { recursive: true, force: true });
  } finally {
    await app.end();
  }
});
