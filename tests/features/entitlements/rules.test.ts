import { describe, expect, test } from "vitest";
import type { Entitlements, GrantItem } from "../../../shared/features/entitlements/entity.ts";
import {
  type Basis,
  changedLimits,
  featureOf,
  isActive,
  limitOf,
  one,
  resolved,
  revised,
} from "../../../shared/features/entitlements/rules.ts";

const NOW = "2026-03-01T12:00:00.000Z";
const LATER = "2026-03-02T12:00:00.000Z";
const MUCH_LATER = "2026-04-01T00:00:00.000Z";

/** A grant from a text such as `grant:20`, `override:false`, `trial:true until LATER`. */
function grants(kind: GrantItem["kind"], texts: readonly string[]): GrantItem[] {
  return texts.map((text, i) => {
    const [what = "", until] = text.split(" until ");
    const [source, value = "null"] = what.split(":");
    return {
      id: `g${i}`,
      kind,
      key: "k",
      value: JSON.parse(value) as GrantItem["value"],
      source: source as GrantItem["source"],
      createdAt: new Date(Date.parse(NOW) + i).toISOString(),
      ...(until === undefined ? {} : { expiresAt: until }),
    };
  });
}

function basis(given: Partial<Basis> = {}): Basis {
  return {
    tenantId: "tn_1",
    active: true,
    planId: "Pro",
    planVersion: 1,
    planFeatures: ["api"],
    planLimits: { rooms: 500 },
    grants: [],
    ...given,
  };
}

const stored = (given: Partial<Entitlements> = {}): Entitlements => ({ ...basis(), revision: 7, updatedAt: NOW, ...given });

