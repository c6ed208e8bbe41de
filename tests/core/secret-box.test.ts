import { describe, expect, test } from "vitest";
import { z } from "zod";
import { byServer } from "../../shared/core/fields.ts";
import { redact, REDACTED } from "../../shared/core/redaction.ts";
import { knownRootKeys, NO_ROOT_KEYS, type RootKeySource } from "../../shared/core/root-keys.ts";
import { isSealed, sealed } from "../../shared/core/sealed.ts";
import { SecretBox } from "../../shared/core/secret-box.ts";
import { registry } from "../../shared/features/registry.ts";
import { defineEntity, secretsOf } from "../../shared/kv/define.ts";

const KEY = "integration:tn_1:stripe";
const FIELD = "credentials";
const SECRET = { apiKey: "sk_test_ünïcödé", nested: [1, null, "x".repeat(50_000)] };

let nowMs = 0;
const clock = { now: () => nowMs };
const bytes = (fill: number) => new Uint8Array(32).fill(fill);
const box = (source: RootKeySource = knownRootKeys(bytes(1))) => new SecretBox(source, clock);

/** The text with its character at this position, counted from the end if negative, replaced. */
function damaged(text: string, at: number): string {
  const i = at < 0 ? text.length + at : at;
  return `${text.slice(0, i)}${text[i] === "A" ? "B" : "A"}${text.slice(i + 1)}`;
}

describe("the secret box", () => {
  test("I06: a value opens as it was sealed, and each sealing has a data key and nonces of its own", async () => {
    const [first, second] = [await box().seal(KEY, FIELD, SECRET), await box().seal(KEY, FIELD, SECRET)];
    expect(sealed.parse(first)).toEqual(first);
    expect(await box().open(KEY, FIELD, first)).toEqual(SECRET);
    expect(first.keyId).toBe(second.keyId);
    expect(first.wrappedKey).not.toBe(second.wrappedKey);
    expect(first.ciphertext).not.toBe(second.ciphertext);
  });

  test.each([
    ["of another tenant", "integration:tn_2:stripe", FIELD],
    ["of another record", "integration:tn_1:xero", FIELD],
    ["under another field", KEY, "settings"],
    ["of a key that ends where the field begins", "integration:tn_1", "stripe\ncredentials"],
  ])("I06: a ciphertext that was moved to the record %s does not decrypt", async (_, key, field) => {
    const value = await box().seal(KEY, FIELD, SECRET);
    await expect(box().open(key, field, value)).rejects.toMatchObject({ code: "decryption_failed" });
    await expect(box().rewrap(key, field, value)).rejects.toMatchObject({ code: "decryption_failed" });
  });

  test("I06: a ciphertext with the data key of another value does not decrypt", async () => {
    const [one, other] = [await box().seal(KEY, FIELD, SECRET), await box().seal(KEY, FIELD, "other")];
    await expect(box().open(KEY, FIELD, { ...one, wrappedKey: other.wrappedKey })).rejects.toMatchObject({ code: "decryption_failed" });
  });

  test.each([0, 15, 20, -1])(
    "I06: a value with its character %i changed fails with the record and field, and none of the value",
    async (at) => {
      const value = await box().seal(KEY, FIELD, "hunter2");
      for (const member of ["wrappedKey", "ciphertext"] as const) {
        // The last character may have unused bits, so another one of the tag is changed instead.
        const wrong = { ...value, [member]: damaged(value[member], at === -1 ? -3 : at) };
        const failure = await box().open(KEY, FIELD, wrong).catch((error: Error) => error);
        expect(failure).toMatchObject({ code: "decryption_failed" });
        expect(String(failure)).toContain(`${FIELD} of ${KEY}`);
        expect(JSON.stringify(failure)).not.toMatch(/hunter2/);
      }
    },
  );

  test.each(["", "A", "!!", "AAAAAAAAAAAAAAAA"])("I06: the damaged text %j is refused like another mismatch", async (text) => {
    const value = await box().seal(KEY, FIELD, SECRET);
    await expect(box().open(KEY, FIELD, { ...value, ciphertext: text })).rejects.toMatchObject({ code: "decryption_failed" });
    await expect(box().open(KEY, FIELD, { ...value, wrappedKey: text })).rejects.toMatchObject({ code: "decryption_failed" });
  });

  test("I07: a new wrapping has the new key, the same ciphertext and the same value, and needs no old key afterwards", async () => {
    const value = await box().seal(KEY, FIELD, SECRET);
    const rotated = await box(knownRootKeys(bytes(2), [bytes(1)])).rewrap(KEY, FIELD, value);
    expect(rotated.keyId).not.toBe(value.keyId);
    expect(rotated.ciphertext).toBe(value.ciphertext);
    expect(await box(knownRootKeys(bytes(2))).open(KEY, FIELD, rotated)).toEqual(SECRET);
    await expect(box().open(KEY, FIELD, rotated)).rejects.toMatchObject({ code: "root_key_unavailable" });
  });

  test("I08: without its root key a value does not open, and the error names the key that is needed", async () => {
    const value = await box().seal(KEY, FIELD, SECRET);
    const failure = await box(knownRootKeys(bytes(2))).open(KEY, FIELD, value).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: "root_key_unavailable" });
    expect(String(failure)).toContain(value.keyId);
    const forged = { ...value, keyId: (await box(knownRootKeys(bytes(2))).rootKeys()).current.id };
    await expect(box(knownRootKeys(bytes(2))).open(KEY, FIELD, forged)).rejects.toMatchObject({ code: "decryption_failed" });
    await expect(box(NO_ROOT_KEYS).seal(KEY, FIELD, SECRET)).rejects.toMatchObject({ code: "root_key_unavailable" });
  });

  test("I07: a process with the old key reads its source again for a value of the new key, at most every 10 seconds", async () => {
    let loads = 0;
    let current = knownRootKeys(bytes(1));
    const running = box({ load: () => (loads++, current.load()) });
    expect(await running.open(KEY, FIELD, await running.seal(KEY, FIELD, "old"))).toBe("old");
    current = knownRootKeys(bytes(2), [bytes(1)]);
    const value = await box(current).seal(KEY, FIELD, "new");
    await expect(running.open(KEY, FIELD, value)).rejects.toMatchObject({ code: "root_key_unavailable" });
    expect(loads).toBe(1);
    nowMs += 10_000;
    expect(await running.open(KEY, FIELD, value)).toBe("new");
    expect(loads).toBe(2);
  });

  test("I07: a process that lacks the new key goes on decrypting what is under its own, and encrypts nothing", async () => {
    let isRotated = false;
    const own = knownRootKeys(bytes(1));
    const running = box({ load: () => (isRotated ? NO_ROOT_KEYS : own).load() });
    const old = await running.seal(KEY, FIELD, "old");
    isRotated = true;
    nowMs += 10_000;
    const value = await box(knownRootKeys(bytes(2))).seal(KEY, FIELD, "new");
    await expect(running.open(KEY, FIELD, value)).rejects.toMatchObject({ code: "root_key_unavailable" });
    expect(await running.open(KEY, FIELD, old)).toBe("old");
    await expect(running.seal(KEY, FIELD, "value")).rejects.toMatchObject({ code: "root_key_unavailable" });
    await expect(running.rewrap(KEY, FIELD, old)).rejects.toMatchObject({ code: "root_key_unavailable" });
  });

  test("I08: a source that could not be read is read again by the next call", async () => {
    const sources = [NO_ROOT_KEYS, knownRootKeys(bytes(1))];
    const running = box({ load: () => (sources.shift() ?? NO_ROOT_KEYS).load() });
    await expect(running.seal(KEY, FIELD, 1)).rejects.toMatchObject({ code: "root_key_unavailable" });
    expect(await running.open(KEY, FIELD, await running.seal(KEY, FIELD, 1))).toBe(1);
  });
});

