// Keeps one WebSocket open: opens it again when it closes, waiting longer each time.
// Deliberately absent: knowing what the messages mean.

import type { Client, Socket } from "./client";

/** First and longest wait before trying again, in milliseconds. Chosen. */
const WAITS = [250, 500, 1000, 2000, 4000] as const;

/** What a follower is told. */
export interface Following<T> {
  opened(): void;
  closed(): void;
  message(message: T): void;
  /** Sound, where the socket carries any. */
  binary?(bytes: ArrayBuffer): void;
}

/** A socket that comes back. */
export interface Followed {
  /** Sends if the socket is open; says whether it did. */
  send(data: string | ArrayBufferLike): boolean;
  stop(): void;
}

/** Opens `path` and stays with it until it is stopped. */
export function follow<T>(client: Client, path: "/v1/events" | "/v1/talk", follower: Following<T>): Followed {
  let socket: Socket | null = null;
  let isOpen = false;
  let tries = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;

  const open = () => {
    const current = client.open(path);
    socket = current;
    current.binaryType = "arraybuffer";
    current.onopen = () => {
      isOpen = true;
      tries = 0;
      follower.opened();
    };
    current.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) follower.binary?.(data);
      else if (typeof data === "string") follower.message(JSON.parse(data) as T);
    };
    current.onclose = () => {
      if (socket !== current) return;
      isOpen = false;
      if (isStopped) return;
      follower.closed();
      timer = setTimeout(open, WAITS[Math.min(tries, WAITS.length - 1)]);
      tries += 1;
    };
  };
  open();
  return {
    send(data) {
      if (isOpen) socket?.send(data);
      return isOpen;
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}
