import { parseInput } from "../../core/collection.ts";
import { EntityService } from "../../core/entity-service.ts";
import { type CreateInput, inputsOf, keptFields, type PutInput, type UpdateInput } from "../../core/fields.ts";
import { changedFields } from "../../core/merge-patch.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { type Put, Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { isSegment } from "../../kv/key.ts";
import { flagEvaluation } from "../stale-flags/entity.ts";
import { markEvaluated } from "../stale-flags/marks.ts";
import { shortTenantId, tenant as tenantEntity } from "../tenants/entity.ts";
import { type Flag, flag, type FlagOverride, flagOverride, type FlagType, MAX_FLAGS } from "./entity.ts";
import { evaluated, type Evaluation, explained, type ExplainedStep, mismatched, unknownFlag } from "./evaluation.ts";
import { allFlags, oneFlag, revisionMutation, SET_KEY, type StoredFlag, type StoredOverride, subjectOf } from "./flag-set.ts";
import { claimed, overridesToDelete, planProblems, released } from "./changes.ts";
import { checkedFlag, checkedOverride } from "./validation.ts";
import { evaluationInput, type TenantEvaluations } from "./view.ts";

export type { Evaluation, StoredFlag, StoredOverride, TenantEvaluations };
export type FlagCreate = CreateInput<typeof flag> & { readonly reuseKey?: boolean | undefined };
export type FlagUpdate = UpdateInput<typeof flag>;
export type OverridePut = PutInput<typeof flagOverride>;
export type Explanation = Evaluation & { readonly steps: ExplainedStep[] };

export interface EvaluateOptions {
  /** The type that the program expects. */
  readonly type?: FlagType | undefined;
  /** Evaluates with this plan instead of the tenant's. */
  readonly planType?: string | undefined;
}

/** The flags of the platform, and what they are for a tenant. A tenant's own caller only evaluates them. */
export class FeatureFlagService extends EntityService<typeof flag> {
  readonly #overrides: Records<typeof flagOverride>;

  constructor(work: UnitOfWork) {
    super(work, flag);
    this.#overrides = new Records(flagOverride, work);
  }

  override async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredFlag>> {
    this.#assertPlatform();
    return await super.list(filters, sort, pagination);
  }

  override async get(flagId: string): Promise<StoredFlag | null> {
    this.#assertPlatform();
    return await super.get(flagId);
  }

  /**
   * Throws `validation_failed`, `already_exists`, `flag_key_taken`, and `flag_key_reserved` for the key of a deleted flag. With
   * `reuseKey`, the new flag takes that key.
   */
  override async create({ reuseKey = false, ...data }: FlagCreate, options: ChangeOptions = {}): Promise<StoredFlag> {
    this.#assertPlatform();
    const input = this.records.checkCreate(data);
    return await this.records.create(
      "flag.created",
      async () => {
        const record = checkedFlag({ ...this.records.newRecord(input), createdBy: this.work.context.actor.id });
        const [claim, problems, count] = await Promise.all([
          claimed(this.work, record, reuseKey),
          planProblems(this.work, record, null),
          this.work.store.count({ entity: flag }),
        ]);
        if (count >= MAX_FLAGS && !await this.records.get(record.id)) problems.push(tooMany());
        if (problems.length > 0) throw errors.validation(problems);
        const checks = [{ key: SET_KEY, entity: flag, atMost: MAX_FLAGS - 1 }];
        const evaluation = { entity: flagEvaluation, before: null, after: { flagId: record.id, createdAt: record.created } };
        return { record, changes: [claim, evaluation], checks, mutations: [revisionMutation(this.work)] };
      },
      options,
      { ...input, reuseKey } as JsonObject,
    );
  }

  /** Applies a JSON merge patch. Lists are replaced. Null if there is no such flag. Throws `validation_failed`. */
  override async update(flagId: string, updates: FlagUpdate, options: ChangeOptions = {}): Promise<StoredFlag | null> {
    this.#assertPlatform();
    return await this.records.patch(flagId, updates, options, async (after, before) => {
      const { version: _, ...stored } = before;
      const changed = changedFields(stored, after);
      if (Object.keys({ ...changed.before, ...changed.after }).length === 0) return { record: after };
      const record = checkedFlag(after);
      const problems = await planProblems(this.work, record, before);
      if (problems.length > 0) throw errors.validation(problems);
      return { record, mutations: [revisionMutation(this.work)] };
    });
  }

