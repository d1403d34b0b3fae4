// Shapes of operations that the hub's API describes in `docs/openapi.json`.

import type { Failure, Problem, ToolCall } from "./generated";

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

export interface ChangedText {
  before: string;
  after: string;
  same: boolean;
}

export interface ReplayedTurn {
  turn: string;
  spoken: boolean;
  transcript: ChangedText;
  tool: { before?: ToolCall | null; after?: ToolCall | null; same: boolean };
  reply: ChangedText;
  latency_ms: { before?: number | null; after?: number | null; same: boolean };
  failure: { before?: Failure | null; after?: Failure | null; same: boolean };
  took_ms: number;
}

export interface ReplayReport {
  turns: number;
  different: number;
  sessions: { name: string; session: string; turns: ReplayedTurn[] }[];
}

declare module "./generated" {
  interface Model {
    can_pull: boolean;
    missing_bytes: number;
  }
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
      answer: { name: string; removed_bytes: number };
    };
    "POST /v1/sessions/{session}/replay": {
      path: { session: string };
      query: Record<string, never>;
      body: { stt?: string; llm?: string };
      answer: ReplayReport;
    };
    "POST /v1/privacy/wipe": {
      path: Record<string, never>;
      query: Record<string, never>;
      body: { confirm: "wipe" };
      answer: Erased;
    };
  }
}

export type LivePull = { type: "model_pull"; pull: ModelPull };
