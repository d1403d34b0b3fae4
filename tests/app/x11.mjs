// The few requests of X11 that the test needs: asking a window to close, as its cross in a
// window manager does, and a picture of the whole screen. One connection for each.

import { connect } from "node:net";
import * as zlib from "node:zlib";

/** Asks a window to close; what it does about it is its own affair. */
export async function askToClose(display, window) {
  await on(display, async ({ atom, ask }) => {
    const [protocols, close] = [await atom("WM_PROTOCOLS"), await atom("WM_DELETE_WINDOW")];
    const message = Buffer.alloc(44);
    message.writeUInt8(25, 0);
    message.writeUInt16LE(11, 2);
    message.writeUInt32LE(window, 4);
    // The event: a client message of five words.
    message.writeUInt8(33, 12);
    message.writeUInt8(32, 13);
    message.writeUInt32LE(window, 16);
    message.writeUInt32LE(protocols, 20);
    message.writeUInt32LE(close, 24);
    ask(message);
    // The answer to any question says that the message went before it.
    await atom("WM_PROTOCOLS");
  });
}

/** A picture of the screen as PNG. */
export function picture(display) {
  return on(display, async ({ screen, ask, answer }) => {
    const request = Buffer.alloc(20);
    request.writeUInt8(73, 0);
    request.writeUInt8(2, 1);
    request.writeUInt16LE(5, 2);
    request.writeUInt32LE(screen.root, 4);
    request.writeUInt16LE(screen.width, 12);
    request.writeUInt16LE(screen.height, 14);
    request.writeUInt32LE(0xffffffff, 16);
    ask(request);
    const pixels = (await answer()).subarray(32);
    return png(pixels, screen);
  });
}

/** Lines of blue, green, red and nothing become a PNG. */
function png(pixels, { width, height }) {
  const lines = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [from, to] = [(y * width + x) * 4, y * (1 + width * 3) + 1 + x * 3];
      [lines[to], lines[to + 1], lines[to + 2]] = [pixels[from + 2], pixels[from + 1], pixels[from]];
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name, "latin1"), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", zlib.deflateSync(lines)), chunk("IEND", Buffer.alloc(0))]);
}

/** Node 20 has it only in its later versions. */
function crc32(bytes) {
  if (zlib.crc32) return zlib.crc32(bytes);
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** Opens a connection, does something on it, and closes it. @param {string} display `:7` */
async function on(display, act) {
  const socket = connect(`/tmp/.X11-unix/X${display.slice(1)}`);
  let bytes = Buffer.alloc(0);
  let wake = () => undefined;
  let broken = null;
  socket.on("data", (more) => {
    bytes = Buffer.concat([bytes, more]);
    wake();
  });
  socket.on("error", (error) => {
    broken = error;
    wake();
  });
  socket.on("close", () => {
    broken ??= new Error("the display closed the connection");
    wake();
  });
  const take = async (length) => {
    while (bytes.length < length) {
      if (broken) throw broken;
      await new Promise((done) => (wake = done));
    }
    const taken = bytes.subarray(0, length);
    bytes = bytes.subarray(length);
    return taken;
  };
  /** The next answer; events between are nobody's. */
  const answer = async () => {
    for (;;) {
      const head = await take(32);
      if (head[0] === 0) throw new Error(`the display refused: error ${head[1]}`);
      if (head[0] === 1) return Buffer.concat([head, await take(head.readUInt32LE(4) * 4)]);
    }
  };
  const ask = (request) => socket.write(request);
  const atom = async (name) => {
    const request = Buffer.alloc(8 + Math.ceil(name.length / 4) * 4);
    request.writeUInt8(16, 0);
    request.writeUInt16LE(request.length / 4, 2);
    request.writeUInt16LE(name.length, 4);
    request.write(name, 8, "latin1");
    ask(request);
    return (await answer()).readUInt32LE(8);
  };
  try {
    const hello = Buffer.alloc(12);
    hello.write("l", 0, "latin1");
    hello.writeUInt16LE(11, 2);
    ask(hello);
    const head = await take(8);
    const setup = await take(head.readUInt16LE(6) * 4);
    if (head[0] !== 1) throw new Error("the display takes no connection");
    const at = 32 + Math.ceil(setup.readUInt16LE(16) / 4) * 4 + setup[21] * 8;
    const screen = { root: setup.readUInt32LE(at), width: setup.readUInt16LE(at + 20), height: setup.readUInt16LE(at + 22) };
    return await act({ screen, ask, answer, atom });
  } finally {
    socket.destroy();
  }
}
