import type { Job, JobRun, JobStep } from "../../core/job.ts";
import type { RootKeys } from "../../core/root-keys.ts";
import type { AuditNote, Change } from "../../core/transaction.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { type AnyEntity, familyOf, matchKey } from "../../kv/define.ts";
import type { Entry } from "../../kv/store.ts";
import { rootKey } from "./entity.ts";
import { knownKeys } from "./known.ts";
import { encryptedEntities, encryptedFields, rewrapRecords } from "./rewrap.ts";
import { counted, type Counts, found, isAvailable, keyIdsOf, plusRecord } from "./rules.ts";

const DAY_SECONDS = 86_400;
/** Records of one commit, which writes each of them whole. */
const BLOCK_RECORDS = 25;

/** Where a run is. A run that found other keys ends with a second pass, which only counts. */
type Progress = {
  readonly pass: "rewrap" | "count";
  /** The entity that is read, and the store's cursor in it. */
  readonly entity: string;
  readonly after: string | null;
  readonly counts: Counts;
};

const rewrap: Job = {
  name: "root-keys",
  summary: "Encrypts the data keys of fields with the current root key, and counts the records under each root key.",
  everySeconds: DAY_SECONDS,
  step: async (run) => {
    const entities = await encryptedEntities(run.work);
    const progress = run.cursor as Progress | null ?? begin("rewrap", entities);
    const entity = entities.find(({ name }) => name === progress.entity);
    // A deployment may have removed the entity in the middle of a run.
    if (!entity) return entities.length === 0 ? await end(run, progress, 0) : { processed: 0, cursor: begin("rewrap", entities) };
    const { entries, cursor } = await run.work.store.list({
      prefix: familyOf(entity),
      limit: run.limit,
      ...(progress.after === null ? {} : { cursor: progress.after }),
    });
    const own = entries.filter(({ key }) => matchKey(entity, key) !== null);
    const counts = own.reduce((sum, entry) => plusRecord(sum, idsOf(entity, entry)), progress.counts);
    const processed = progress.pass === "rewrap" ? await rewrapPage(run, entity, own) : 0;
    if (cursor !== null) return { processed, cursor: { ...progress, after: cursor, counts } };
    const next = entities[entities.indexOf(entity) + 1];
    if (next) return { processed, cursor: { ...progress, entity: next.name, after: null, counts } };
    return await end(run, { ...progress, counts }, processed, begin("count", entities));
  },
};

function begin(pass: Progress["pass"], [first]: readonly AnyEntity[]): Progress {
  return { pass, entity: first?.name ?? "", after: null, counts: {} };
}

function idsOf(entity: AnyEntity, { value }: Entry): string[] {
  return keyIdsOf(encryptedFields(entity), value as JsonObject);
}

/**
 * Rewraps the records of a page that are under another key. A record that fails is retried by later runs. One under a lost key is left
 * out: no retry can help, and each of thousands would become a dead letter.
 */
async function rewrapPage(run: JobRun, entity: AnyEntity, entries: readonly Entry[]): Promise<number> {
  const keys = await run.work.platform.secrets.rootKeys();
  const stale = entries.filter((entry) => {
    const ids = idsOf(entity, entry);
    return ids.some((id) => id !== keys.current.id) && ids.every((id) => isAvailable(id, keys));
  });
  return await run.each(
    stale.map(({ key, tenantId }) => ({ id: key, tenantId })),
    ({ id }) => rewrapRecords(run.work, entity, [id]),
    { size: BLOCK_RECORDS, handle: (block) => rewrapRecords(run.work, entity, block.map(({ id }) => id)) },
  );
}

/** The end of a pass over all entities. */
async function end(run: JobRun, { pass, counts }: Progress, processed: number, again?: Progress): Promise<JobStep> {
  const keys = await run.work.platform.secrets.rootKeys();
  const hadOthers = Object.keys(counts).some((id) => id !== keys.current.id);
  const report = { records: counts };
  if (run.dryRun) return { processed, cursor: null, report };
  if (pass === "rewrap" && hadOthers && again) return { processed, cursor: again };
  await storeCounts(run.work, counts, keys);
  return { processed, cursor: null, report };
}

/** Stores the counts. That a key has become unused, is used again or is lost, is audited; the counts are bookkeeping. */
async function storeCounts(work: UnitOfWork, counts: Counts, keys: RootKeys): Promise<void> {
  await work.transact<Record<string, never>>(async () => {
    const known = await knownKeys(work.store);
    const now = work.now();
    const unknown = Object.keys(counts).filter((id) => !known.some((key) => key.id === id));
    const changes: Change[] = [
      ...known.map((before) => ({ entity: rootKey, before, after: counted(before, counts, keys.current.id, now) })),
      ...unknown.map((id) => ({ entity: rootKey, before: null, after: counted(found(id, keys, now), counts, keys.current.id, now) })),
    ];
    const audit = changes.flatMap((change): AuditNote[] => {
      const action = actionOf(change);
      return action === null ? [] : [{ action, resource: rootKey.name, resourceId: String(change.after?.["id"]), of: change }];
    });
    const noted = audit.length > 0 ? { audit } : { audit: "none" } as const;
    return { commit: { changes, ...noted, result: {} }, resultOf: null };
  });
}

function actionOf({ before, after }: Change): string | null {
  if (after?.["lostSince"] !== undefined && before === null) return "root-key.lost";
  if (before?.["unusedSince"] === after?.["unusedSince"]) return null;
  return after?.["unusedSince"] === undefined ? "root-key.used" : "root-key.unused";
}

export const jobs: readonly Job[] = [rewrap];
