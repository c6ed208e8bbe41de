import { read } from "../architecture/sources.ts";

/** One command of the README's tour, with what its `# →` lines say its output contains. */
export interface TourStep {
  readonly script: string;
  readonly expected: readonly string[];
}

/** The blocks marked `sh tour`, cut after each group of `# →` lines. */
export function tourSteps(): TourStep[] {
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
