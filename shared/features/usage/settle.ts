import { Collection, type Stored } from "../../core/collection.ts";
import { type Notes, notesOf } from "../../core/notes.ts";
import { periodOf } from "../../core/periods.ts";
import type { Change, Decision, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { keyOf } from "../../kv/define.ts";
import type { Check, Mutation } from "../../kv/store.ts";
import { type Alert, alert as alertEntity } from "../alerts/entity.ts";
import { noticeOf } from "../alerts/notice.ts";
import { alertId, type AlertMove, alertMoves, eventDataOf, idPrefix, nameOf, reachedOf, type Watched } from "../alerts/rules.ts";
import { catalogueOf } from "../metrics/catalogue.ts";
import { notify } from "../notifications/notify.ts";
import { tenant as tenantEntity } from "../tenants/entity.ts";
import { usageChange, type UsageLevel, usageLevel } from "./entity.ts";
import { markMutation, REACH_MS } from "./marks.ts";
import { type Usage, usageOf } from "./reads.ts";
import { highestPercentage } from "./rules.ts";

type StoredAlert = Stored<typeof alertEntity>;

export interface Settled {
  /** The highest percentage of the month's metrics. */
  readonly percent: number;
  readonly written: boolean;
}

interface Found {
  readonly tenant: Stored<typeof tenantEntity>;
  readonly usage: readonly Usage[];
  readonly alerts: readonly StoredAlert[];
  readonly levels: ReadonlyMap<string, Stored<typeof usageLevel>>;
  readonly watched: readonly Watched[];
  /** The names of the metrics. */
  readonly names: ReadonlyMap<string, string>;
}

/** The parts of the commit that concern the mark. */
interface Ending {
  readonly checks: readonly Check[];
  readonly mutations: readonly Mutation[];
}
const NO_ENDING: Ending = { checks: [], mutations: [] };

/**
 * Writes what follows from the usage of a tenant in a month, where it differs: its alerts with their events, its usage levels, and in the
 * current month its `usagePercent`. One commit. With `endsMark`, also deletes the mark once it has ended. Throws `not_found`.
 */
export async function settleUsage(
  work: UnitOfWork,
  tenantId: string,
  period: string,
  { endsMark = false }: { readonly endsMark?: boolean } = {},
): Promise<Settled> {
  const { result } = await work.transact<Settled>(async () => {
    // Before the usage is read: a count after this writes the mark again, and the commit then conflicts.
    const ending = endsMark ? await endingOf(work, tenantId, period) : NO_ENDING;
    return await decided(work, period, await found(work, tenantId, period), ending);
  });
  return result;
}

async function found(work: UnitOfWork, tenantId: string, period: string): Promise<Found> {
  const catalogue = await catalogueOf(work);
  const levelKeys = [...catalogue.keys()].map((metric) => keyOf(usageLevel, { tenantId, metric, period }));
  const [{ tenant, usage }, alerts, levels] = await Promise.all([
    usageOf(work, tenantId, period),
    alertsOf(work, tenantId, period),
    new Collection(usageLevel, work.store).getMany(levelKeys),
  ]);
  return {
    tenant,
    usage,
    alerts,
    levels: new Map(levels.flatMap((level) => level ? [[level.metric, level] as const] : [])),
    names: new Map([...catalogue.values()].map(({ id, name }) => [id, name])),
    watched: usage.map(({ metric, current, limit }) => ({ metric, current, limit, thresholds: catalogue.get(metric)?.thresholds ?? [] })),
  };
}

/** The alerts of a tenant and month: their ids begin with the month. */
async function alertsOf(work: UnitOfWork, tenantId: string, period: string): Promise<StoredAlert[]> {
  const alerts = new Collection(alertEntity, work.store);
  const start = keyOf(alertEntity, { tenantId, id: idPrefix(period) });
  const own: StoredAlert[] = [];
  for await (const entry of work.store.entries({ prefix: `alert:${tenantId}`, start, end: `${start}~` })) own.push(alerts.read(entry));
  return own;
}

async function decided(work: UnitOfWork, period: string, its: Found, ending: Ending): Promise<Decision<Settled>> {
  const { tenant, usage } = its;
  const resultOf = tenant.id;
  const percent = highestPercentage(usage);
  const moves = await movesOf(work, period, its);
  const isStale = period === periodOf(work.context.clock.now()) && tenant.usagePercent !== percent;
  const key = keyOf(tenantEntity, tenant);
  const checks = [...ending.checks, ...isStale ? [{ key, version: tenant.version }] : []];
  const mutations: Mutation[] = [
    ...isStale ? [{ op: "increment" as const, key, add: [{ path: ["usagePercent"], to: percent }] }] : [],
    ...ending.mutations,
  ];
  const changes = [...moves.map(changeOf), ...usage.flatMap((each) => levelChange(each, its, work.now()))];
  if (changes.length + mutations.length === 0) return { done: { percent, written: false }, resultOf };
  const parts = { checks, mutations, changes, result: { percent, written: changes.length > 0 || isStale } };
  if (moves.length === 0) return { commit: { ...parts, audit: "none" }, resultOf };
  const notes = moves.map((move) => notesOfMove(move, its));
  const told = await notify(
    work,
    moves.flatMap((move) => noticeOf(move, levelOf(move, its), its.names.get(move.after.metric) ?? "") ?? []),
  );
  const all = { ...parts, changes: [...changes, ...told.changes], mutations: [...mutations, ...told.mutations] };
  return { commit: { ...all, audit: notes.map(({ audit }) => audit), events: notes.flatMap(({ events }) => events) }, resultOf };
}

async function movesOf(work: UnitOfWork, period: string, { tenant, watched, alerts }: Found): Promise<AlertMove<StoredAlert>[]> {
  const ids = await Promise.all(reachedOf(watched).map(async (each) => [nameOf(each), await alertId({ ...each, period })] as const));
  const nowMs = work.context.clock.now();
  return alertMoves({ tenantId: tenant.id, period, watched, alerts, ids: new Map(ids), nowMs, now: isoTime(nowMs) });
}

function changeOf({ before, after }: AlertMove<StoredAlert>): Change {
  return { entity: alertEntity, before, after };
}

/** The audit entry of a change of an alert, and the events that it sends. */
function notesOfMove(move: AlertMove<StoredAlert>, its: Found): Pick<Notes, "audit"> & { readonly events: Notes["event"][] } {
  const { after, events } = move;
  const action = after.triggered || move.before === null ? "usage.alert" : "usage.alert.resolved";
  const notes = notesOf(action, after.id, changeOf(move), { eventData: eventDataOf(after as Alert, levelOf(move, its)) });
  return { audit: notes.audit, events: events.map((type) => ({ ...notes.event, type })) };
}

function levelOf({ after }: AlertMove<StoredAlert>, { watched }: Found): Pick<Watched, "current" | "limit"> {
  return watched.find(({ metric }) => metric === after.metric) ?? { current: 0, limit: null };
}

/** The level of a metric, if it differs. A metric that was never used has none. */
function levelChange({ tenantId, metric, period, current, limit, percentage }: Usage, { levels }: Found, now: string): Change[] {
  const before = levels.get(metric) ?? null;
  const isSame = before ? before.current === current && before.limit === limit : current === 0;
  const after: UsageLevel = { tenantId, metric, period, current, limit, percentage, updatedAt: now };
  return isSame ? [] : [{ entity: usageLevel, before, after }];
}

/** Deletes the mark if it has ended. One that ends later than any process could have set it was made by a clock that was ahead. */
async function endingOf(work: UnitOfWork, tenantId: string, period: string): Promise<Ending> {
  const key = keyOf(usageChange, { tenantId, period });
  const entry = await work.store.get(key);
  if (!entry) return NO_ENDING;
  const { until } = new Collection(usageChange, work.store).read(entry);
  const nowMs = work.context.clock.now();
  const checks = [{ key, version: entry.version }];
  if (until <= isoTime(nowMs)) return { checks, mutations: [{ op: "delete", key }] };
  if (until > isoTime(nowMs + REACH_MS)) return { checks, mutations: [markMutation(work, tenantId, period)] };
  return NO_ENDING;
}
