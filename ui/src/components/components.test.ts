// The parts that every screen uses, in a document without layout.
import { render, screen } from "@testing-library/svelte";
import { createRawSnippet, tick } from "svelte";
import { beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "../backend";
import TalkButton from "../talk/TalkButton.svelte";
import { en } from "../text/en";
import { chooseLanguage } from "../text/text.svelte";
import Async from "./Async.svelte";
import Fault from "./Fault.svelte";
import { Resource, SLOW_MS } from "./resource.svelte";

beforeEach(() => chooseLanguage("en"));

const value = createRawSnippet((text: () => string) => ({ render: () => `<p>value ${text()}</p>` }));
const empty = createRawSnippet(() => ({ render: () => "<p>nothing</p>" }));

it.each(Object.keys(en.errors.title) as (keyof typeof en.errors.title)[])("%s says what to do", (code) => {
  render(Fault, { code, detail: "<b>x</b>" });
  const alert = screen.getByRole("alert");
  expect(alert.textContent).toContain(en.errors.title[code]);
  expect(alert.textContent).toContain(en.errors.next[code]);
  expect(alert.querySelector("b")).toBeNull();
});

it("waiting is quiet, then slow, then over", async () => {
  vi.useFakeTimers();
  const of = new Resource<string>();
  let arrive: (text: string) => void = () => undefined;
  render(Async, { of: of as Resource<unknown>, children: value as never });
  void of.load(() => new Promise((done) => (arrive = done)));
  await tick();
  expect(screen.queryByRole("progressbar")).toBeNull();
  await vi.advanceTimersByTimeAsync(SLOW_MS + 1);
  expect(screen.getByRole("progressbar")).toBeTruthy();
  arrive("there");
  await vi.advanceTimersByTimeAsync(1);
  expect(screen.getByText("value there")).toBeTruthy();
  expect(screen.queryByRole("progressbar")).toBeNull();
  vi.useRealTimers();
});

it("a fault stands beside what is known, and can be tried again", async () => {
  const of = new Resource<string>();
  const retry = vi.fn();
  await of.load(async () => "old");
  await of.load(() => Promise.reject(new ApiError("storage_fault", "full")));
  render(Async, { of: of as Resource<unknown>, retry, children: value as never });
  expect(screen.getByText("value old")).toBeTruthy();
  screen.getByRole("button", { name: en.common.retry }).click();
  expect(retry).toHaveBeenCalledOnce();
});

it("nothing has words of its own", async () => {
  const of = new Resource<string[]>();
  await of.load(async () => []);
  const isEmpty = (items: unknown) => (items as string[]).length === 0;
  render(Async, { of: of as Resource<unknown>, isEmpty, empty, children: value as never });
  expect(screen.getByText("nothing")).toBeTruthy();
});

it("a late answer to an old question counts for nothing", async () => {
  const of = new Resource<string>();
  let first: (text: string) => void = () => undefined;
  const slow = of.load(() => new Promise((done) => (first = done)));
  await of.load(async () => "new");
  first("old");
  await slow;
  expect(of.value).toBe("new");
});

it.each(["offline", "muted", "idle", "listening", "thinking", "speaking"] as const)(
  "the talk button says that it is %s by its name, its words and its shape",
  (phase) => {
    const nothing = () => undefined;
    render(TalkButton, { phase, level: 0, onpress: nothing, onrelease: nothing, oncancel: nothing });
    const button = screen.getByRole("button", { name: en.talk.button[phase] });
    expect(button.classList.contains(phase)).toBe(true);
    expect(screen.getByText(en.talk.phase[phase])).toBeTruthy();
    expect(screen.queryByRole("button", { name: /cancel/i }) !== null).toBe(
      phase === "thinking" || phase === "speaking",
    );
  },
);
