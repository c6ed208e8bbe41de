import { createContainer, type Services } from "../../shared/container.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import type { JsonObject, JsonValue } from "../../shared/kernel/json.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import { withClient } from "../support/client.ts";
import type { Cluster } from "../support/cluster.ts";
import { createDatabase } from "./dataset.ts";
import { Habit } from "./habit.ts";
import { byName, interleave, ratio } from "./measure.ts";
import { rate, type Row } from "./report.ts";

const FLAGS = 200;
const TENANTS = 2_000;
const OVERRIDES_EACH = 10;
const number = (value: number) => value.toLocaleString("en-US");

/** All flags of a tenant and one flag, with overrides of many tenants. */
export async function flagRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const { appUrl, superUrl } = await createDatabase(cluster, "bench_flags");
  const store = open(appUrl);
  const options = { store, clock: systemClock, logger: silentLogger };
  const services = (await createContainer(options)).services(systemContext(systemClock, "bench", "flags"));
  const keys = await fill(services, store);
  await withClient(superUrl, async (client) => {
    await client.query("create table public.kv_store (key text primary key, value jsonb not null)");
    await client.query("insert into public.kv_store select key, value from kv.entries where key like 'flag:%' or key like 'tenant:%'");
    await client.query("analyze");
  });
  const habit = new Habit(superUrl, 16);
  try {
    await allFlags(services, habit, report);
    await oneFlag(services, store, keys, report);
    let now = Date.now();
    const leaping = { now: () => now += 1_000 };
    const late = await createContainer({ store, clock: leaping, logger: silentLogger });
    await oneFlag(late.services(systemContext(leaping, "bench", "flags")), store, keys, report, "not read in the last second");
    // What still waits would be tried again for ever when the store is closed.
    await late.bind(systemContext(leaping)).platform.uses.flush();
  } finally {
    await habit.pool.end();
  }
}

/** So few that each is read more than once in a second. */
const SEVERAL = 200;
const tenantId = (n: number) => `tn_${String(n % TENANTS).padStart(7, "0")}`;

/** Returns the keys of the flags. */
async function fill({ FeatureFlagService }: Services, store: Store): Promise<string[]> {
  const flags = await Promise.all(Array.from({ length: FLAGS }, (_, n) =>
    FeatureFlagService.create({
      key: `flag-${n}`,
      name: `Flag ${n}`,
      status: "enabled",
      rules: [{ id: "europe", when: [{ attribute: "region", operator: "in", values: ["eu-central-9", "eu-central-8"] }] }],
      rolloutPercentage: n % 101,
    })));
  const now = new Date().toISOString();
  for (let from = 0; from < TENANTS; from += 50) {
    const pairs: [string, JsonValue][] = [];
    for (let n = from; n < from + 50; n++) {
      pairs.push([`tenant:${tenantId(n)}`, { ...tenant.example, id: tenantId(n), subdomain: `s${n}` } as JsonObject]);
      for (let i = 0; i < OVERRIDES_EACH; i++) {
        const { id: flagId = "" } = flags[(n * 7 + i * 31) % FLAGS] ?? {};
        const override = { flagId, tenantId: tenantId(n), enabled: i % 2 === 0, createdAt: now, updatedAt: now };
        pairs.push([`flag:${tenantId(n)}:${flagId}`, override]);
      }
    }
    await store.mset(pairs);
  }
  return flags.map(({ key }) => key);
}

/** What a program over a key-value table does: it loads the prefix, and filters. */
async function byHabit(habit: Habit, id: string): Promise<Map<unknown, boolean>> {
  const [owner, records] = await Promise.all([habit.get(`tenant:${id}`), habit.getByPrefix("flag:")]);
  const overrides = new Map(records.filter((record) => record["tenantId"] === id).map((record) => [record["flagId"], record]));
  const flags = records.filter((record) => record["key"] !== undefined);
  return new Map(flags.map((record) => {
    const override = overrides.get(record["id"]);
    return [record["key"], override ? override["enabled"] === true : record["status"] === "enabled" && owner?.["status"] === "active"];
  }));
}

async function allFlags({ FeatureFlagService }: Services, habit: Habit, report: (row: Row) => void): Promise<void> {
  for (const callers of [1, 16]) {
    const of = byName(
      await interleave([
        {
          name: "store",
          run: async (i) => {
            const all = await FeatureFlagService.evaluateAll(tenantId(i));
            if (all?.data.length !== FLAGS) throw new Error(`got ${all?.data.length} flags`);
          },
        },
        {
          name: "habit",
          run: async (i) => {
            const all = await byHabit(habit, tenantId(i));
            if (all.size !== FLAGS) throw new Error(`got ${all.size} flags`);
          },
        },
      ], { callers, operations: { store: 300, habit: 10 }, rounds: 5 }),
    );
    report({
      operation: `all ${FLAGS} flags of a tenant, beside ${number(TENANTS * OVERRIDES_EACH)} overrides`,
      callers,
      store: rate(of("store")),
      against: "load the prefix and filter",
      other: rate(of("habit")),
      ratio: ratio(of("store"), of("habit")),
      target: 20,
    });
  }
}

async function oneFlag(
  { FeatureFlagService }: Services,
  store: Store,
  keys: readonly string[],
  report: (row: Row) => void,
  unread?: string,
): Promise<void> {
  for (const callers of [1, 16]) {
    const of = byName(
      await interleave([
        {
          name: "flag",
          run: async (i) => {
            const one = await FeatureFlagService.evaluate(keys[i % keys.length] ?? "", tenantId(i % SEVERAL));
            if (!one?.flagId) throw new Error("the flag was not found");
          },
        },
        { name: "get", run: (i) => store.get(`tenant:${tenantId(i % SEVERAL)}`) },
      ], { callers, operations: 1_000, rounds: 7 }),
    );
    report({
      operation: `one flag of a tenant${unread === undefined ? "" : ` ${unread}`}, with its override and the revision of the flags`,
      callers,
      store: rate(of("flag")),
      against: "a get",
      other: rate(of("get")),
      ratio: ratio(of("get"), of("flag")),
      target: unread === undefined ? 1.5 : null,
      atMost: true,
    });
  }
}
