import { parseInput, type Stored } from "../../core/collection.ts";
import { inputsOf } from "../../core/fields.ts";
import { changedFields, mergePatch } from "../../core/merge-patch.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { plan } from "../plans/entity.ts";
import { currentSettings } from "../settings/current.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { assertMetadata } from "../tenants/metadata.ts";
import { type BrandedHost, type Branding, brandingAt } from "./branding.ts";
import { type PrivateMetadata, privateMetadata } from "./entity.ts";
import { type EffectiveSetting, effectiveSettings } from "./rules.ts";

export type StoredPrivateMetadata = Stored<typeof privateMetadata>;
export const privateInput = inputsOf(privateMetadata).update;

/** The version of the private metadata before any was stored. */
const UNSTORED = "unstored";

/** The settings of a tenant with their origin, and the branding at its hosts. */
export class TenantSettingsService {
  constructor(private readonly work: UnitOfWork) {}

  /** Null if there is no such tenant. */
  async get(tenantId: string): Promise<Record<string, EffectiveSetting> | null> {
    const found = await new Records(tenant, this.work).get(shortTenantId(tenantId));
    if (!found) return null;
    const [platform, its] = await Promise.all([currentSettings(this.work), new Records(plan, this.work).get(found.plan)]);
    return effectiveSettings(platform, its?.settings as JsonObject | undefined, found.settings as JsonObject | undefined);
  }

  /** What anybody may see, and its digest. */
  async brandingAt(at: BrandedHost): Promise<{ readonly shown: Branding; readonly digest: string }> {
    const shown = await brandingAt(this.work, at);
    return { shown, digest: await sha256Hex(JSON.stringify(shown)) };
  }
}

/** What the platform notes of a tenant. Its audit entries are the platform's, and it has no events, because both reach the tenant. */
export class PrivateMetadataService {
  readonly #records: Records<typeof privateMetadata>;

  constructor(private readonly work: UnitOfWork) {
    this.#records = new Records(privateMetadata, work);
  }

  /** Null if there is no such tenant. Throws `forbidden` for a tenant's own caller. */
  async get(tenantId: string): Promise<StoredPrivateMetadata | null> {
    this.#assertPlatform();
    const id = shortTenantId(tenantId);
    const [owner, stored] = await Promise.all([new Records(tenant, this.work).get(id), this.#records.get(id)]);
    return owner && (stored ?? { tenantId: id, values: {}, version: UNSTORED });
  }

  /** Applies a JSON merge patch. Null if there is no such tenant. Throws `validation_failed`, `forbidden`. */
  async update(tenantId: string, updates: Partial<Pick<PrivateMetadata, "values">>, options: ChangeOptions = {}) {
    this.#assertPlatform();
    const { values: patch = {} } = parseInput(privateInput, updates) as { readonly values?: JsonObject };
    const { idempotencyKey: key } = options;
    const call = key === undefined ? undefined : { operation: "private-metadata.updated", key, request: { tenantId, patch } };
    const { result, version } = await this.work.transact<{ readonly record: PrivateMetadata | null }>(async () => {
      const found = await this.get(tenantId);
      if (!found) return { done: { record: null }, isFailure: true };
      assertMatch(found.version, options);
      const values = mergePatch(found.values, patch) as PrivateMetadata["values"];
      assertMetadata(values, "/values");
      const { before: removed, after: added } = changedFields(found.values, values);
      if (Object.keys({ ...removed, ...added }).length === 0) return { done: { record: found }, resultOf: found.tenantId };
      const before = found.version === UNSTORED ? null : found;
      const after = { tenantId: found.tenantId, values, createdAt: found.createdAt ?? this.work.now(), updatedAt: this.work.now() };
      const change = { entity: privateMetadata, before, after };
      const { name } = privateMetadata;
      const audit = [{ action: `${name}.updated`, resource: name, resourceId: found.tenantId, of: change }];
      return { commit: { changes: [change], audit, result: { record: after } }, resultOf: found.tenantId };
    }, call);
    return result.record && ({ ...result.record, ...(version === null ? {} : { version }) } as StoredPrivateMetadata);
  }

  /** Also for library callers, which no route checks. */
  #assertPlatform(): void {
    if (this.work.context.tenantId === null) return;
    throw new InnkeepError("forbidden", "You cannot read or change what the platform notes of your tenant.");
  }
}