describe("B04: a feature", () => {
  test.each<[inPlan: boolean, given: string[], allowed: boolean, source: string, decidedBy?: string, expiresAt?: string]>([
    [true, [], true, "plan"],
    [false, [], false, "plan"],
    [false, ["grant:true"], true, "grant", "g0"],
    [false, ["trial:true until " + LATER], true, "trial", "g0", LATER],
    // The plan has it, so nothing ends with the grant.
    [true, ["grant:true until " + LATER], true, "plan"],
    // The grant that lasts longest decides.
    [false, ["trial:true until " + LATER, "grant:true until " + MUCH_LATER], true, "grant", "g1", MUCH_LATER],
    [false, ["grant:true until " + LATER, "trial:true"], true, "trial", "g1"],
    // An override replaces the plan and the grants, and of several the newest decides.
    [true, ["override:false"], false, "override", "g0"],
    [false, ["override:true"], true, "override", "g0"],
    [false, ["override:false", "grant:true"], false, "override", "g0"],
    [false, ["override:false", "override:true until " + LATER], true, "override", "g1", LATER],
    [true, ["override:true", "override:false"], false, "override", "g1"],
  ])("in the plan: %s, with %j, is allowed: %s, by %s", (inPlan, given, allowed, source, id, expiresAt) => {
    expect(featureOf("k", inPlan, grants("feature", given))).toEqual({
      key: "k",
      allowed,
      source,
      ...(id === undefined ? {} : { grantIds: [id] }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
  });
});

describe("B04: a limit", () => {
  test.each<[plan: number | null, given: string[], limit: number | null, source: string, decidedBy?: string[], expiresAt?: string]>([
    [10, [], 10, "plan"],
    [null, [], null, "plan"],
    [10, ["grant:5"], 15, "grant", ["g0"]],
    [0, ["trial:5 until " + LATER], 5, "trial", ["g0"], LATER],
    // Grants add up. The item changes when the first of them expires.
    [10, ["grant:5 until " + MUCH_LATER, "grant:1 until " + LATER], 16, "grant", ["g0", "g1"], LATER],
    [10, ["trial:5", "trial:1"], 16, "trial", ["g0", "g1"]],
    [10, ["trial:5", "grant:1"], 16, "grant", ["g0", "g1"]],
    // Nothing adds to an unlimited plan, and one unlimited grant is enough.
    [null, ["grant:5"], null, "plan"],
    [10, ["grant:5", "grant:null until " + LATER], null, "grant", ["g1"], LATER],
    // An override replaces the plan and the grants, also with less.
    [10, ["override:3", "grant:5"], 3, "override", ["g0"]],
    [null, ["override:3"], 3, "override", ["g0"]],
    [10, ["override:null"], null, "override", ["g0"]],
    [10, ["override:0 until " + LATER, "override:20"], 20, "override", ["g1"]],
    // A sum is at most 1e15, which a double represents exactly.
    [1e15, ["grant:1000000000000000"], 1e15, "grant", ["g0"]],
  ])("of %s in the plan, with %j, is %s, by %s", (plan, given, limit, source, ids, expiresAt) => {
    expect(limitOf("k", plan, grants("limit", given))).toEqual({
      key: "k",
      limit,
      source,
      ...(ids === undefined ? {} : { grantIds: ids }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    });
  });
});

test.each<[tenant: string, subscription: string | null, active: boolean]>([
  ["pending", "active", false],
  ["trial", "trialing", true],
  ["trial", null, true],
  ["active", "active", true],
  ["active", "past_due", true],
  ["active", "cancelled", false],
  ["suspended", "active", false],
  ["cancelled", "cancelled", false],
])("B04: entitlements of a tenant that is %s with a subscription that is %s are active: %s", (status, subscription, active) => {
  expect(isActive({ status } as never, subscription === null ? null : { status: subscription } as never)).toBe(active);
});

test("B04: a grant counts until the millisecond before it expires, and what is beneath it counts from then on", () => {
  const record = stored({
    grants: [
      ...grants("feature", ["override:false until " + LATER]).map((one) => ({ ...one, key: "api" })),
      ...grants("limit", ["grant:20 until " + LATER]).map((one) => ({ ...one, id: "g9", key: "rooms" })),
    ],
  });
  expect(resolved(record, "2026-03-02T11:59:59.999Z")).toEqual({
    revision: 7,
    active: true,
    features: [],
    limits: [{ key: "rooms", limit: 520, source: "grant", grantIds: ["g9"], expiresAt: LATER }],
  });
  expect(resolved(record, LATER)).toEqual({
    revision: 9,
    active: true,
    features: [{ key: "api", source: "plan" }],
    limits: [{ key: "rooms", limit: 500, source: "plan" }],
  });
});

describe("CP17: a revision", () => {
  const grant = grants("limit", ["grant:20 until " + LATER])[0] as GrantItem;
  test("begins at 1, and unchanged content has no new one", () => {
    const first = revised(null, basis(), NOW) as Entitlements;
    expect(first).toMatchObject({ revision: 1, updatedAt: NOW });
    expect(first).not.toHaveProperty("nextExpiryAt");
    expect(revised(first, basis(), LATER)).toBeNull();
    expect(revised(first, basis({ planLimits: { rooms: 500 }, planFeatures: ["api"] }), LATER)).toBeNull();
  });

  test.each<[string, Partial<Basis>]>([
    ["status", { active: false }],
    ["plan", { planId: "Basic" }],
    ["version of the plan", { planVersion: 2 }],
    ["grants", { grants: [grant] }],
  ])("follows a change of the %s", (_, change) => {
    expect(revised(stored(), basis(change), NOW)).toMatchObject({ ...change, revision: 8 });
  });

  test("of a read after an expiry is the one that the next write stores", () => {
    const before = stored({ grants: [grant], nextExpiryAt: LATER });
    expect(revised(before, before, NOW)).toBeNull();
    const after = revised(before, before, LATER) as Entitlements;
    expect(after).toMatchObject({ revision: 8, grants: [] });
    expect(after).not.toHaveProperty("nextExpiryAt");
    expect(resolved(after, LATER)).toEqual(resolved(before, LATER));
    expect(revised(before, { ...before, active: false }, LATER)).toMatchObject({ revision: 9, active: false });
    // Deleting a grant that has expired changes nothing more.
    expect(revised(before, { ...before, grants: [] }, LATER)).toMatchObject({ revision: 8 });
  });
});

test("B05: one key is the limit that the plan or a grant names, else a feature", () => {
  const record = stored({ grants: grants("limit", ["grant:5"]) });
  expect(one(record, "rooms", undefined, NOW)).toMatchObject({ kind: "limit", limit: 500, source: "plan", isNamed: true });
  expect(one(record, "k", undefined, NOW)).toMatchObject({ kind: "limit", limit: null, source: "plan", isNamed: true });
  expect(one(record, "rooms", "feature", NOW)).toMatchObject({ kind: "feature", allowed: false });
  expect(one(record, "other", "limit", NOW)).toMatchObject({ kind: "limit", limit: null, isNamed: false });
  expect(one(record, "api", undefined, NOW)).toEqual({
    kind: "feature",
    key: "api",
    allowed: true,
    source: "plan",
    active: true,
    revision: 7,
  });
  expect(one({ ...record, active: false }, "api", undefined, NOW)).toMatchObject({ allowed: false, active: false });
  expect(one(record, "constructor", undefined, NOW)).toMatchObject({ kind: "feature", allowed: false });
});

test("B04: the changed limits are those whose value differs, with or without an entry", () => {
  const of = (limits: Record<string, number | null>) => resolved({ ...basis({ planLimits: limits }), revision: 1 }, NOW);
  expect(changedLimits(of({ a: 1, b: 2, c: null }), of({ a: 1, b: 3, d: null, e: 4 }))).toEqual(["b", "e"]);
});
