// Asks the hub: one typed function for every operation of `generated.ts`, and one form of
// error. How a request travels is the business of a `Transport`. Deliberately absent:
// caching, retrying and anything that knows a screen.

import type { ErrorCode, Operations, Problem } from "./generated";

/** One request as it travels. */
export interface Sent {
  method: string;
  url: string;
  body?: BodyInit;
  mediaType?: string;
  signal?: AbortSignal;
}

/** What came back. */
export interface Received {
  status: number;
  mediaType: string;
  text: () => Promise<string>;
  blob: () => Promise<Blob>;
}

/** The part of a WebSocket that is used. */
export interface Socket {
  binaryType: BinaryType;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(data: string | ArrayBufferLike): void;
  close(): void;
}

/** A way to the hub. */
export interface Transport {
  send(request: Sent): Promise<Received>;
  open(path: string): Socket;
}

/** What went wrong: a code of the hub, or that it did not answer, or not in our language; or
    why the desktop app does not listen. */
export type FaultCode = ErrorCode | "offline" | "unreadable" | "muted" | "microphone_missing" | "microphone_failed";

/** An answer that is none. */
export class ApiError extends Error {
  readonly code: FaultCode;
  /** For the curious; in the hub's words, in English. */
  readonly detail: string;
  /** Seconds after which to try again, where waiting helps. */
  readonly retryAfter: number | null;

  constructor(code: FaultCode, detail: string, retryAfter: number | null = null) {
    super(`${code}: ${detail}`);
    this.name = "ApiError";
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** Name of an operation: its method and path. */
export type Operation = keyof Operations;

type Given<Name extends "path" | "query" | "body", Value> = Value extends undefined
  ? { [Key in Name]?: undefined }
  : Record<string, never> extends Value
    ? { [Key in Name]?: Value }
    : { [Key in Name]: Value };

/** What an operation is given. */
export type Input<O extends Operation> = Given<"path", Operations[O]["path"]> &
  Given<"query", Operations[O]["query"]> &
  Given<"body", Operations[O]["body"]> & { signal?: AbortSignal };

/** The hub as the screens see it. */
export interface Client {
  call<O extends Operation>(operation: O, input: Input<O>): Promise<Operations[O]["answer"]>;
  open(path: "/v1/events" | "/v1/talk"): Socket;
}

/** A client over a transport. */
export function createClient(transport: Transport): Client {
  return {
    open: (path) => transport.open(path),
    async call(operation, input) {
      const { path, query, body, signal } = input as LooseInput;
      const space = operation.indexOf(" ");
      const sent: Sent = { method: operation.slice(0, space), url: address(operation.slice(space + 1), path, query) };
      if (signal) sent.signal = signal;
      if (body instanceof Blob) {
        sent.body = body;
        sent.mediaType = "application/octet-stream";
      } else if (body !== undefined) {
        sent.body = JSON.stringify(body);
        sent.mediaType = "application/json";
      }
      return (await answer(await reach(transport, sent))) as never;
    },
  };
}

interface LooseInput {
  path?: Record<string, string | number>;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  signal?: AbortSignal;
}

/** Path and query with everything escaped. */
export function address(path: string, parts: LooseInput["path"] = {}, query: LooseInput["query"] = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(parts[name] ?? "")));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") search.set(name, String(value));
  }
  return search.size > 0 ? `${filled}?${search}` : filled;
}

async function reach(transport: Transport, sent: Sent): Promise<Received> {
  try {
    return await transport.send(sent);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw new ApiError("cancelled", "not waited for");
    throw new ApiError("offline", String(error));
  }
}

async function answer(received: Received): Promise<unknown> {
  const { status, mediaType } = received;
  if (status === 204) return undefined;
  if (status >= 200 && status < 300 && !mediaType.includes("json")) return received.blob();
  if (status >= 200 && status < 300 && mediaType.includes("ndjson")) return received.blob();
  const text = await received.text();
  const value = parse(text);
  if (status >= 200 && status < 300 && value !== undefined) return value;
  throw isProblem(value)
    ? new ApiError(value.code, value.detail, value.retry_after ?? null)
    : new ApiError("unreadable", `${status} ${mediaType}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "code" in value && "detail" in value;
}

/** What any thrown thing is to the screens. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("unreadable", String(error));
}
