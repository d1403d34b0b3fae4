// Archives come from the network: what is hostile or damaged has to be refused by
// name, and never to cost more memory than the file that is wanted.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { ArchiveError, readTgzMember, readZipMember } from "../setup/archive.mjs";
import { pax, tar, tgz, zip } from "./archives.mjs";

let folder;
let count = 0;
before(async () => (folder = await mkdtemp(join(tmpdir(), "loqa-archive-"))));
after(() => rm(folder, { recursive: true, force: true }));

async function file(bytes) {
  const path = join(folder, String((count += 1)));
  await writeFile(path, bytes);
  return path;
}

const CONTENT = Buffer.from("library ".repeat(5000));
const refused = (pattern) => (error) => error instanceof ArchiveError && pattern.test(error.message);

test("one member of a zip file is read, packed or stored", async () => {
  for (const method of [8, 0]) {
    const path = await file(zip([{ name: "other", data: "x" }, { name: "a/lib.so", data: CONTENT, method }], { comment: "made by a test" }));
    assert.deepEqual(await readZipMember(path, "a/lib.so", CONTENT.length), CONTENT);
  }
});

test("hostile and damaged zip files are refused", async () => {
  const member = { name: "lib", data: CONTENT };
  const read = async (bytes, size = CONTENT.length) => readZipMember(await file(bytes), "lib", size);
  await assert.rejects(read(Buffer.from("PK")), refused(/too short/));
  await assert.rejects(read(Buffer.alloc(5000)), refused(/no end of the central directory/));
  await assert.rejects(read(zip([{ name: "../lib", data: "x" }])), refused(/`lib` is not in the archive/));
  await assert.rejects(read(zip([member, member])), refused(/twice/));
  await assert.rejects(read(zip([{ ...member, flags: 1 }])), refused(/encrypted/));
  await assert.rejects(read(zip([{ ...member, method: 12 }])), refused(/method 12/));
  await assert.rejects(read(zip([{ ...member, offset: 4_000_000 }])), refused(/outside the file/));
  await assert.rejects(read(zip([{ ...member, offset: 7 }])), refused(/no local header|outside the file/));
  await assert.rejects(read(zip([member]), 10), refused(/says it holds 40000 bytes, expected 10/));
  const whole = zip([member]);
  await assert.rejects(read(whole.subarray(0, whole.length - 1)), refused(/no end of the central directory/));
  const broken = Buffer.from(whole);
  broken.writeUInt32LE(0xdeadbeef, broken.length - 22 - 46 - 3);
  await assert.rejects(read(broken), refused(/damaged/));
  const far = Buffer.from(whole);
  far.writeUInt32LE(0x7fffffff, far.length - 22 + 16);
  await assert.rejects(read(far), refused(/central directory lies outside/));
});

test("a zip member that unpacks to more than it says is stopped at what was wanted", async () => {
  const bomb = zip([{ name: "lib", data: Buffer.alloc(50_000_000), size: 1000 }]);
  await assert.rejects(readZipMember(await file(bomb), "lib", 1000), refused(/cannot be unpacked to 1000 bytes/));
});

test("one member of a tgz is read, also with long names", async () => {
  const long = `package/${"deep/".repeat(30)}lib.so`;
  for (const members of [
    [{ name: "package/lib.so", data: CONTENT }],
    [{ name: "lib.so", prefix: "package", data: CONTENT }],
    [{ name: "PaxHeader", type: "x", data: pax({ path: "package/lib.so", mtime: "1" }) }, { name: "short", data: CONTENT }],
    [{ name: "global", type: "g", data: pax({ comment: "x" }) }, { name: "package/lib.so", data: CONTENT }],
    [{ name: "first", data: "x".repeat(513) }, { name: "package/", type: "5" }, { name: "package/lib.so", data: CONTENT }, { name: "last", data: "y" }],
  ]) {
    assert.deepEqual(await readTgzMember(await file(tgz(members)), "package/lib.so", CONTENT.length), CONTENT);
  }
  const gnu = tgz([{ name: "././@LongLink", type: "L", data: `${long}\0` }, { name: long.slice(0, 99), data: CONTENT }]);
  assert.deepEqual(await readTgzMember(await file(gnu), long, CONTENT.length), CONTENT);
});

test("hostile and damaged tgz files are refused", async () => {
  const read = async (bytes, size = CONTENT.length, limit) => readTgzMember(await file(bytes), "lib", size, limit);
  await assert.rejects(read(Buffer.from("no gzip at all")), refused(/cannot be unpacked/));
  await assert.rejects(read(tgz([{ name: "other", data: "x" }])), refused(/`lib` is not in the archive/));
  await assert.rejects(read(tgz([{ name: "lib", type: "2" }])), refused(/no regular file/));
  await assert.rejects(read(tgz([{ name: "lib", data: CONTENT }, { name: "lib", data: CONTENT }])), refused(/twice/));
  await assert.rejects(read(tgz([{ name: "lib", data: CONTENT }]), 10), refused(/expected 10/));
  await assert.rejects(read(tgz([{ name: "x", type: "x", data: "x".repeat(70_000) }])), refused(/header is too long/));
  await assert.rejects(read(tgz([{ name: "x", type: "x", data: "99 path=a\n" }])), refused(/pax header is damaged/));
  const whole = tar([{ name: "lib", data: CONTENT }]);
  await assert.rejects(read(gzipSync(whole.subarray(0, 20_000))), refused(/cut off/));
  await assert.rejects(read(tgz([{ name: "lib", data: CONTENT }]).subarray(0, 60)), refused(/cannot be unpacked/));
  const flipped = Buffer.from(whole);
  flipped[0] ^= 0xff;
  await assert.rejects(read(gzipSync(flipped)), refused(/wrong checksum/));
  await assert.rejects(read(tgz([{ name: "zeros", data: Buffer.alloc(5_000_000) }]), 10, 1_000_000), refused(/more than 1000000 bytes/));
});
