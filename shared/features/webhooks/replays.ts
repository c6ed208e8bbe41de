import { Collection, type Stored } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors, isInnkeepError, isOutage } from "../../kernel/errors.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Mutation } from "../../kv/store.ts";
import { type Delivery, delivery, type REPLAY_KINDS, type Webhook, webhook, type WebhookReplay, webhookReplay } from "./entity.ts";
import { newDelivery } from "./matching.ts";
import { beginningOf, missingPage } from "./missing.ts";

type Replay = Stored<typeof webhookReplay>;

/** Above 200 keys a commit locks whole families. */
const PAGE = 180;
const MAX_RUNNING = 5;
const RETRY_MS = 5_000;
/** Begins the cursor of a replay that has come to the deliveries with the status `failed`. */
const FAILED = "failed:";
/** Decisions on a new replay before `write_conflict`. Every delivery changes the webhook. */
const CREATIONS = 50;

export interface ReplayRequest {
  /** Events that happened at this instant or later. */
  readonly since: string;
  readonly kind: (typeof REPLAY_KINDS)[number];
}

/** The delivery as it is sent again: due now, with the whole schedule of attempts before it. */
export function replayed<D extends Delivery>(before: D, now: string): D {
  return { ...before, status: "pending", nextRetryAt: now, round: 0, replays: before.replays + 1, updatedAt: now };
}

/** Whether it waits for another attempt. One that is due already may be in flight, and stays as it is. */
export function isWaiting({ status, nextRetryAt }: Pick<Delivery, "status" | "nextRetryAt">, now: string): boolean {
  return status === "pending" && nextRetryAt !== null && nextRetryAt > now;
}

/** Makes the webhook due, unless it is deleted meanwhile. The job then finds the deliveries. */
export function wake(webhookId: string, now: string): Mutation {
  return { op: "increment", key: `webhook:${webhookId}`, add: [], merge: { dueAt: now } };
}

/** Throws `invalid_transition` for a webhook to which nothing is sent. */
export function assertEnabled({ id, enabled, status }: Pick<Webhook, "id" | "enabled" | "status">): void {
  if (!enabled) throw errors.transition(status, "replayed", ["active"], `The webhook ${id}`);
}

/** Records the request for the job. Throws `invalid_transition`, `validation_failed`. */
export async function createReplay(
  work: UnitOfWork,
  target: Webhook,
  { since, kind }: ReplayRequest,
  options: ChangeOptions,
): Promise<Replay> {
  const { id: webhookId, tenantId } = target;
  const replays = new Records(webhookReplay, work);
  const now = work.now();
  if (since >= now) throw errors.validation([{ path: "/since", message: "must be in the past", code: "invalid" }]);
  const { idempotencyKey: key } = options;
  const call = key === undefined ? undefined : { operation: "webhook.replayed", key, request: { webhookId, since, kind } };
  const { result, version } = await work.transact<{ readonly record: WebhookReplay }>(async () => {
    const current = await new Collection(webhook, work.store).get(webhookId);
    if (!current) throw errors.notFound("webhook", webhookId);
    assertEnabled(current);
    // After the webhook was read: the check of its version then covers the count.
    await assertFewRunning(work, webhookId);
    const own = { webhookId, ...(tenantId === undefined ? {} : { tenantId }), status: "running", dueAt: now };
    const record = replays.newRecord({ since, kind, requestedBy: work.context.actor.id, ...own });
    const note = {
      action: "webhook.replayed",
      resource: webhook.name,
      resourceId: webhookId,
      tenantId,
      data: { since, kind, replayId: record.id },
    };
    const { version: _, ...same } = current;
    const changes: Change[] = [
      { entity: webhookReplay, before: null, after: record },
      // Gives the webhook another version: concurrent requests are counted one after the other, and a deletion leaves no replay behind.
      { entity: webhook, before: current, after: same },
    ];
    return { commit: { changes, audit: [note], attempts: CREATIONS, result: { record } }, resultOf: tenantId ?? null };
  }, ...(call ? [call] : []));
  return { ...result.record, version } as Replay;
}

async function assertFewRunning({ store }: UnitOfWork, webhookId: string): Promise<void> {
  const where = [{ field: "webhookId", in: [webhookId] }, { field: "status", in: ["running"] }];
  if (await store.count({ entity: webhookReplay, where }) < MAX_RUNNING) return;
  const message = `exceeds the limit of ${MAX_RUNNING} replays of a webhook at the same time; wait until one is completed`;
  throw errors.validation([{ path: "/since", message, code: "too_many" }]);
}

/**
 * Works off one page of the replay that has waited longest: one commit, which checks the replay, so that nothing is written for a
 * webhook that was deleted. Returns false if no replay is due. Every page can be repeated.
 */
