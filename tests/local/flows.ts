import { expect } from "vitest";
import { read } from "../architecture/sources.ts";
import type { LocalInfo } from "../../functions/local/data-directory.ts";
import { periodEnd, periodOf } from "../../shared/core/periods.ts";
import { call, finish, run } from "./stack.ts";

/** One command of the README's tour, with the texts of its `# →` lines, which its output must contain. */
interface TourStep {
  readonly script: string;
  readonly expected: readonly string[];
}

/** The blocks marked `sh tour`, split after each group of `# →` lines. */
function tourSteps(): TourStep[] {
  const blocks = [...read("README.md").matchAll(/^```sh tour\n([\s\S]*?)^```$/gm)].map(([, text]) => text ?? "");
  return blocks.flatMap((block) => {
    const steps: { script: string; expected: string[] }[] = [{ script: "", expected: [] }];
    for (const line of block.trimEnd().split("\n")) {
      const [, expected] = /^# → (.+)$/.exec(line) ?? [];
      let step = steps.at(-1) ?? { script: "", expected: [] };
      if (expected === undefined && step.expected.length > 0) steps.push(step = { script: "", expected: [] });
      if (expected === undefined) step.script += `${line}\n`;
      else step.expected.push(expected);
    }
    return steps;
  });
}

const BREAK = "-----8<-----";

/** Runs the tour in one shell, as a reader would, with another address and data directory. */
export async function expectTourToHold(apiUrl: string, dataDir: string): Promise<void> {
  const steps = tourSteps();
  expect(steps.length).toBeGreaterThan(15);
  const script = steps.map((step) => step.script).join(`echo; echo '${BREAK}'\n`)
    .replaceAll("http://127.0.0.1:8787", apiUrl).replaceAll("run -s token --", `run -s token -- --data '${dataDir}'`);
  const { code, output } = await finish(run("bash", ["-euo", "pipefail", "-c", script]));
  expect(code, output).toBe(0);
  const outputs = output.split(BREAK);
  for (const [i, step] of steps.entries()) {
    for (const text of step.expected) expect(outputs[i], step.script).toContain(text);
  }
}

/** 64 callers stay below the rate limit of one administrator. */
const CALLS_EACH = 10;

/** Lets 64 callers increment one counter through HTTP. Every call must count exactly once. */
export async function expectExactCount(info: LocalInfo): Promise<void> {
  const path = `/v1/tenants/${String(info.tenantId)}/usage/bookings`;
  const period = periodEnd(periodOf(Date.now())).slice(0, 7);
  const caller = async () => {
    const statuses = new Set<number>();
    for (let i = 0; i < CALLS_EACH; i++) statuses.add((await call(info, "POST", `${path}/increment`, { amount: 1, period })).status);
    return [...statuses];
  };
  const statuses = await Promise.all(Array.from({ length: 64 }, caller));
  expect(statuses).toEqual(Array.from({ length: 64 }, () => [200]));
  expect(await call(info, "GET", `${path}?period=${period}`)).toMatchObject({ body: { current: 64 * CALLS_EACH } });
}
