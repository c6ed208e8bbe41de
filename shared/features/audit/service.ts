import canonicalize from "canonicalize";
import { auditEntry } from "../../core/audit-entry.ts";
import type { AuditEntry } from "../../core/audit-entry.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { Collection } from "../../core/collection.ts";
import type { Stored } from "../../core/collection.ts";
import type { Condition, Query, QueryPage, Scope } from "../../kv/store.ts";
import { listPage } from "../../core/paging.ts";
import type { Page, Pagination } from "../../core/paging.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";

export type StoredAuditEntry = Stored<typeof auditEntry>;

export interface AuditFilters {
  readonly resource?: string;
  readonly resourceId?: string;
  /** Exact, or a glob at the end: `tenant.*`. */
  readonly action?: string;
  readonly userId?: string;
  readonly userEmail?: string;
  /** Instants: `from ≤ timestamp < to`. */
  readonly from?: string;
  readonly to?: string;
}

export interface AuditLogOptions {
  readonly tenantId?: string;
  readonly changes?: { readonly before: JsonObject; readonly after: JsonObject };
  readonly data?: JsonObject;
}

export interface ChainReport {
  readonly ok: boolean;
  /** Entries that stand, up to the first that does not. */
  readonly checked: number;
  readonly firstBroken?: { readonly id: string; readonly seq: number; readonly reason: string };
}

const PAGE_ENTRIES = 500;
const NO_HASH = "0".repeat(64);

export class AuditService {
  readonly #entries: Collection<typeof auditEntry>;

  constructor(private readonly work: UnitOfWork) {
    this.#entries = new Collection(auditEntry, work.store);
  }

  /** Newest first. With a tenant, that tenant's chain in the order of `seq`; without, every scope a platform caller sees. */
  async list(tenantId?: string, pagination?: Pagination, filters: AuditFilters = {}): Promise<Page<StoredAuditEntry>> {
    const scope: Scope = this.#scope(tenantId) ?? "any";
    const field = scope === "any" ? "timestamp" : "seq";
    return await listPage(this.#entries, { where: conditions(filters), scope, pagination }, [{ field, direction: "desc" }]);
  }

  /** Everything that was done to one record, newest first, over all periods and scopes. */
  async getByResource(resource: string, resourceId: string, pagination?: Pagination): Promise<Page<StoredAuditEntry>> {
    return await listPage(this.#entries, {
      where: conditions({ resource, resourceId }),
      scope: this.work.context.tenantId ?? "any",
      pagination,
    }, [
      { field: "timestamp", direction: "desc" },
    ]);
  }

  /** Writes an entry that records no change of ours, such as an action in another system. */
  async log(action: string, resource: string, resourceId: string, options: AuditLogOptions = {}): Promise<void> {
    await this.work.transact(() => ({ commit: { audit: [{ action, resource, resourceId, ...options }], result: {} } }));
  }

  /**
   * Every entry as it is stored, page by page: of a tenant (a bound caller's own) in the order of its chain,
   * else of all scopes a platform caller sees, oldest first. `seq`, `prevHash` and `hash` stay, so a whole chain can be verified elsewhere.
   */
  async *export(tenantId?: string, filters: AuditFilters = {}): AsyncGenerator<AuditEntry, void, undefined> {
    const scope = this.#scope(tenantId) ?? "any";
    const field = scope === "any" ? "timestamp" : "seq";
    for await (const { value } of this.#walk({ scope, where: conditions(filters), orderBy: [{ field, direction: "asc" }] })) {
      yield value as AuditEntry;
    }
  }

  /**
   * Walks one chain in the order of `seq` and names the first link that does not hold. The head kept beside
   * the entries, read first, shows whether any are missing at the end.
   */
  async verify(tenantId?: string): Promise<ChainReport> {
    const scope = this.#scope(tenantId);
    const head = await this.work.store.chainHead(scope);
    let checked = 0;
    let prevHash = NO_HASH;
    let lastId = "";
    for await (const entry of this.#walk({ scope, orderBy: [{ field: "seq", direction: "asc" }] })) {
      const reason = await brokenBecause(entry, checked + 1, prevHash);
      if (reason !== null) return { ok: false, checked, firstBroken: { id: entry.key, seq: seqOf(entry.value) ?? checked + 1, reason } };
      prevHash = String(entry.value["hash"]);
      lastId = entry.key;
      checked++;
      if (checked === head?.seq && prevHash !== head.hash) {
        return {
          ok: false,
          checked: checked - 1,
          firstBroken: { id: entry.key, seq: checked, reason: "the hash is not the one the chain's head had" },
        };
      }
    }
    if (head && checked < head.seq) {
      return {
        ok: false,
        checked,
        firstBroken: {
          id: lastId,
          seq: checked + 1,
          reason: `after this entry, entries ${checked + 1} to ${head.seq} are missing at the end`,
        },
      };
    }
    return { ok: true, checked };
  }

  /** The tenant asked for, by short id or full key, else the caller's own; null for a platform caller without one. */
  #scope(tenantId: string | undefined): string | null {
    const own = this.work.context.tenantId;
    const asked = tenantId === undefined ? own : shortTenantId(tenantId);
    // Its store would answer with its own entries, under another's name.
    if (own !== null && asked !== own) throw errors.notFound("tenant", asked ?? "");
    return asked;
  }

  /** Entries as stored, one page in memory: what is checked or handed out is what is there, not what a schema makes of it. */
  async *#walk(
    query: Pick<Query, "scope" | "where" | "orderBy">,
  ): AsyncGenerator<{ readonly key: string; readonly value: JsonObject }, void, undefined> {
    let cursor: string | null = null;
    do {
      const page: QueryPage = await this.work.store.query({
        ...query,
        entity: auditEntry,
        limit: PAGE_ENTRIES,
        ...(cursor === null ? {} : { cursor }),
      });
      for (const { key, value } of page.entries) yield { key, value: value as JsonObject };
      cursor = page.cursor;
    } while (cursor !== null);
  }
}

async function brokenBecause(
  entry: { readonly key: string; readonly value: JsonObject },
  seq: number,
  prevHash: string,
): Promise<string | null> {
  const { seq: ownSeq, prevHash: ownPrev, hash, ...content } = entry.value;
  if (ownSeq !== seq) return `seq is ${JSON.stringify(ownSeq ?? null)}, ${seq} was expected: an entry is missing, inserted or moved`;
  if (ownPrev !== prevHash) return "prevHash is not the hash of the entry before";
  const contentHash = await sha256Hex(canonicalize(content) ?? "");
  if (await sha256Hex(`${prevHash}:${seq}:${contentHash}`) !== hash) return "the content does not match the hash";
  return content["id"] === entry.key ? null : "the id is not the key";
}

function seqOf(value: JsonObject): number | null {
  return typeof value["seq"] === "number" ? value["seq"] : null;
}

function conditions({ action, from, to, ...exact }: AuditFilters): Condition[] {
  const fields = Object.entries(exact).flatMap(([field, value]): Condition[] => value === undefined ? [] : [{ field, in: [value] }]);
  const time: Condition[] = from === undefined && to === undefined ? [] : [
    { field: "timestamp", ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) },
  ];
  return [...fields, ...actionCondition(action), ...time];
}

function actionCondition(action: string | undefined): Condition[] {
  if (action === undefined || action === "*") return [];
  if (!action.includes("*")) return [{ field: "action", in: [action] }];
  if (!/^[a-z0-9._-]+\*$/.test(action)) throw errors.parameter("action", "takes one * at its end, e.g. tenant.*");
  return [{ field: "action", prefix: action.slice(0, -1) }];
}
