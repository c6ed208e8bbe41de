import { createContainer } from "../../shared/container.ts";
import { currentSettings } from "../../shared/features/settings/current.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { median } from "./measure.ts";
import { ms } from "./report.ts";
import type { Row } from "./report.ts";

const READS = 20_000;

/** The settings that a request checks: from the memory of the process, against the first read from the database. */
export async function settingsRows(store: Store, report: (row: Row) => void): Promise<void> {
  const container = await createContainer({ store, clock: systemClock, logger: silentLogger });
  const first = performance.now();
  await currentSettings(container);
  const read = performance.now() - first;
  const rounds: number[] = [];
  for (let round = 0; round < 9; round++) {
    const started = performance.now();
    for (let i = 0; i < READS; i++) await currentSettings(container);
    rounds.push((performance.now() - started) * 1_000 / READS);
  }
  report({
    operation: "the settings, in µs",
    callers: 1,
    store: `${median(rounds).toFixed(2)} µs`,
    against: "their first read",
    other: ms(read),
    ratio: median(rounds),
    target: 5,
    atMost: true,
  });
}
