// BADGE-01: each vector as a test of its name. The JUnit file is what the environment's badge_junit names:
//
//   node --test --test-reporter=junit --test-reporter-destination=badge.xml badge.test.mjs
//
// BADGE_MODULE is the module that exports your `badge`, BADGE_VECTORS a copy of contracts/vectors/badge.json. Under vitest
// import `test` from "vitest" instead: the rest stands.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";

const { BADGE_MODULE, BADGE_VECTORS } = process.env;
const MODULE = BADGE_MODULE ? pathToFileURL(resolve(BADGE_MODULE)) : new URL("badge.mjs", import.meta.url);
const VECTORS = BADGE_VECTORS ?? new URL("../../contracts/vectors/badge.json", import.meta.url);

const { badge } = await import(MODULE.href);

for (const { name, input, expected, reason } of JSON.parse(readFileSync(VECTORS, "utf8"))) {
  test(name, () => {
    const text = badge(input) ?? ""; // where there is no badge, null is as good as an empty text
    assert.equal(text, expected, `${JSON.stringify(text)}, not ${JSON.stringify(expected)}: ${reason}`);
  });
}
