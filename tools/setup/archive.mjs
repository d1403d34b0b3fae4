// Takes one file out of an archive whose digest was checked before. It writes
// nothing: the caller gets the bytes. Only the parts of zip and tar that the
// registries use are read; everything else is refused by name, never skipped.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createGunzip, inflateRawSync } from "node:zlib";

/** An archive that cannot be read, or does not hold what it should. */
export class ArchiveError extends Error {
  constructor(message) {
    super(message);
    this.name = "ArchiveError";
  }
}

const EOCD_SIGNATURE = 0x06054b50;
const CENTRAL_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const EOCD_LENGTH = 22;
const MAX_COMMENT = 0xffff;

/**
 * Reads one member of a zip file (a Python wheel is one).
 * @param {string} path the archive
 * @param {string} member exact name of the member
 * @param {number} size how many bytes it holds; more is refused before it is unpacked
 * @returns {Promise<Buffer>}
 */
export async function readZipMember(path, member, size) {
  const file = await open(path, "r");
  try {
    const { size: length } = await file.stat();
    const entry = await findCentralEntry(file, length, member);
    if (entry.flags & 0x1) throw new ArchiveError(`\`${member}\` is encrypted`);
    if (entry.uncompressed !== size) {
      throw new ArchiveError(`\`${member}\` says it holds ${entry.uncompressed} bytes, expected ${size}`);
    }
    const local = await readAt(file, length, entry.offset, 30, "local header");
    if (local.readUInt32LE(0) !== LOCAL_SIGNATURE) throw new ArchiveError(`no local header for \`${member}\``);
    const start = entry.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    const data = await readAt(file, length, start, entry.compressed, "member");
    if (entry.method === 0) {
      if (data.length !== size) throw new ArchiveError(`\`${member}\` holds ${data.length} bytes, expected ${size}`);
      return data;
    }
    if (entry.method !== 8) throw new ArchiveError(`\`${member}\` is packed with method ${entry.method}, only 0 and 8 are read`);
    return inflate(data, member, size);
  } finally {
    await file.close();
  }
}

function inflate(data, member, size) {
  let bytes;
  try {
    bytes = inflateRawSync(data, { maxOutputLength: Math.max(size, 1) });
  } catch (error) {
    throw new ArchiveError(`\`${member}\` cannot be unpacked to ${size} bytes: ${error.message}`);
  }
  if (bytes.length !== size) throw new ArchiveError(`\`${member}\` unpacks to ${bytes.length} bytes, expected ${size}`);
  return bytes;
}

async function findCentralEntry(file, length, member) {
  const tail = Math.min(length, EOCD_LENGTH + MAX_COMMENT);
  if (tail < EOCD_LENGTH) throw new ArchiveError("not a zip file: too short");
  const end = await readAt(file, length, length - tail, tail, "end of the file");
  let at = end.length - EOCD_LENGTH;
  while (at >= 0 && !(end.readUInt32LE(at) === EOCD_SIGNATURE && end.readUInt16LE(at + 20) === end.length - at - EOCD_LENGTH)) at -= 1;
  if (at < 0) throw new ArchiveError("not a zip file: no end of the central directory");
  const count = end.readUInt16LE(at + 10);
  const directoryLength = end.readUInt32LE(at + 12);
  const directoryOffset = end.readUInt32LE(at + 16);
  if (count === 0xffff || directoryOffset === 0xffffffff) throw new ArchiveError("zip64 is not read");
  const directory = await readAt(file, length, directoryOffset, directoryLength, "central directory");
  let found;
  for (let index = 0, position = 0; index < count; index += 1) {
    if (position + 46 > directory.length || directory.readUInt32LE(position) !== CENTRAL_SIGNATURE) {
      throw new ArchiveError("the central directory is damaged");
    }
    const nameLength = directory.readUInt16LE(position + 28);
    const next = position + 46 + nameLength + directory.readUInt16LE(position + 30) + directory.readUInt16LE(position + 32);
    if (next > directory.length) throw new ArchiveError("the central directory is damaged");
    const name = directory.toString("utf8", position + 46, position + 46 + nameLength);
    if (name === member) {
      if (found) throw new ArchiveError(`\`${member}\` stands in the archive twice`);
      found = {
        flags: directory.readUInt16LE(position + 8),
        method: directory.readUInt16LE(position + 10),
        compressed: directory.readUInt32LE(position + 20),
        uncompressed: directory.readUInt32LE(position + 24),
        offset: directory.readUInt32LE(position + 42),
      };
    }
    position = next;
  }
  if (!found) throw new ArchiveError(`\`${member}\` is not in the archive`);
  return found;
}

async function readAt(file, fileLength, position, length, what) {
  if (position < 0 || length < 0 || position + length > fileLength) {
    throw new ArchiveError(`the ${what} lies outside the file`);
  }
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead !== length) throw new ArchiveError(`the ${what} is cut off`);
  return buffer;
}

const BLOCK = 512;
// Longest pax or GNU header that is read: names, not contents.
const MAX_HEADER = 64 * 1024;
// A packed npm archive holds a few hundred megabytes at most; a bomb stops here.
const MAX_UNPACKED = 2 * 1024 ** 3;

/**
 * Reads one regular file of a gzip-packed tar archive (an npm package is one),
 * streaming, so that only that file is kept.
 * @param {string} path the archive
 * @param {string} member exact name of the member
 * @param {number} size how many bytes it holds
 * @param {number} [limit] give up after this many unpacked bytes
 * @returns {Promise<Buffer>}
 */
