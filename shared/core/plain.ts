import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
import { Collection, parseInput } from "./collection.ts";
import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Store } from "../kv/store.ts";

/**
 * A plain interface to the store for code that used a `kv_store` table, with the same seven function names. Keys must belong to
 * a declared entity (`undeclared_entity`) and values must match its schema (`validation_failed`). It bypasses the services: it
 * writes no audit entries.
 */
export interface PlainKv {
  /** The value, or null. */
  get(key: string): Promise<JsonValue>;
  set(key: string, value: JsonValue): Promise<void>;
  del(key: string): Promise<void>;
  /** The values in the order of the keys; null if missing. */
  mget(keys: readonly string[]): Promise<JsonValue[]>;
  /** Writes all values in one commit. */
  mset(keys: readonly string[], values: readonly JsonValue[]): Promise<void>;
  mdel(keys: readonly string[]): Promise<void>;
  /** All values under a prefix of whole segments, in key order, without a limit. */
  getByPrefix(prefix: string): Promise<JsonValue[]>;
}

export function plainKv(store: Store, registry: readonly AnyEntity[], entityOfKey: (key: string) => AnyEntity | null): PlainKv {
  const entityOf = (key: string): AnyEntity => {
    const entity = entityOfKey(key);
    if (!entity) {
      throw new InnkeepError("undeclared_entity", `No declared entity has keys like ${key}.`, [{
        path: "key",
        message: "must be a key of a declared entity",
        code: "undeclared_entity",
      }]);
    }
    return entity;
  };
  const mutation = (key: string, value: JsonValue) => {
    const entity = entityOf(key);
    // Only the services enforce which fields of its own record a tenant may change.
    if (store.tenantId !== null && entity.owner === "self") {
      throw new InnkeepError("forbidden", `You cannot write your own ${entity.name} record with kv. Use the ${entity.name} service.`);
    }
    if (entity.appendOnly) throw new InnkeepError("append_only", `You cannot write ${entity.name} records with kv. Use the audit service.`);
    const set = new Collection(entity, store).set(parseInput(entity.schema, value) as JsonObject);
    if (set.key !== key) {
      throw errors.validation([{ path: "", message: `must be the record of ${key}, not of ${set.key}`, code: "key_mismatch" }]);
    }
    return set;
  };
  const declared = (keys: readonly string[]): readonly string[] => {
    for (const key of keys) entityOf(key);
    return keys;
  };
  const kv: PlainKv = {
    get: async (key) => (await kv.mget([key]))[0] ?? null,
    set: (key, value) => kv.mset([key], [value]),
    del: (key) => kv.mdel([key]),
    mget: async (keys) => (await store.mget(declared(keys))).map((entry) => entry?.value ?? null),
    mset: async (keys, values) => {
      if (keys.length !== values.length) {
        throw new InnkeepError("bad_request", `Give one value for each key: there are ${keys.length} keys and ${values.length} values.`);
      }
      const result = await store.commit([], keys.map((key, i) => mutation(key, values[i] ?? null)));
      if (!result.ok) throw errors.writeConflict(result.conflict);
    },
    mdel: async (keys) => void await store.mdel(declared(keys)),
    getByPrefix: async (prefix) => {
      const family = prefix.split(":")[0] ?? "";
      if (!registry.some((entity) => familyOf(entity) === family)) entityOf(prefix);
      return await store.getByPrefix(prefix);
    },
  };
  return kv;
}
