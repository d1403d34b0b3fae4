// Removing everything: only with the word, and what comes of it is shown.
import { fireEvent, render, screen } from "@testing-library/svelte";
import { beforeEach, expect, it } from "vitest";
import { fakeHub, type FakeOptions } from "../../tests/fake/hub";
import { createClient } from "../backend";
import { en } from "../text/en";
import { chooseLanguage } from "../text/text.svelte";
import WithHub from "../../tests/fake/WithHub.svelte";
import Wipe from "./Wipe.svelte";

beforeEach(() => chooseLanguage("en"));

async function asking(options: Partial<FakeOptions> = {}) {
  const hub = fakeHub({ state: "full", ...options });
  render(WithHub, { client: createClient(hub), part: Wipe });
  await fireEvent.click(screen.getByRole("button", { name: en.wipe.open }));
  const word = screen.getByLabelText<HTMLInputElement>(en.wipe.type(en.wipe.word));
  const go = screen.getByRole<HTMLButtonElement>("button", { name: en.wipe.go, hidden: true });
  const form = word.form as HTMLFormElement;
  const wipes = () => hub.sent.filter(({ url }) => url === "/v1/privacy/wipe").map(({ body }) => body);
  return { word, go, form, wipes };
}

it("nothing goes without the word", async () => {
  const { word, go, form, wipes } = await asking();
  for (const typed of ["", "remov", "yes"]) {
    await fireEvent.input(word, { target: { value: typed } });
    expect(go.disabled, typed).toBe(true);
    await fireEvent.submit(form);
  }
  expect(wipes()).toEqual([]);
});

it("with the word everything goes, and the proof is shown", async () => {
  const { word, go, form, wipes } = await asking();
  await fireEvent.input(word, { target: { value: " Remove " } });
  expect(go.disabled).toBe(false);
  await fireEvent.submit(form);
  await screen.findByText(en.wipe.done("240", "720"));
  expect(wipes()).toEqual(['{"confirm":"wipe"}']);
  const proof = await screen.findByRole("link", { name: /^Row \d+$/ });
  expect(proof.getAttribute("href")).toMatch(/^#\/audit\/\d+$/);
});

it("while a turn runs it says so, and the question stays", async () => {
  const { word, form } = await asking({ trouble: "busy" });
  await fireEvent.input(word, { target: { value: "remove" } });
  await fireEvent.submit(form);
  await screen.findByText(en.wipe.busy);
});
