import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { generate } from "../../tools/client.mjs";
import { address, ApiError, asApiError, createClient, type Received, type Sent, type Socket } from "./client";
import { follow } from "./follow";

const received = (status: number, text: string, mediaType = "application/json"): Received => ({
  status,
  mediaType,
  text: async () => text,
  blob: async () => new Blob([text]),
});

function clientOf(answer: (sent: Sent) => Received) {
  const sent: Sent[] = [];
  const transport = {
    send: async (request: Sent) => {
      sent.push(request);
      return answer(request);
    },
    open: () => {
      throw new Error("no sockets here");
    },
  };
  return { client: createClient(transport), sent };
}

it("the types are those of the API's description", () => {
  const document = JSON.parse(readFileSync(join(import.meta.dirname, "../../../docs/openapi.json"), "utf8")) as unknown;
  const committed = readFileSync(join(import.meta.dirname, "generated.ts"), "utf8");
  expect(generate(document) === committed, "run `npm run ui:client` and commit what it writes").toBe(true);
});

describe("a request", () => {
  it("has its names escaped and nothing that was not given", () => {
    expect(address("/v1/skills/{name}/calls", { name: "a/b?c" }, { limit: 5, after: undefined, q: "" })).toBe(
      "/v1/skills/a%2Fb%3Fc/calls?limit=5",
    );
  });

  it("carries JSON, or a file as it is", async () => {
    const { client, sent } = clientOf(() => received(200, "{}"));
    await client.call("POST /v1/grants/revoke", { body: { skill: "timer" } });
    await client.call("POST /v1/packages", { body: new Blob(["x"]) });
    expect(sent.map(({ method, url, mediaType }) => [method, url, mediaType])).toEqual([
      ["POST", "/v1/grants/revoke", "application/json"],
      ["POST", "/v1/packages", "application/octet-stream"],
    ]);
    expect(sent[0]?.body).toBe('{"skill":"timer"}');
  });
});

describe("an answer that is none", () => {
  const fault = async (answer: () => Received) =>
    asApiError(
      await clientOf(answer)
        .client.call("GET /v1/status", {})
        .catch((error: unknown) => error),
    );

  it("has the hub's code", async () => {
    const problem = { type: "", title: "", status: 429, detail: "slower", code: "rate_limited", retry_after: 2 };
    const error = await fault(() => received(429, JSON.stringify(problem), "application/problem+json"));
    expect([error.code, error.detail, error.retryAfter]).toEqual(["rate_limited", "slower", 2]);
  });

  it("is told when it is of something else", async () => {
    expect((await fault(() => received(502, "<html>", "text/html"))).code).toBe("unreadable");
    expect((await fault(() => received(200, "{", "application/json"))).code).toBe("unreadable");
  });

  it("is offline when there is nobody", async () => {
    const error = await fault(() => {
      throw new TypeError("fetch failed");
    });
    expect(error).toBeInstanceOf(ApiError);
    expect(error.code).toBe("offline");
  });
});

it("a deletion answers with nothing, an export with a file", async () => {
  const empty = clientOf(() => received(204, "", ""));
  expect(await empty.client.call("DELETE /v1/skills/{name}", { path: { name: "x" } })).toBeUndefined();
  const file = clientOf(() => received(200, "{}\n", "application/x-ndjson"));
  expect(await file.client.call("GET /v1/audit/export", {})).toBeInstanceOf(Blob);
});

it("a socket comes back, waits longer each time, and stays away when it is stopped", () => {
  vi.useFakeTimers();
  const sockets: Socket[] = [];
  const client = {
    call: () => Promise.reject(new Error("no calls here")),
    open: () => {
      const socket: Socket = {
        binaryType: "blob",
        onopen: null,
        onmessage: null,
        onclose: null,
        send: () => undefined,
        close() {
          this.onclose?.();
        },
      };
      sockets.push(socket);
      return socket;
    },
  };
  const seen: unknown[] = [];
  const followed = follow<unknown>(client, "/v1/events", {
    opened: () => seen.push("opened"),
    closed: () => seen.push("closed"),
    message: (message) => seen.push(message),
  });
  expect(followed.send("too early")).toBe(false);
  sockets[0]?.onopen?.();
  sockets[0]?.onmessage?.({ data: '{"a":1}' });
  expect(followed.send("x")).toBe(true);
  sockets[0]?.onclose?.();
  vi.advanceTimersByTime(250);
  expect(sockets).toHaveLength(2);
  sockets[1]?.onclose?.();
  vi.advanceTimersByTime(250);
  expect(sockets).toHaveLength(2);
  vi.advanceTimersByTime(250);
  expect(sockets).toHaveLength(3);
  followed.stop();
  vi.advanceTimersByTime(60_000);
  expect(sockets).toHaveLength(3);
  expect(seen).toEqual(["opened", { a: 1 }, "closed", "closed"]);
  vi.useRealTimers();
});
