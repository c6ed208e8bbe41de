import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend, loadServices } from "../../../shared/container.ts";
import { DEFAULT_RATE_LIMITS } from "../../../shared/core/caller.ts";
import { scopes as catalogue } from "../../../shared/features/index.ts";
import { handleDue } from "../../../shared/features/api-keys/due.ts";
import { findKey, hashesOf, rehash } from "../../../shared/features/api-keys/lookup.ts";
import { systemContext } from "../../../shared/kernel/context.ts";
import type { Context } from "../../../shared/kernel/context.ts";
import { silentLogger } from "../../../shared/kernel/logger.ts";
import { withClient } from "../../support/client.ts";
import { API_KEY_SECRET, openTestContext, userOf } from "../../support/test-context.ts";

let context: Awaited<ReturnType<typeof openTestContext>>;
beforeAll(async () => {
  context = await openTestContext();
});
afterAll(() => context.close());

const keys = (caller?: Partial<Context>) => context.as(caller).ApiKeyService;
const asOwner = (tenantId: string): Partial<Context> => ({ ...userOf(tenantId), scopes: catalogue.ofTenant("owner") });
const verify = (key: string) => keys().verify(key);
const DAY_MS = 24 * 3_600_000;

describe("API keys", () => {
  test("AK01, AK02: show the secret once, later its beginning and end; no table of the database contains it", async () => {
    const { id, secret = "" } = await keys().generate("Once", ["read:plans"]);
    const { secret: second = "" } = await keys().rotate(id, { overlapSeconds: 60 }) ?? {};
    const shown = [await keys().get(id), (await keys().list()).data.find((key) => key.id === id)];
    for (const key of shown) {
      expect(key).toMatchObject({ prefix: second.slice(0, 14), last4: second.slice(-4), previous: { last4: secret.slice(-4) } });
      for (const name of ["secret", "hash", "previousHash"]) expect(key).not.toHaveProperty(name);
    }
    await verify(secret);
    const dump = await withClient(context.database.superUrl, async (client) => {
      const { rows: tables } = await client.query<{ name: string }>(
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
      );
      const texts = [];
      for (const { name } of tables) {
        texts.push((await client.query<{ row: string }>(`select t::text as row from ${name} t`)).rows.map(({ row }) => row));
      }
      return texts.flat().join("\n");
    });
    expect(dump).toContain(id);
    for (const text of [secret, second]) expect([dump.includes(text), dump.includes(text.slice(8, 40))]).toEqual([false, false]);
  });

  test("AK01: a call that is repeated with its idempotency key makes no second key and shows no secret", async () => {
    const make = () => keys().generate("Repeated", ["read:plans"], {}, { idempotencyKey: "make-1" });
    const [first, again] = [await make(), await make()];
    expect([first.id, "secret" in first, "secret" in again]).toEqual([again.id, true, false]);
    const roll = () => keys().rotate(first.id, { overlapSeconds: 0 }, { idempotencyKey: "roll-1" });
    const [rolled, repeated] = [await roll(), await roll()];
    expect([rolled?.last4, repeated?.last4, repeated && "secret" in repeated]).toEqual([rolled?.secret?.slice(-4), rolled?.last4, false]);
    expect(await verify(rolled?.secret ?? "")).toMatchObject({ code: "VALID" });
  });

  test("AK04: of a tenant are listed, read and changed by the tenant alone, and never show those of the platform or of others", async () => {
    const [own, other] = [await context.tenant(), await context.tenant()];
    const platform = await keys().generate("Platform", ["read:plans"]);
    const foreign = await keys().generate("Foreign", ["read:plans"], { tenantId: other.id });
    const mine = keys(asOwner(own.id));
    const made = await mine.generate("Own", ["read:plans"]);
    expect(made.tenantId).toBe(own.id);
    for (const list of [await mine.list(), await mine.list(own.id), await keys().list(own.id), await mine.unused(0)]) {
      expect(list.data.map(({ id }) => id).filter((id) => id !== made.id)).toEqual([]);
    }
    await expect(mine.list(other.id)).rejects.toMatchObject({ code: "not_found" });
    for (const { id } of [platform, foreign]) {
      expect([
        await mine.get(id),
        await mine.update(id, { name: "X" }),
        await mine.revoke(id),
        await mine.rotate(id, { overlapSeconds: 0 }),
      ])
        .toEqual([null, null, null, null]);
    }
    for (const { secret = "" } of [platform, foreign]) expect(await mine.verify(secret)).toEqual({ valid: false, code: "NOT_FOUND" });
    expect(await mine.verify(made.secret ?? "")).toMatchObject({ code: "VALID", tenantId: own.id });
    await expect(mine.generate("Other", ["read:plans"], { tenantId: other.id })).rejects.toMatchObject({ code: "not_found" });
    await expect(keys().generate("None", ["read:plans"], { tenantId: "tn_none" })).rejects.toMatchObject({ code: "not_found" });
  });

  test("AK07: are made, changed and rotated only by a caller that has their scopes, and revoked by any", async () => {
    const { id: tenantId } = await context.tenant();
    const wide = await keys().generate("Wide", ["write:plans", "read:plans"]);
    const narrow = keys({ scopes: new Set(["read:plans", "write:api-keys"]) });
    const refused = { code: "forbidden", message: expect.stringContaining("write:plans") as string };
    await expect(narrow.generate("X", ["write:plans"])).rejects.toMatchObject(refused);
    await expect(narrow.generate("X", ["*"])).rejects.toMatchObject({ code: "forbidden" });
    await expect(narrow.rotate(wide.id, { overlapSeconds: 0 })).rejects.toMatchObject(refused);
    await expect(narrow.update(wide.id, { enabled: false })).rejects.toMatchObject(refused);
    const own = await narrow.generate("Own", ["read:plans"]);
    await expect(narrow.update(own.id, { scopes: ["read:plans", "write:plans"] })).rejects.toMatchObject(refused);
    await expect(keys(asOwner(tenantId)).generate("X", ["write:plans"])).rejects.toMatchObject({ code: "validation_failed" });
    await expect(keys().generate("X", ["read:none"])).rejects.toMatchObject({ code: "validation_failed" });
    await expect(keys().generate("X", ["read:plans"], { allowedIps: ["300.1.1.1", "10.0.0.0/8", "010.1.1.1"] }))
      .rejects.toMatchObject({ fields: [{ path: "/allowedIps/0" }, { path: "/allowedIps/2" }] });
    const itself = keys({ actor: { type: "api_key", id: own.id }, scopes: new Set(["read:plans", "write:api-keys"]) });
    await expect(itself.update(own.id, { expiresAt: null })).rejects.toMatchObject({ code: "forbidden" });
    expect(await narrow.revoke(wide.id, "Leaked")).toMatchObject({ revokedReason: "Leaked" });
    expect(await keys().revoke(wide.id, "Again")).toMatchObject({ revokedReason: "Leaked" });
    for (const change of [keys().update(wide.id, { name: "X" }), keys().rotate(wide.id, { overlapSeconds: 0 })]) {
      await expect(change).rejects.toMatchObject({ code: "invalid_transition" });
    }
  });

  test("AK09: keep the replaced secret for the overlap, both for one key, and a second rotation ends the older at once", async () => {
    const { id, secret: first = "" } = await keys().generate("Rolled", ["read:plans"]);
    const { secret: second = "" } = await keys().rotate(id, { overlapSeconds: 3_600 }) ?? {};
    for (const secret of [first, second]) expect(await verify(secret)).toMatchObject({ code: "VALID", keyId: id });
    await context.container.platform.uses.flush();
    const { secret: third = "" } = await keys().rotate(id, { overlapSeconds: 3_600 }) ?? {};
    expect((await Promise.all([first, second, third].map(verify))).map(({ code }) => code)).toEqual(["NOT_FOUND", "VALID", "VALID"]);
    context.clock.advance(3_599_999);
    expect(await verify(second)).toMatchObject({ code: "VALID" });
    context.clock.advance(1);
    expect((await Promise.all([second, third].map(verify))).map(({ code }) => code)).toEqual(["EXPIRED", "VALID"]);
    await handleDue(context.container.bind(systemContext(context.clock)), `apikey:${id}`);
    expect(await verify(second)).toMatchObject({ code: "NOT_FOUND" });
    expect(await keys().get(id)).not.toHaveProperty("previous");
    const { secret: fourth = "" } = await keys().rotate(id, { overlapSeconds: 0 }) ?? {};
    expect((await Promise.all([third, fourth].map(verify))).map(({ code }) => code)).toEqual(["NOT_FOUND", "VALID"]);
    for (const overlapSeconds of [-1, 604_801, 1.5]) {
      await expect(keys().rotate(id, { overlapSeconds })).rejects.toMatchObject({ code: "validation_failed" });
    }
  });

  test("AK12: are verified with the first reason why they are not valid", async () => {
    const { id: tenantId } = await context.tenant({ plan: "Basic" });
    const { id, secret = "" } = await keys().generate("Verified", ["read:plans"], {
      tenantId,
      rateLimit: { limit: 5, windowSeconds: 3_600 },
    });
    const limited = createBackend({
      store: context.store,
      clock: context.clock,
      logger: silentLogger,
      apiKeySecret: API_KEY_SECRET,
      rateLimits: DEFAULT_RATE_LIMITS,
    });
    const servicesOf = await loadServices();
    const under = servicesOf(limited.bind(systemContext(context.clock))).ApiKeyService;
    expect(await under.verify(secret, { cost: 3 })).toMatchObject({
      valid: true,
      code: "VALID",
      keyId: id,
      tenantId,
      scopes: ["read:plans"],
    });
    expect(await under.verify(secret, { cost: 3 })).toMatchObject({ valid: false, code: "RATE_LIMITED", keyId: id });
    const { id: freed, secret: other = "" } = await keys().generate("Freed", ["read:plans"], {
      rateLimit: { limit: 1, windowSeconds: 3_600 },
    });
    expect([await under.verify(other), await under.verify(other)]).toMatchObject([{ code: "VALID" }, { code: "RATE_LIMITED" }]);
    await keys().update(freed, { rateLimit: null });
    await expect.poll(async () => (await under.verify(other)).code).toBe("VALID");
    const check = async (options: Parameters<typeof under.verify>[1]) => (await keys().verify(secret, options)).code;
    expect(await check({ scopes: ["read:plans"] })).toBe("VALID");
    expect(await check({ scopes: ["read:plans", "write:plans"] })).toBe("INSUFFICIENT_PERMISSIONS");
    const { secret: reader = "" } = await keys().generate("Reader", ["read:*"], { tenantId });
    const codes = ["read:*", "read:usage", "write:*", "*", "read:admins", "read:none"].map(async (scope) =>
      (await keys().verify(reader, { scopes: [scope] })).code
    );
    expect((await Promise.all(codes)).map((code) => code === "VALID")).toEqual([true, true, false, false, false, false]);
    const { limit = null } = await context.UsageService.get(tenantId, "bookings") ?? {};
    expect(await check({ metric: "bookings", cost: Number(limit) })).toBe("VALID");
    expect(await check({ metric: "bookings", cost: Number(limit) + 1 })).toBe("USAGE_EXCEEDED");
    await expect(check({ metric: "none" })).rejects.toMatchObject({ code: "not_found" });
    await keys().update(id, { allowedIps: ["203.0.113.0/24"] });
    expect([await check({}), await check({ ipAddress: "203.0.113.9" }), await check({ ipAddress: "not one" })])
      .toEqual(["FORBIDDEN_IP", "VALID", "FORBIDDEN_IP"]);
    await context.TenantService.suspend(tenantId, "unpaid");
    expect(await keys().verify(secret, { ipAddress: "203.0.113.9" })).toMatchObject({ code: "DISABLED", reason: "tenant_suspended" });
    await context.TenantService.unsuspend(tenantId);
    await keys().update(id, { enabled: false });
    expect(await verify(secret)).toMatchObject({ code: "DISABLED", reason: "key_disabled" });
    await keys().revoke(id);
    expect(await verify(secret)).toMatchObject({ code: "DISABLED", reason: "key_revoked" });
    expect(await verify(`${secret.slice(0, -1)}!`)).toEqual({ valid: false, code: "NOT_FOUND" });
  });

  test("AK16: that were not used are reported, the longest unused first, and enabling one starts its days again", async () => {
    const { id: tenantId } = await context.tenant();
    const old = await keys().generate("Old", ["read:plans"], { tenantId, autoDisableAfterDays: 90 });
    context.clock.advance(DAY_MS);
    const used = await keys().generate("Used", ["read:plans"], { tenantId });
    const younger = await keys().generate("Younger", ["read:plans"], { tenantId });
    context.clock.advance(89 * DAY_MS);
    keys().trackUsage(used.id, "203.0.113.1");
    await context.container.platform.uses.flush();
    await expect.poll(async () => (await keys().get(used.id))?.usageCount).toBe(1);
    expect((await keys().unused(89, tenantId)).data.map(({ id }) => id)).toEqual([old.id]);
    context.clock.advance(1);
    expect((await keys().unused(89, tenantId)).data.map(({ id }) => id)).toEqual([old.id, younger.id]);
    const run = () => handleDue(context.container.bind(systemContext(context.clock)), `apikey:${old.id}`);
    await run();
    expect(await verify(old.secret ?? "")).toMatchObject({ code: "DISABLED" });
    expect((await keys().unused(89, tenantId)).data.map(({ id }) => id)).toEqual([younger.id]);
    await keys().update(old.id, { enabled: true });
    await run();
    expect(await keys().get(old.id)).toMatchObject({ enabled: true, nextCheckAt: context.clock.iso(90 * DAY_MS) });
  });

  test("AK16: are counted but not in use when a verification refuses them", async () => {
    const expiresAt = context.clock.iso(1_000);
    const { id, secret = "", unusedSince } = await keys().generate("Expired", ["read:plans"], { expiresAt });
    context.clock.advance(1_000);
    expect(await verify(secret)).toMatchObject({ code: "EXPIRED" });
    await expect.poll(async () => (await keys().get(id))?.usageCount, { timeout: 8_000 }).toBe(1);
    expect(await keys().get(id)).toMatchObject({ unusedSince, lastUsedAt: expiresAt });
  });

  test("AK02: move to a new key of the server when they are used, and are refused without any", async () => {
    const { id, secret = "" } = await keys().generate("Moved", ["read:plans"]);
    const { store, clock } = context;
    const next = createBackend({
      store,
      clock,
      logger: silentLogger,
      apiKeySecret: "the next key of the tests, also of 32",
      previousApiKeySecret: API_KEY_SECRET,
    });
    const hashes = await hashesOf(secret, next.platform);
    const found = await findKey(store, hashes);
    expect(found).toMatchObject({ keyId: id, hash: hashes.previous });
    if (found) await Promise.all([1, 2, 3].map(() => rehash(next.bind(systemContext(clock)), found, hashes.current)));
    expect(await findKey(store, { current: hashes.current, previous: null })).toMatchObject({ keyId: id });
    expect(await findKey(store, { current: hashes.previous ?? "", previous: null })).toBeNull();
    const { id: tenantId } = await context.tenant();
    const { secret: verified = "" } = await keys().generate("Verified", ["read:plans"], { tenantId });
    const bound = { ...systemContext(clock), ...asOwner(tenantId) } as Context;
    for (let i = 0; i < 2; i++) {
      expect(await (await loadServices())(next.bind(bound)).ApiKeyService.verify(verified)).toMatchObject({ code: "VALID" });
      expect(await findKey(store, { ...await hashesOf(verified, next.platform), previous: null })).toMatchObject({ tenantId });
    }
    const without = (await loadServices())(createBackend({ store, clock, logger: silentLogger }).bind(systemContext(clock))).ApiKeyService;
    for (
      const call of [
        () => without.generate("X", ["read:plans"]),
        () => without.verify(secret),
        () => without.rotate(id, { overlapSeconds: 0 }),
      ]
    ) {
      await expect(call()).rejects.toMatchObject({ code: "api_keys_disabled" });
    }
  });

  test("AK05: of which one is revoked while 20 changes and rotations race end revoked, and no secret of it works", async () => {
    const { id, secret = "" } = await keys().generate("Raced", ["read:plans"]);
    const secrets = [secret];
    const race = await Promise.allSettled(Array.from({ length: 20 }, async (_, i) => {
      if (i === 10) return await keys().revoke(id, "Race");
      if (i % 2 === 0) return await keys().update(id, { name: `Name ${i}` });
      secrets.push((await keys().rotate(id, { overlapSeconds: 3_600 }))?.secret ?? "");
    }));
    const wrong = race.filter((one) =>
      one.status === "rejected" && !["invalid_transition", "write_conflict"].includes((one.reason as { code: string }).code)
    );
    expect(wrong).toEqual([]);
    expect(await keys().get(id)).toMatchObject({ revokedReason: "Race", enabled: false });
    expect((await Promise.all(secrets.map(verify))).filter(({ valid }) => valid)).toEqual([]);
    expect(await context.AuditService.verify()).toMatchObject({ ok: true });
  });
});