  /**
   * Deletes the flag with its overrides, and returns whether it existed. Its key stays reserved. Throws `flag_in_use` if more
   * tenants override it than one commit can delete.
   */
  override async delete(flagId: string, options: ChangeOptions = {}): Promise<boolean> {
    this.#assertPlatform();
    const deleted = await this.records.remove(flagId, options, "flag.deleted", async (before) => {
      const [claim, overrides] = await Promise.all([released(this.work, before), overridesToDelete(this.work, before)]);
      const evaluation = { op: "delete", key: keyOf(flagEvaluation, { flagId: before.id }) } as const;
      return { ...overrides, changes: [claim], mutations: [...overrides.mutations, evaluation, revisionMutation(this.work)] };
    });
    return deleted !== null;
  }

  /** Creates or replaces a tenant's override. Throws `validation_failed`, and `not_found` without the flag or the tenant. */
  async setOverride(flagId: string, tenantId: string, data: OverridePut, options: ChangeOptions = {}): Promise<StoredOverride> {
    return (await this.putOverride(flagId, tenantId, data, options)).record;
  }

  /** Like `setOverride`, and says whether it created the override. */
  async putOverride(
    flagId: string,
    tenantId: string,
    data: OverridePut,
    options: ChangeOptions = {},
  ): Promise<Put<typeof flagOverride>> {
    this.#assertPlatform();
    const input = parseInput(inputsOf(flagOverride).put, data) as Record<string, unknown>;
    const key = this.#overrideKey(flagId, tenantId);
    return await this.#overrides.put(key, options, async (before) => {
      const [ofFlag] = await Promise.all([this.#flagOf(flagId), this.#assertTenant(tenantId)]);
      const checks = [{ key: this.records.key({ id: ofFlag.id }), version: ofFlag.version }];
      const place = { flagId: ofFlag.id, tenantId: shortTenantId(tenantId) };
      const now = this.work.now();
      if (!before) {
        const record = checkedOverride(this.#overrides.newRecord({ ...input, ...place }), null, ofFlag, now);
        return { action: "flag-override.created", record, checks };
      }
      const { version: _, ...stored } = before;
      const kept = keptFields(flagOverride, this.work.context, stored);
      const after = parseInput(flagOverride.schema, { ...input, ...kept }) as FlagOverride;
      return { action: "flag-override.updated", record: checkedOverride(after, before, ofFlag, now), checks };
    }, { data: input as JsonObject });
  }

  /** Returns whether the tenant had the override. */
  async clearOverride(flagId: string, tenantId: string, options: ChangeOptions = {}): Promise<boolean> {
    this.#assertPlatform();
    return await this.#overrides.remove(this.#overrideKey(flagId, tenantId), options, "flag-override.deleted") !== null;
  }

  /** The overrides of a flag, with their tenants. Throws `not_found` if there is no such flag. */
  async overridesOf(flagId: string, sort?: Sort, pagination?: Pagination): Promise<Page<StoredOverride>> {
    this.#assertPlatform();
    const { id } = await this.#flagOf(flagId);
    return await listPage(this.#overrides, { ...selectionOf(flagOverride, { flagId: id }), sort, pagination });
  }

  /** Whether the flag is on for the tenant. `planType` replaces the tenant's plan. False for an unknown flag or tenant. */
  async isEnabled(flagKey: string, tenantId: string, planType?: string): Promise<boolean> {
    return (await this.evaluate(flagKey, tenantId, NO_CONTEXT, { planType }))?.enabled ?? false;
  }

  /** Evaluates one flag, by key or id. An unknown flag is off with a reason. Null if there is no such tenant. */
  async evaluate(
    key: string,
    tenantId: string,
    context: JsonObject = NO_CONTEXT,
    { type, planType }: EvaluateOptions = {},
  ): Promise<Evaluation | null> {
    // Parsing takes three times as long as the evaluation.
    if (context !== NO_CONTEXT || type !== undefined) parseInput(evaluationInput, { context, ...(type === undefined ? {} : { type }) });
    const read = await oneFlag(this.work, key, shortTenantId(tenantId));
    if (!read) return null;
    const found = read.set.find(key);
    if (!found || this.#isHidden(found)) return unknownFlag(key);
    markEvaluated(this.work, [found.id], "one");
    if (type !== undefined && type !== found.type) return mismatched(found);
    const plan = planType?.replace(/^plan:/, "") ?? read.tenant.plan;
    const { id, region, status } = read.tenant;
    const subject = subjectOf({ id, plan, region, status }, context, this.work.now());
    return this.#shown(evaluated(found, subject, read.overrides.get(found.id)));
  }

  /**
   * Evaluates all flags, by key. `clientOnly` leaves out the flags that are `serverOnly`; a tenant's own caller never gets them. Null
   * if there is no such tenant.
   */
  async evaluateAll(
    tenantId: string,
    context: JsonObject = {},
    options: { readonly clientOnly?: boolean | undefined } = {},
  ): Promise<TenantEvaluations | null> {
    parseInput(evaluationInput, { context });
    const read = await allFlags(this.work, shortTenantId(tenantId));
    if (!read) return null;
    const subject = subjectOf(read.tenant, context, this.work.now());
    const shown = read.set.flags.filter((one) => !this.#isHidden(one) && !(options.clientOnly && one.serverOnly));
    markEvaluated(this.work, shown.map(({ id }) => id), "all");
    const data = shown.map((one) => this.#shown(evaluated(one, subject, read.overrides.get(one.id))));
    return { data, version: await versionOf(read.version, data) };
  }

  /** Evaluates one flag, by key or id, and lists each step. Null without the flag or tenant. Throws `forbidden` for a tenant's own caller. */
  async explain(key: string, tenantId: string, context: JsonObject = {}): Promise<Explanation | null> {
    this.#assertPlatform();
    parseInput(evaluationInput, { context });
    const read = await oneFlag(this.work, key, shortTenantId(tenantId));
    const found = read?.set.find(key);
    return read && found ? explained(found, subjectOf(read.tenant, context, this.work.now()), read.overrides.get(found.id)) : null;
  }

  /** What the caller may see of a result: rules are the platform's. */
  #shown(result: Evaluation): Evaluation {
    if (this.work.context.tenantId === null) return result;
    const { ruleId: _, ...shown } = result;
    return shown;
  }

  #isHidden({ serverOnly }: Flag): boolean {
    return serverOnly && this.work.context.tenantId !== null;
  }

  /** A key that no override has if one of the ids is invalid. */
  #overrideKey(flagId: string, tenantId: string): string {
    const [id, ofTenant] = [flagId.replace(/^flag:/, ""), shortTenantId(tenantId)];
    if (!isSegment(ofTenant)) throw errors.notFound("tenant", tenantId);
    if (!isSegment(id)) throw errors.notFound("flag", flagId);
    return `flag:${ofTenant}:${id}`;
  }

  async #flagOf(flagId: string): Promise<StoredFlag> {
    const found = await this.records.get(flagId);
    if (!found) throw errors.notFound("flag", flagId);
    return found;
  }

  async #assertTenant(tenantId: string): Promise<void> {
    if (!await new Records(tenantEntity, this.work).get(tenantId)) throw errors.notFound("tenant", shortTenantId(tenantId));
  }

  /** Also for library callers, which no route checks. A flag's rules and lists name other tenants. */
  #assertPlatform(): void {
    if (this.work.context.tenantId === null) return;
    throw new InnkeepError("forbidden", "You cannot read or change feature flags. Evaluate them for your tenant instead.");
  }
}

const NO_CONTEXT: JsonObject = Object.freeze({});

/** Of all results. The revision of the flags stands for the values of their variants. */
async function versionOf(revision: string | null, data: readonly Evaluation[]): Promise<string> {
  const results = revision === null
    ? data
    : data.map(({ flagId, enabled, variant, reason, ruleId }) => [flagId, enabled, variant, reason, ruleId]);
  return (await sha256Hex(JSON.stringify([revision, results]))).slice(0, 32);
}

function tooMany() {
  return { path: "/key", message: `exceeds the limit of ${MAX_FLAGS} flags; delete one that is not used`, code: "too_many" };
}
