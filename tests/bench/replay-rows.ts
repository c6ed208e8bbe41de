import process from "node:process";
import { createContainer } from "../../shared/container.ts";
import { Collection } from "../../shared/core/collection.ts";
import { knownRootKeys } from "../../shared/core/root-keys.ts";
import { eventHead } from "../../shared/features/events/entity.ts";
import { HEAD_ID } from "../../shared/features/events/sequence.ts";
import { replayStep } from "../../shared/features/webhooks/replays.ts";
import { isoTime, systemClock } from "../../shared/kernel/clock.ts";
import { systemContext } from "../../shared/kernel/context.ts";
import { silentLogger } from "../../shared/kernel/logger.ts";
import type { Store } from "../../shared/kv/store.ts";
import type { Cluster } from "../support/cluster.ts";
import { localOutbound } from "../support/outbound.ts";
import { ROOT_KEY } from "../support/root-key.ts";
import { createDatabase, loadFast } from "./dataset.ts";
import { median } from "./measure.ts";
import { ms, type Row } from "./report.ts";

const EVENTS = 1_000_000;
const EVERY_MS = 500;
/** Steps of a round, of 180 deliveries each. */
const STEPS = 40;
const ROUNDS = 5;

/** The steps of a replay of a million missing events, at its beginning and where 900,000 events are before it. */
export async function replayRows(cluster: Cluster, open: (url: string) => Store, report: (row: Row) => void): Promise<void> {
  const database = await createDatabase(cluster, "bench_replays");
  const startMs = systemClock.now() - 10 * 86_400_000;
  await loadFast(database, async (client) => void await client.query(NUMBERED, [EVENTS, startMs, EVERY_MS]));
  const store = open(database.appUrl);
  const options = { store, clock: systemClock, logger: silentLogger, rootKeys: knownRootKeys(ROOT_KEY), outbound: localOutbound() };
  const container = await createContainer(options);
  const context = systemContext(systemClock, "bench", "replays");
  const { WebhookService } = container.services(context);
  const work = container.bind(context);
  const head = { id: HEAD_ID, seq: EVENTS, keptDays: 30, updatedAt: isoTime(startMs) };
  await store.commit([], [new Collection(eventHead, store).set(head)]);

  /** The median milliseconds of a step, from this part of the events on. */
  const stepMs = async (part: number): Promise<number> => {
    const { id } = await WebhookService.create({ url: "https://hooks.example.com/in", events: ["tenant.*"] });
    await WebhookService.replaySince(id, { kind: "missing", since: isoTime(startMs + part * EVENTS * EVERY_MS) });
    const times: number[] = [];
    for (let step = 0; step < STEPS; step++) {
      const started = performance.now();
      if (!await replayStep(work)) throw new Error("no replay is due");
      times.push(performance.now() - started);
    }
    const [replay] = (await WebhookService.replays(id))?.data ?? [];
    if (replay?.replayed !== STEPS * PAGE) throw new Error(`${replay?.replayed} deliveries instead of ${STEPS * PAGE}`);
    await WebhookService.delete(id);
    return median(times);
  };

  const [first, last]: [number[], number[]] = [[], []];
  for (let round = -1; round < ROUNDS; round++) {
    const pair = [await stepMs(0), await stepMs(0.9)] as const;
    if (round < 0) continue;
    first.push(pair[0]);
    last.push(pair[1]);
  }
  const hours = median(first) * EVENTS / PAGE / 3_600_000;
  report({
    operation: `a step of a replay of ${EVENTS.toLocaleString("en-US")} missing events, ${PAGE} deliveries, with 900,000 events before it`,
    callers: 1,
    store: ms(median(last)),
    against: "a step at the beginning",
    other: ms(median(first)),
    ratio: median(last.map((each, i) => each / (first[i] ?? each))),
    target: 1.5,
    atMost: true,
    note: `${Math.round(PAGE * 1_000 / median(first)).toLocaleString("en-US")} deliveries a second are made due, all in ` +
      `${Math.round(hours * 60)} minutes; memory of the process ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
  });
}

const PAGE = 180;

const ID = "'evt_' || ms || '_' || lpad(i::text, 12, '0')";

const NUMBERED = `
  insert into kv.entries (key, value, version, owner, cascades, created_at, updated_at)
  select 'outbox:' || ${ID}, jsonb_build_object('id', ${ID}, 'type', 'tenant.updated', 'subject', tenant, 'tenantId', tenant,
      'data', jsonb_build_object('tenant', jsonb_build_object('id', tenant)), 'seq', i, 'recordVersion', i::text,
      'createdAt', to_char(to_timestamp(ms / 1000.0) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
    nextval('kv.versions'), tenant, false, now(), now()
  from (select i, 'tn_' || i % 100 as tenant, $2::bigint + i * $3::bigint as ms from generate_series(1, $1::int) i) numbered`;
