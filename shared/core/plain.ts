import { errors, InnkeepError } from "../kernel/errors.ts";
import type { JsonObject, JsonValue } from "../kernel/json.ts";
import { Collection, parseInput } from "./collection.ts";
import { familyOf } from "../kv/define.ts";
import type { AnyEntity } from "../kv/define.ts";
import type { Store } from "../kv/store.ts";

/**
 * The plain face of the store, for code that moves over from a `kv_store` table: the same seven names,
 * without that habit's faults. Keys must belong to a declared entity (`undeclared_entity`), values must
 * fit it (`validation_failed`). It is a door to the store, not to the services: it writes no audit entry.
 */
export interface PlainKv {
  /** The value, or null. */
  get(key: string): Promise<JsonValue>;
  set(key: string, value: JsonValue): Promise<void>;
  del(key: string): Promise<void>;
  /** Values in the order asked, null where missing. */
  mget(keys: readonly string[]): Promise<JsonValue[]>;
  /** All of them in one commit. */
  mset(keys: readonly string[], values: readonly JsonValue[]): Promise<void>;
  mdel(keys: readonly string[]): Promise<void>;
  /** Every value under a prefix of whole segments, in key order, all of them. */
  getByPrefix(prefix: string): Promise<JsonValue[]>;
}

export function plainKv(store: Store, registry: readonly AnyEntity[], entityOfKey: (key: string) => AnyEntity | null): PlainKv {
  const entityOf = (key: string): AnyEntity => {
    const entity = entityOfKey(key);
    if (!entity) {
      throw new InnkeepError("undeclared_entity", `No entity has keys like ${key}.`, [{
        path: "key",
        message: "is of no declared entity",
        code: "undeclared_entity",
      }]);
    }
    return entity;
  };
  const mutation = (key: string, value: JsonValue) => {
    const entity = entityOf(key);
    // What a tenant is, is the platform's to say: a bound caller has the services for that.
    if (store.tenantId !== null && entity.owner === "self") {
      throw new InnkeepError("forbidden", `A tenant cannot write its own ${entity.name} record here.`);
    }
    if (entity.appendOnly) throw new InnkeepError("append_only", `Only the audit log writes ${entity.name} records.`);
    const set = new Collection(entity, store).set(parseInput(entity.schema, value) as JsonObject);
    if (set.key !== key) throw errors.validation([{ path: "", message: `is the record ${set.key}, not ${key}`, code: "key_mismatch" }]);
    return set;
  };
  const declared = (keys: readonly string[]): readonly string[] => {
    for (const key of keys) entityOf(key);
    return keys;
  };
  const face: PlainKv = {
    get: async (key) => (await face.mget([key]))[0] ?? null,
    set: (key, value) => face.mset([key], [value]),
    del: (key) => face.mdel([key]),
    mget: async (keys) => (await store.mget(declared(keys))).map((entry) => entry?.value ?? null),
    mset: async (keys, values) => {
      if (keys.length !== values.length) {
        throw new InnkeepError("bad_request", `${keys.length} keys need as many values; ${values.length} were given.`);
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
  return face;
}
