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

export const IDEMPOTENCY_HOURS = 24;

/** What a transaction came to: at its commit, or as the record of its key tells it later. */
export interface Outcome<R> {
  readonly result: R;
  /** Of everything the commit wrote; null: it wrote nothing. */
  readonly version: string | null;
  /** The records after increments and appends, by key. */
  readonly values: Readonly<Record<string, JsonObject | null>>;
  /** Live entries that went, by entity. */
  readonly deleted: Readonly<Record<string, number>>;
}

export const MAX_KEY_CHARS = 255;
export const isIdempotencyKey = (text: string) => /^[\x21-\x7e]+$/.test(text) && text.length <= MAX_KEY_CHARS;

/** Characters of a result in one record. Each is ASCII and takes at most two bytes, so that it fits the store's limit. */
const PART_CHARS = 120_000;

/** One call with an idempotency key, and the record that says what it did. */
export class KeyedCall {
  private constructor(
    private readonly records: Collection<typeof idempotencyRecord>,
    private readonly record: RecordOf<typeof idempotencyRecord>,
    private readonly clock: Clock,
  ) {}

  /** Throws `validation_failed` for what is no key. */
  static async of(store: Store, context: Context, { operation, key, request }: Idempotency): Promise<KeyedCall> {
    const records = new Collection(idempotencyRecord, store);
    const { tenantId, clock } = context;
    const record = {
      ...await addressOf(context, key),
      ...(tenantId === null ? {} : { tenantId }),
      requestHash: await sha256Hex(canonicalize({ operation, request }) ?? ""),
      result: null,
      createdAt: isoTime(clock.now()),
    };
    return new KeyedCall(records, record, clock);
  }

  /** That no such call was made. */
  get check(): Check {
    return { key: this.records.key(this.record), version: null };
  }

  /** What the call came to when it was made before, else null. Throws `idempotency_mismatch`, and `not_found` when its tenant is deleted. */
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
      // They expire together, so its day ended between two reads; else the tenant went, and its data with it.
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
   * What remembers the call; `changes`: the commit changes something beside it. Of a tenant's data, a platform caller's record
   * keeps nothing: the parts after it are the tenant's, and go with it.
   */
  mutations(result: object, resultOf: string | null, changes: boolean): Mutation[] {
    const text = asciiJson(result);
    const parts = Array.from({ length: Math.ceil(text.length / PART_CHARS) }, (_, i) => text.slice(i * PART_CHARS, (i + 1) * PART_CHARS));
    const ofTenant = resultOf !== null && this.record.tenantId === undefined ? { tenantId: resultOf } : null;
    if (ofTenant) parts.unshift("");
    // From the instant of the commit: a clock that jumped since the call began must not let the record expire before it.
    const expiresAt = isoTime(this.clock.now() + IDEMPOTENCY_HOURS * 3_600_000);
    return parts.map((part, i) => {
      const head = { parts: parts.length, ...(ofTenant ? { resultOf: ofTenant.tenantId } : {}) };
      const own = i === 0 ? head : { keyHash: `${this.record.keyHash}-${i + 1}`, ...ofTenant };
      const mutation = this.records.set({ ...this.record, ...own, result: part }, { expiresAt });
      return changes && i === (ofTenant ? 1 : 0) ? { ...mutation, receipt: true } : mutation;
    });
  }
}

/** Where the record of a caller's key lies: another caller's same key is another call. */
async function addressOf({ actor, tenantId }: Context, key: string) {
  if (!isIdempotencyKey(key)) {
    const message = `must be 1 to ${MAX_KEY_CHARS} visible ASCII characters`;
    throw errors.validation([{ path: "/idempotencyKey", message, code: "invalid" }]);
  }
  return { callerHash: await sha256Hex(JSON.stringify([actor.type, actor.id, tenantId])), keyHash: await sha256Hex(key) };
}

/** JSON that can be cut anywhere: of characters beyond ASCII, which may be two of JavaScript's, only escapes are left. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
