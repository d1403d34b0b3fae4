// Fetching against a real HTTP server and real folders; the registries themselves
// are not asked, a source of an unknown package stands for one that is away.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { digestOfBytes } from "../setup/digest.mjs";
import { FetchError, fetchTool, stateOf } from "../setup/fetch.mjs";
import { platformKey } from "../setup/paths.mjs";
import { provideTool } from "../setup/setup.mjs";
import { tgz, zip } from "./archives.mjs";

const PROGRAM = Buffer.from("#!program\n".repeat(2000));
const WHEEL = zip([{ name: "bin/tool", data: PROGRAM }]);
const PACKAGE = tgz([{ name: "package/tool", data: PROGRAM }]);
const TOOL = { name: "tool", version: "1.0.0", executable: true };

let folder;
let server;
let served;
let requests;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "loqa-fetch-"));
  server = createServer((request, response) => {
    requests.push(request.url);
    const body = served[request.url];
    response.writeHead(body ? 200 : 404).end(body ?? "not here");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

function source(archive, bytes, member, changes = {}) {
  return {
    // No registry is asked: without a PATH there is no pip and no npm.
    kind: archive.endsWith(".tgz") ? "npm" : "wheel",
    package: "tool",
    version: "1.0.0",
    platform: "any",
    archive,
    archiveSize: bytes.length,
    archiveSha256: digestOfBytes(bytes),
    member,
    size: PROGRAM.length,
    sha256: digestOfBytes(PROGRAM),
    ...changes,
  };
}

async function fetchWith(sources, files, { mirror } = {}) {
  served = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`/files/${name}`, bytes]));
  requests = [];
  const said = [];
  const place = await mkdtemp(join(folder, "place-"));
  const report = { progress: (text) => said.push(text), warn: (text) => said.push(text) };
  const env = { PATH: join(folder, "empty"), LOQA_MIRROR: mirror ?? `http://127.0.0.1:${server.address().port}/files/` };
  const result = await fetchTool(TOOL, { file: "tool", sources }, place, { env, report }).catch((error) => error);
  return { result, place, said: said.join("\n"), left: await readdir(place) };
}

const wheel = (changes) => source("tool-1.0.0-any.whl", WHEEL, "bin/tool", changes);
const npm = (changes) => source("tool-1.0.0.tgz", PACKAGE, "package/tool", changes);

test("a mirror on the network gives the program", async () => {
  const { result, place, left } = await fetchWith([wheel()], { "tool-1.0.0-any.whl": WHEEL });
  assert.match(result.source, /the mirror http:\/\/127\.0\.0\.1/);
  assert.deepEqual(await readFile(join(place, "tool")), PROGRAM);
  assert.deepEqual(left, ["tool"], "nothing else is left behind");
  if (process.platform !== "win32") assert.equal((await stat(join(place, "tool"))).mode & 0o777, 0o755);
  assert.deepEqual(requests, ["/files/tool-1.0.0-any.whl"]);
});

test("a folder is a mirror too", async () => {
  const mirror = join(folder, "mirror");
  await mkdir(mirror, { recursive: true });
  await writeFile(join(mirror, "tool-1.0.0.tgz"), PACKAGE);
  const { result, place } = await fetchWith([wheel(), npm()], {}, { mirror });
  assert.match(result.source, /the mirror/);
  assert.deepEqual(await readFile(join(place, "tool")), PROGRAM);
});

test("a wrong digest names both digests, the file and the source, and the next source is asked", async () => {
  const forged = zip([{ name: "bin/tool", data: "forged" }]);
  const pinned = wheel({ archiveSize: Math.max(WHEEL.length, forged.length) });
  const { result, said, left } = await fetchWith([pinned, npm()], { "tool-1.0.0-any.whl": forged, "tool-1.0.0.tgz": PACKAGE });
  assert.equal(result.sha256, digestOfBytes(PROGRAM), "the second source was taken");
  for (const part of ["tool-1.0.0-any.whl", "the mirror http", digestOfBytes(forged), digestOfBytes(WHEEL)]) {
    assert.ok(said.includes(part), `${part} in:\n${said}`);
  }
  assert.deepEqual(left, ["tool"]);
});

test("a file that differs inside a right archive is not put in place", async () => {
  const { result, left, said } = await fetchWith([wheel({ sha256: "0".repeat(64) })], { "tool-1.0.0-any.whl": WHEEL });
  assert.ok(result instanceof FetchError);
  assert.ok(said.includes("wrong digest of `bin/tool`") && said.includes("0".repeat(64)) && said.includes(digestOfBytes(PROGRAM)));
  assert.deepEqual(left, []);
});

test("when no source answers, the error lists what each of them said", async () => {
  const { result, left } = await fetchWith([wheel(), npm()], {});
  assert.ok(result instanceof FetchError);
  assert.match(result.message, /answers 404 for `http:.*tool-1\.0\.0-any\.whl`/);
  assert.match(result.message, /pip \(tool==1\.0\.0\): needs Python 3 with pip/);
  assert.match(result.message, /npm \(tool@1\.0\.0\): `npm pack tool@1\.0\.0 .*` was not found/);
  assert.deepEqual(left, []);
});

test("a mirror that cannot be reached and one that sends too much are left", async () => {
  const away = await fetchWith([wheel()], {}, { mirror: "http://127.0.0.1:1" });
  assert.match(away.result.message, /cannot be reached/);
  const flood = await fetchWith([wheel()], { "tool-1.0.0-any.whl": Buffer.alloc(WHEEL.length + 100_000) });
  assert.match(flood.result.message, /sends more than the \d+ bytes of `tool-1\.0\.0-any\.whl`/);
  assert.deepEqual(flood.left, []);
});

test("what is in place is known by its digest", async () => {
  const path = join(folder, "in-place");
  const pin = { file: "in-place", sources: [wheel()] };
  assert.equal(await stateOf(path, pin), "absent");
  await writeFile(path, PROGRAM);
  assert.equal(await stateOf(path, pin), "present");
  await writeFile(path, "something else");
  assert.equal(await stateOf(path, pin), "wrong");
});

test("a second run fetches nothing, and a file that was changed is put right", async () => {
  served = { "/files/tool-1.0.0-any.whl": WHEEL };
  requests = [];
  const place = join(folder, "twice");
  const tool = { ...TOOL, platforms: { [platformKey()]: { file: "tool", sources: [wheel()] } } };
  const said = [];
  const context = {
    check: false,
    env: { PATH: join(folder, "empty"), LOQA_MIRROR: `http://127.0.0.1:${server.address().port}/files` },
    report: { progress: (text) => said.push(text), warn: (text) => said.push(text) },
  };
  assert.equal((await provideTool(tool, place, context)).state, "done");
  said.length = 0;
  assert.equal((await provideTool(tool, place, context)).state, "ok");
  assert.deepEqual(said, []);
  assert.equal(requests.length, 1, "the second run asks nobody");
  await writeFile(join(place, "tool"), "changed by someone");
  assert.match((await provideTool(tool, place, { ...context, check: true })).detail, /is not the pinned file/);
  assert.equal((await provideTool(tool, place, context)).state, "done");
  assert.deepEqual(await readFile(join(place, "tool")), PROGRAM);
});

test("a platform without a build is told which ones there are", async () => {
  const tool = { ...TOOL, platforms: { "plan9-mips": { file: "tool", sources: [wheel()] } } };
  const result = await provideTool(tool, join(folder, "none"), { check: false, env: {}, report: {} });
  assert.deepEqual([result.state, /there is for plan9-mips/.test(result.detail)], ["missing", true]);
});
