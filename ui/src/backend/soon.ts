// Shapes of operations that the hub's API describes in `docs/openapi.json`.

import type { Counts, EngineKind, Failure, Problem, ToolCall } from "./generated";

export interface ModelPull {
  name: string;
  state: "running" | "done" | "failed" | "cancelled";
  bytes: number;
  total: number;
  problem?: Problem | null;
}

export interface Forecast {
  name: string;
  unit: "tokens_per_second" | "times_real_time";
  speed: number;
  at_least: number;
  at_most: number;
  prompt_tokens_per_second: number | null;
  ram_mb: number;
  ram_free_mb: number;
  fit: "fits" | "tight" | "too_large";
  download_bytes: number;
}

export interface Change<T> {
  before: T;
  after: T;
  same: boolean;
}

export interface Difference {
  turn: string;
  spoken: boolean;
  transcript: Change<string>;
  tool: Change<ToolCall | null>;
  reply: Change<string>;
  latency_ms: Change<number | null>;
  failure: Change<Failure | null>;
  took_ms: number;
}

export interface ReplayReport {
  turns: number;
  different: number;
  sessions: { name: string; session: string; turns: Difference[] }[];
}

export interface Wiped {
  erased: {
    before: Counts;
    after: Counts;
    turns_sha256: string;
    file_sha256?: string | null;
    files: string[];
  };
  row?: number | null;
}

declare module "./generated" {
  interface Operations {
    "POST /v1/models/{name}/pull": {
      path: { name: string };
      query: Record<string, never>;
      body: { licence: string };
      answer: ModelPull;
    };
    "GET /v1/models/pulls": {
      path: Record<string, never>;
      query: Record<string, never>;
      body: undefined;
      answer: { pulls: ModelPull[] };
    };
    "DELETE /v1/models/{name}/pull": {
      path: { name: string };
      query: Record<string, never>;
      body: undefined;
      answer: ModelPull;
    };
    "GET /v1/models/{name}/forecast": {
      path: { name: string };
      query: Record<string, never>;
      body: undefined;
      answer: Forecast;
    };
    "DELETE /v1/models/{name}": {
      path: { name: string };
      query: Record<string, never>;
      body: undefined;
      answer: undefined;
    };
    "POST /v1/sessions/{session}/replay": {
      path: { session: string };
      query: Record<string, never>;
      body: { stt?: string; llm?: string[] };
      answer: ReplayReport;
    };
    "POST /v1/privacy/wipe": {
      path: Record<string, never>;
      query: Record<string, never>;
      body: { confirm: "wipe" };
      answer: Wiped;
    };
  }
}

export type LivePull = { type: "model_pull"; pull: ModelPull };
export type Kind = EngineKind;
