import { keyOf } from "../../shared/kv/define.ts";
import type { AnyEntity, KeyParamsOf } from "../../shared/kv/define.ts";

/** The parameters of an entity's key, in order. `{~nonce}` is not a field of the record. */
export function paramsOf(entity: AnyEntity): string[] {
  return [...entity.key.matchAll(/\{~?(\w+)\??\}/g)].map(([, name = ""]) => name);
}

export function exampleParams(entity: AnyEntity): Record<string, string> {
  const example = entity.example as Readonly<Record<string, unknown>>;
  return Object.fromEntries(paramsOf(entity).map((name) => [name, String(example[name] ?? "a1b2c3d4e5f6")]));
}

/** Builds a key from parameters that are known only at run time; keyOf checks them. */
export function keyFrom(entity: AnyEntity, params: Readonly<Record<string, string>>): string {
  return keyOf(entity, params as KeyParamsOf<AnyEntity>);
}