describe("the declarations of encrypted fields", () => {
  /** The places of every schema of the stored form of encrypted values, however deep. */
  function sealedPlaces(schema: z.ZodType, place: string): string[] {
    if (isSealed(schema)) return [place];
    const def = schema.def as unknown as Readonly<Record<string, unknown>>;
    const inner = [def["innerType"], def["element"], def["valueType"], def["in"], def["out"], def["options"], def["items"]].flat();
    const shape = schema instanceof z.ZodObject ? Object.entries(schema.shape as Record<string, z.ZodType>) : [];
    return [
      ...inner.filter((each) => each instanceof z.ZodType).flatMap((each) => sealedPlaces(each, `${place} (inside)`)),
      ...shape.flatMap(([name, member]) => sealedPlaces(member, place === "" ? name : `${place}.${name}`)),
    ];
  }

  test("I07: every field with an encrypted value is declared as encrypted, and every field so declared has one", () => {
    for (const entity of registry) {
      expect(sealedPlaces(entity.schema, "").sort(), entity.name).toEqual([...entity.encrypted ?? [] as readonly string[]].sort());
    }
  });

  test("I07: an encrypted value inside another field, a list or a map is found, so that rotation misses none", () => {
    const schema = z.looseObject({
      plain: byServer(sealed.nullable().optional()).meta({ description: "Marked." }),
      list: z.array(sealed),
      map: z.record(z.string(), sealed.optional()),
      inside: z.object({ deep: z.union([z.string(), sealed]) }),
      other: z.string(),
    });
    expect(sealedPlaces(schema, "")).toEqual(["plain", "list (inside)", "map (inside)", "inside.deep (inside)"]);
  });

  test("I04: an encrypted field is a secret, and a field that is not sealed cannot be declared as encrypted", () => {
    const schema = z.looseObject({ id: z.string(), label: z.string(), token: sealed.optional() });
    const token = { keyId: "0".repeat(16), wrappedKey: "AAAA", ciphertext: "AAAA" };
    const entity = defineEntity({
      name: "box",
      summary: "A record with an encrypted field, declared for this test.",
      key: "box:{id}",
      schema,
      owner: "platform",
      encrypted: ["token"],
      example: { id: "b_1", label: "a box", token },
    });
    expect(secretsOf(entity)).toEqual(["token"]);
    expect(redact(entity, entity.example)).toEqual({ id: "b_1", label: "a box", token: REDACTED });
    // @ts-expect-error -- label is a plain text
    expect(defineEntity({ ...entity, encrypted: ["label"] }).name).toBe("box");
  });
});