export async function readTgzMember(path, member, size, limit = MAX_UNPACKED) {
  const reader = new TarReader(member, size);
  const source = createReadStream(path);
  const unpacked = createGunzip();
  source.on("error", (error) => unpacked.destroy(error));
  source.pipe(unpacked);
  let total = 0;
  try {
    for await (const chunk of unpacked) {
      total += chunk.length;
      if (total > limit) throw new ArchiveError(`the archive unpacks to more than ${limit} bytes`);
      reader.push(chunk);
    }
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    throw new ArchiveError(`the archive cannot be unpacked: ${error.message}`);
  } finally {
    source.destroy();
  }
  return reader.finish();
}

/** Pulls one file out of a tar stream; every block is checked, also those passed over. */
class TarReader {
  #member;
  #size;
  #rest = Buffer.alloc(0);
  #entry = null;
  #override = {};
  #ended = false;
  #result = null;

  constructor(member, size) {
    this.#member = member;
    this.#size = size;
  }

  push(chunk) {
    let data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    while (!this.#ended) {
      if (!this.#entry) {
        if (data.length < BLOCK) break;
        this.#begin(data.subarray(0, BLOCK));
        data = data.subarray(BLOCK);
        continue;
      }
      const entry = this.#entry;
      const take = Math.min(entry.left, data.length);
      if (entry.keep && take > 0) entry.parts.push(Buffer.from(data.subarray(0, Math.min(take, entry.contentLeft))));
      entry.contentLeft -= Math.min(take, entry.contentLeft);
      entry.left -= take;
      data = data.subarray(take);
      if (entry.left > 0) break;
      this.#complete(entry);
      this.#entry = null;
    }
    this.#rest = this.#ended ? Buffer.alloc(0) : Buffer.from(data);
  }

  finish() {
    if (this.#entry || this.#rest.length > 0) throw new ArchiveError("the tar archive is cut off");
    if (!this.#result) throw new ArchiveError(`\`${this.#member}\` is not in the archive`);
    return this.#result;
  }

  #begin(header) {
    if (header.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    checkTarSum(header);
    const type = String.fromCharCode(header[156]);
    const length = this.#override.size ?? tarNumber(header, 124, 12);
    const name = this.#override.path ?? tarName(header);
    const isHeader = type === "x" || type === "g" || type === "L" || type === "K";
    const wanted = !isHeader && name === this.#member;
    if (isHeader && length > MAX_HEADER) throw new ArchiveError("a tar header is too long");
    if (wanted) {
      if (this.#result) throw new ArchiveError(`\`${name}\` stands in the archive twice`);
      if (type !== "0" && type !== "\0") throw new ArchiveError(`\`${name}\` is no regular file (type ${JSON.stringify(type)})`);
      if (length !== this.#size) throw new ArchiveError(`\`${name}\` says it holds ${length} bytes, expected ${this.#size}`);
    }
    if (!isHeader) this.#override = {};
    this.#entry = {
      type,
      keep: wanted || isHeader,
      wanted,
      parts: [],
      contentLeft: length,
      left: Math.ceil(length / BLOCK) * BLOCK,
    };
    if (this.#entry.left === 0) {
      this.#complete(this.#entry);
      this.#entry = null;
    }
  }

  #complete(entry) {
    if (!entry.keep) return;
    const content = Buffer.concat(entry.parts);
    if (entry.wanted) this.#result = content;
    else if (entry.type === "x") Object.assign(this.#override, paxFields(content));
    else if (entry.type === "L") this.#override.path = content.toString("utf8").replace(/\0+$/, "");
  }
}

function tarName(header) {
  const text = (start, length) => {
    const field = header.subarray(start, start + length);
    const end = field.indexOf(0);
    return field.toString("utf8", 0, end < 0 ? length : end);
  };
  const name = text(0, 100);
  const prefix = header.toString("latin1", 257, 262) === "ustar" ? text(345, 155) : "";
  return prefix ? `${prefix}/${name}` : name;
}

function tarNumber(header, start, length) {
  if (header[start] & 0x80) throw new ArchiveError("a tar entry of 8 GB or more is not read");
  const text = header.toString("latin1", start, start + length).replace(/[\0 ]+$/, "").trim();
  if (!/^[0-7]*$/.test(text)) throw new ArchiveError("a tar header is damaged: no octal number");
  return text === "" ? 0 : Number.parseInt(text, 8);
}

function checkTarSum(header) {
  const expected = tarNumber(header, 148, 8);
  let sum = 0;
  for (let index = 0; index < BLOCK; index += 1) sum += index >= 148 && index < 156 ? 0x20 : header[index];
  if (sum !== expected) throw new ArchiveError("a tar header is damaged: wrong checksum");
}

function paxFields(content) {
  const fields = {};
  for (let position = 0; position < content.length; ) {
    const space = content.indexOf(0x20, position);
    const length = space < 0 ? NaN : Number.parseInt(content.toString("latin1", position, space), 10);
    if (!(length > space - position + 1) || position + length > content.length) throw new ArchiveError("a pax header is damaged");
    const [key, ...value] = content.toString("utf8", space + 1, position + length - 1).split("=");
    if (key === "path") fields.path = value.join("=");
    if (key === "size") {
      if (!/^\d{1,12}$/.test(value.join("="))) throw new ArchiveError("a pax header is damaged: size");
      fields.size = Number(value.join("="));
    }
    position += length;
  }
  return fields;
}
