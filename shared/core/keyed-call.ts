import canonicalize from "canonicalize";
import { type Clock, isoTime } from "../kernel/clock.ts";
import type { Context, Idempotency } from "../kernel/context.ts";
import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import { sha256Hex } from "../kernel/sha256.ts";
import type { RecordOf } from "../kv/define.ts";
import type { Check, Mutation, Store } from "../kv/store.ts";
import { Collection } from "./collection.ts";
import { idempotencyRecord } from "./idempotency-record.ts";

const IDEMPOTENCY_HOURS = 24;

/** The result of a transaction, from its commit or from the record of its idempotency key. */
export interface Outcome<R> {
  readonly result: R;
  /** The version of everything that the commit wrote. Null if it wrote nothing. */
  readonly version: string | null;
  /** The records after increments and appends, by key. */
  readonly values: Readonly<Record<string, JsonObject | null>>;
  /** The number of deleted live entries, by entity. */
  readonly deleted: Readonly<Record<string, number>>;
}

export const MAX_KEY_CHARS = 255;
export const isIdempotencyKey = (text: string) => /^[\x21-\x7e]+$/.test(text) && text.length <= MAX_KEY_CHARS;

/** Characters of a result in one record. They are ASCII and take at most two bytes each, which fits the store's limit of a value. */
const PART_CHARS = 120_000;

/** One call with an idempotency key, and the record of its result. */
export class KeyedCall {
  private constructor(
    private readonly records: Collection<typeof idempotencyRecord>,
    private readonly record: RecordOf<typeof idempotencyRecord>,
    private readonly clock: Clock,
  ) {}

  /** Throws `validation_failed` if the key is invalid. */
  static async of(store: Store, context: Context, { operation, key, request }: Idempotency): Promise<KeyedCall> {
    const records = new Collection(idempotencyRecord, store);
    const { tenantId, clock } = context;
    const record = {
      ...await addressOf(context, key),
      ...(tenantId === null ? {} : { tenantId }),
      // With the key, which is not stored: else a short secret in the request could be guessed from the hash.
      requestHash: await sha256Hex(canonicalize({ key, operation, request }) ?? ""),
      result: null,
      createdAt: isoTime(clock.now()),
    };
    return new KeyedCall(records, record, clock);
  }

  /** The check that the call has no record yet. */
  get check(): Check {
    return { key: this.records.key(this.record), version: null };
  }

  /**
   * The recorded outcome of the call, else null. Throws `idempotency_mismatch` if the key was used with another request, and
   * `not_found` if the tenant of the outcome was deleted meanwhile.
   */
  async seen(): Promise<Outcome<unknown> | null> {
    const { key } = this.check;
    const partKey = (n: number) => n === 1 ? key : `${key}-${n}`;
    const [first, second] = await this.records.getMany([key, partKey(2)]);
    if (!first) return null;
    if (first.requestHash !== this.record.requestHash) {
      const message = "This idempotency key was used with another request. Use a new key for a new request.";
      throw new InnkeepError("idempotency_mismatch", message);
    }
    const { parts = 1, resultOf, version } = first;
    const further = parts <= 2 ? [] : await this.records.getMany(Array.from({ length: parts - 2 }, (_, i) => partKey(i + 3)));
    const all = [first, ...(parts === 1 ? [] : [second ?? null]), ...further];
    if (all.includes(null)) {
      // All parts expire together, here between the two reads. Otherwise the tenant was deleted, and the parts with it.
      if (resultOf === undefined || !(await this.records.getMany([key]))[0]) return null;
      throw errors.notFound("tenant", resultOf);
    }
    const text = all.map((part) => String(part?.result ?? "")).join("");
    const receipt = all.find((part) => part?.receipt)?.receipt;
    return {
      result: JSON.parse(text) as unknown,
      version: receipt ? version : null,
      values: (receipt?.values ?? {}) as Outcome<unknown>["values"],
      deleted: receipt?.deleted ?? {},
    };
  }

  /**
   * The mutations that record the call. `changes`: whether the commit contains others too. If a platform caller's result belongs
   * to a tenant, it is kept in parts that are deleted with the tenant.
   */
  mutations(result: object, resultOf: string | null, changes: boolean): Mutation[] {
    const text = asciiJson(result);
    const parts = Array.from({ length: Math.ceil(text.length / PART_CHARS) }, (_, i) => text.slice(i * PART_CHARS, (i + 1) * PART_CHARS));
    const ofTenant = resultOf !== null && this.record.tenantId === undefined ? { tenantId: resultOf } : null;
    if (ofTenant) parts.unshift("");
    // The clock is read here, because it may have jumped since the call began.
    const expiresAt = isoTime(this.clock.now() + IDEMPOTENCY_HOURS * 3_600_000);
    return parts.map((part, i) => {
      const head = { parts: parts.length, ...(ofTenant ? { resultOf: ofTenant.tenantId } : {}) };
      const own = i === 0 ? head : { keyHash: `${this.record.keyHash}-${i + 1}`, ...ofTenant };
      const mutation = this.records.set({ ...this.record, ...own, result: part }, { expiresAt });
      return changes && i === (ofTenant ? 1 : 0) ? { ...mutation, receipt: true } : mutation;
    });
  }
}

/** The parameters of the record's key. The caller is one of them, so two callers can use the same idempotency key. */
async function addressOf({ actor, tenantId }: Context, key: string) {
  if (!isIdempotencyKey(key)) {
    const message = `must be 1 to ${MAX_KEY_CHARS} visible ASCII characters`;
    throw errors.validation([{ path: "/idempotencyKey", message, code: "invalid" }]);
  }
  return { callerHash: await sha256Hex(JSON.stringify([actor.type, actor.id, tenantId])), keyHash: await sha256Hex(key) };
}

/** JSON in ASCII, so that cutting it anywhere splits no surrogate pair. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
