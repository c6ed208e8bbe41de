import canonicalize from "canonicalize";
import { isoTime } from "../kernel/clock.ts";
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
    private readonly nowMs: number,
  ) {}

  /** Throws `validation_failed` if the key is invalid. */
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
    return new KeyedCall(records, record, clock.now());
  }

  /** The mutations that delete the record of a call, when its change is reverted. */
  static async forget(store: Store, context: Context, key: string): Promise<Mutation[]> {
    return [{ op: "delete", key: new Collection(idempotencyRecord, store).key(await addressOf(context, key)) }];
  }

  /** The check that the call has no record yet. */
  get check(): Check {
    return { key: this.records.key(this.record), version: null };
  }

  /** The recorded outcome of the call, else null. Throws `idempotency_mismatch` if the key was used with another request. */
  async seen(): Promise<Outcome<unknown> | null> {
    const { key } = this.check;
    const [first] = await this.records.getMany([key]);
    if (!first) return null;
    if (first.requestHash !== this.record.requestHash) {
      const message = "This idempotency key was used with another request. Use a new key for a new request.";
      throw new InnkeepError("idempotency_mismatch", message);
    }
    const { parts = 1, receipt, version } = first;
    const others = parts === 1 ? [] : await this.records.getMany(Array.from({ length: parts - 1 }, (_, i) => `${key}-${i + 2}`));
    // All parts expire together, here between the two reads.
    if (others.includes(null)) return null;
    const text = [first, ...others].map((part) => String(part?.result ?? "")).join("");
    return {
      result: JSON.parse(text) as unknown,
      version: receipt ? version : null,
      values: (receipt?.values ?? {}) as Outcome<unknown>["values"],
      deleted: receipt?.deleted ?? {},
    };
  }

  /** The mutations that record the call. `changes`: whether the commit contains others too. */
  mutations(result: object, changes: boolean): Mutation[] {
    const text = asciiJson(result);
    const parts = Array.from({ length: Math.ceil(text.length / PART_CHARS) }, (_, i) => text.slice(i * PART_CHARS, (i + 1) * PART_CHARS));
    const expiresAt = isoTime(this.nowMs + IDEMPOTENCY_HOURS * 3_600_000);
    return parts.map((part, i) => {
      const own = i === 0 ? { parts: parts.length } : { keyHash: `${this.record.keyHash}-${i + 1}` };
      const mutation = this.records.set({ ...this.record, ...own, result: part }, { expiresAt });
      return changes && i === 0 ? { ...mutation, receipt: true } : mutation;
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
