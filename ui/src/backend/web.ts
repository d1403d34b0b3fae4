// The way to the hub from a browser: same origin, with the cookie that a login leaves.
// Deliberately absent: tokens; a page never sees one.

import type { Received, Socket, Transport } from "./client";

/** Talks to the server that served this page. */
export function webTransport(): Transport {
  return {
    async send({ method, url, body, mediaType, signal }): Promise<Received> {
      const response = await fetch(url, {
        method,
        credentials: "same-origin",
        cache: "no-cache",
        ...(body === undefined ? {} : { body }),
        ...(mediaType ? { headers: { "Content-Type": mediaType } } : {}),
        ...(signal ? { signal } : {}),
      });
      return {
        status: response.status,
        mediaType: response.headers.get("content-type") ?? "",
        text: () => response.text(),
        blob: () => response.blob(),
      };
    },
    open(path): Socket {
      const url = new URL(path, location.href);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      url.hash = "";
      const socket = new WebSocket(url);
      socket.binaryType = "arraybuffer";
      return socket as Socket;
    },
  };
}