export async function replayStep(work: UnitOfWork): Promise<boolean> {
  const { entries: [entry] } = await work.store.query({
    entity: webhookReplay,
    where: [{ field: "dueAt", to: isoTime(work.context.clock.now() + 1) }],
    orderBy: [{ field: "dueAt", direction: "asc" }],
    limit: 1,
  });
  if (!entry) return false;
  const replays = new Collection(webhookReplay, work.store);
  try {
    await work.transact(async () => {
      const before = await replays.get(entry.key);
      if (before?.status !== "running") return { done: {}, resultOf: entry.tenantId };
      const { after, changes, mutations } = await nextPage(work, before);
      const all = [{ entity: webhookReplay, before, after: { ...after, updatedAt: work.now() } }, ...changes];
      return { commit: { changes: all, mutations, audit: "none", result: {} }, resultOf: before.tenantId ?? null };
    });
  } catch (error) {
    if (isOutage(error)) throw error;
    await postpone(work, entry.key, error);
  }
  return true;
}

interface Page {
  readonly after: WebhookReplay;
  readonly changes: readonly Change[];
  readonly mutations: readonly Mutation[];
}

async function nextPage(work: UnitOfWork, before: Replay): Promise<Page> {
  const now = work.now();
  const target = await new Collection(webhook, work.store).get(before.webhookId);
  if (!target?.enabled) return { after: ended(before, "cancelled", now), changes: [], mutations: [] };
  const { changes, examined, cursor } = before.kind === "failed"
    ? await failed(work, before, now)
    : await missing(work, target, before, now);
  const counted = { ...before, examined: before.examined + examined, replayed: before.replayed + changes.length };
  const after = cursor === null ? ended(counted, "completed", now) : { ...counted, cursor, dueAt: now };
  return { after, changes, mutations: changes.length > 0 ? [wake(target.id, now)] : [] };
}

interface Found {
  readonly changes: readonly Change[];
  readonly examined: number;
  readonly cursor: string | null;
}

/** The deliveries that wait for another attempt, then those whose attempts are over: so none is made due twice. */
async function failed(work: UnitOfWork, replay: Replay, now: string): Promise<Found> {
  const { cursor } = replay;
  if (cursor?.startsWith(FAILED)) return await pageOf(work, replay, { status: "failed", cursor: cursor.slice(FAILED.length), now });
  const page = await pageOf(work, replay, { status: "pending", cursor, now });
  if (page.cursor !== null) return page;
  return page.changes.length === 0 ? await pageOf(work, replay, { status: "failed", now }) : { ...page, cursor: FAILED };
}

/** In the order of the events, so one that fails again meanwhile is not sent a third time. */
async function pageOf(
  { store }: UnitOfWork,
  { webhookId, since }: Replay,
  { status, cursor, now }: { readonly status: "pending" | "failed"; readonly cursor?: string | undefined; readonly now: string },
): Promise<Found> {
  const page = await new Collection(delivery, store).list({
    where: [
      { field: "webhookId", in: [webhookId] },
      { field: "status", in: [status] },
      { field: "timestamp", from: since },
    ],
    orderBy: [{ field: "timestamp", direction: "asc" }],
    limit: PAGE,
    walk: true,
    ...(cursor ? { cursor } : {}),
  });
  const found = page.records.filter((before) => before.status === "failed" || isWaiting(before, now));
  const changes = found.map((before) => ({ entity: delivery, before, after: replayed(before, now) }));
  const next = page.cursor !== null && status === "failed" ? `${FAILED}${page.cursor}` : page.cursor;
  return { changes, examined: changes.length, cursor: next };
}

async function missing(work: UnitOfWork, target: Webhook, { since, cursor }: Replay, now: string): Promise<Found> {
  const after = cursor === undefined ? await beginningOf(work, target, since) : Number(cursor);
  const page = await missingPage(work, target, { since, after }, PAGE);
  const changes = page.events.map((event) => ({ entity: delivery, before: null, after: newDelivery(target, event, now) }));
  return { changes, examined: page.examined, cursor: page.after === null ? null : String(page.after) };
}

function ended(replay: WebhookReplay, status: "completed" | "cancelled" | "failed", now: string): WebhookReplay {
  const { cursor: _, ...rest } = replay;
  return { ...rest, status, dueAt: null, completedAt: now } as WebhookReplay;
}

/** After a lost race the page is repeated later; any other error ends the replay. */
async function postpone(work: UnitOfWork, key: string, error: unknown): Promise<void> {
  const isLost = isInnkeepError(error, "write_conflict");
  await work.transact(async () => {
    const before = await new Collection(webhookReplay, work.store).get(key);
    if (before?.status !== "running") return { done: {}, resultOf: null };
    const now = work.now();
    const code = isInnkeepError(error) ? error.code : "internal";
    const after = isLost
      ? { ...before, dueAt: isoTime(Date.parse(now) + RETRY_MS), updatedAt: now }
      : { ...ended(before, "failed", now), error: code, updatedAt: now };
    return {
      commit: { changes: [{ entity: webhookReplay, before, after }], audit: "none", result: {} },
      resultOf: before.tenantId ?? null,
    };
  });
  if (!isLost) work.platform.logger.error("webhook_replay_failed", { key, error: String(error) });
}
