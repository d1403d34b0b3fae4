import assert from "node:assert/strict";
import { test } from "node:test";
import { failures, isWorthASecondRun, passed } from "../test/second-run.mjs";

const OUTPUT = `
running 3 tests
test turns::typed ... ok
test native::inbox ... FAILED
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 54.84s

error: test failed, to rerun pass \`-p loqa-tests --test hub\`
test speaks ... FAILED
error: 2 targets failed:
    \`-p loqa-tests --test hub\`
    \`-p loqa-tts --lib\`
`;

test("failed tests and their targets are found", () => {
  const found = failures(OUTPUT);
  assert.deepEqual(found, { names: ["native::inbox", "speaks"], targets: [["--test", "hub"], ["--lib"]] });
  assert.ok(isWorthASecondRun(found));
});

test("what cannot be an accident is not run again", () => {
  const many = OUTPUT + [1, 2, 3].map((n) => `test other${n} ... FAILED\n`).join("");
  assert.ok(!isWorthASecondRun(failures(many)), "too many");
  assert.ok(!isWorthASecondRun(failures("error: could not compile `loqa-hub`\n")), "nothing ran");
  const aborted = "error: 1 target failed:\n    `-p loqa-stt --test stt`\n";
  assert.ok(!isWorthASecondRun(failures(aborted)), "a target that died without naming a test");
  const hidden = "test a ... FAILED\nerror: 2 targets failed:\n    `-p x --lib`\n    `-p y --lib`\n";
  assert.ok(!isWorthASecondRun(failures(hidden)), "one of the two targets died without naming a test");
});

test("passed tests are counted over all targets", () => {
  const two = "test result: ok. 1 passed; 0 failed; 0 ignored\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
  assert.equal(passed(two), 3);
  assert.equal(passed(OUTPUT), 0);
});
