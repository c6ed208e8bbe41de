import canonicalize from "canonicalize";
import { parseInput, type Stored } from "../../core/collection.ts";
import { TenantReadService } from "../../core/entity-service.ts";
import type { Filters, Page, Pagination, Sort } from "../../core/paging.ts";
import { type Put, Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, isInnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import {
  assertCallable,
  type Called,
  effectsOf,
  guardedCall,
  loggedCall,
  type OpenConnection,
  openCredentials,
  type ProviderCall,
} from "./calls.ts";
import { type Result, testConnection } from "./connection-test.ts";
import { type Integration, integration, type SyncStatus } from "./entity.ts";
import { type ConnectionInput, syncInput } from "./inputs.ts";
import type { Connection, Credentials } from "./provider.ts";
import { providerOf, type ShownProvider, shownProviders } from "./providers.ts";
import { connected, credentialFields, disconnected, OUTCOME_TEXTS, synced, withoutCredentials } from "./rules.ts";
import { type IntegrationTest, shown, type ShownIntegration } from "./view.ts";

export type { Called, ConnectionInput, OpenConnection, ProviderCall, ShownIntegration };
type Found = Stored<typeof integration>;

/** Changes return no credentials, so that an idempotency key does not keep those that a later call deletes. */
class Integrations extends Records<typeof integration> {
  protected override kept<R extends Integration>({ credentials: _, ...record }: R): R {
    return record as unknown as R;
  }
}

/** A tenant's connections to providers. */
export class IntegrationService extends TenantReadService<typeof integration> {
  protected override readonly records: Records<typeof integration>;

  constructor(work: UnitOfWork) {
    super(work, integration);
    this.records = new Integrations(integration, work);
  }

  /** Throws `not_found` if the tenant does not exist. */
  override async list(tenantId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<ShownIntegration>> {
    const { data, ...page } = await super.list(tenantId, filters, sort, pagination);
    return { ...page, data: data.map(shown) };
  }

  override async get(tenantId: string, provider: string): Promise<ShownIntegration | null> {
    const found = await super.get(tenantId, provider);
    return found && shown(found);
  }

  /** The providers that can be connected, with the JSON Schemas of their config and credentials. */
  providers(): readonly ShownProvider[] {
    return shownProviders();
  }

  /**
   * Connects a provider, or changes its connection. Equal config and credentials change nothing. Throws `unknown_provider`,
   * `validation_failed`, `root_key_unavailable`, and `not_found` if the tenant does not exist.
   */
  async connect(tenantId: string, provider: string, data: ConnectionInput = {}, options: ChangeOptions = {}): Promise<ShownIntegration> {
    return (await this.put(tenantId, provider, data, options)).record;
  }

  /** Like `connect`, and says whether it made the record. */
  async put(
    tenantId: string,
    provider: string,
    data: ConnectionInput,
    options: ChangeOptions = {},
  ): Promise<{ readonly record: ShownIntegration; readonly created: boolean }> {
    const { id, type, connection } = providerOf(shortId(provider));
    const input: Connection = parseInput(connection, data);
    const owner = await this.tenantOf(tenantId);
    const key = this.keyOf(owner, id);
    const put: Put<typeof integration> = await this.records.put(key, options, async (before) => {
      const credentials = await this.#sealed(key, before, input.credentials);
      const now = this.work.now();
      const members = connected(before, input, credentials, now);
      if (before) {
        const isNew = credentials !== null && (before.status !== "connected" || before.needsReauth);
        return { action: `integration.${isNew ? "connected" : "updated"}`, record: this.#parsed(members) };
      }
      return { action: "integration.connected", record: this.records.newRecord({ ...members, tenantId: owner, provider: id, type }) };
    }, { data: data as JsonObject });
    return { record: shown(put.record), created: put.created };
  }

  /** Deletes the credentials and keeps the record with its history. Returns whether there is an integration. */
  async disconnect(tenantId: string, provider: string, options: ChangeOptions = {}): Promise<boolean> {
    const after = await this.records.change(this.keyOf(tenantId, provider), options, "integration.disconnected", (before) => (
      { record: before.status === "disconnected" ? before : this.#parsed(disconnected(before, this.work.now())) }
    ));
    return after !== null;
  }

  /**
   * Records the state of a synchronisation. Credentials that `error` quotes are not stored. Null if there is no integration. Throws
   * `validation_failed` and `integration_disconnected`.
   */
  async updateSyncStatus(
    tenantId: string,
    provider: string,
    status: SyncStatus,
    error?: string,
    options: ChangeOptions = {},
  ): Promise<ShownIntegration | null> {
    const input = parseInput(syncInput, { status, error });
    const after = await this.records.change(this.keyOf(tenantId, provider), options, "integration.synced", async (before) => {
      if (before.status === "disconnected") assertCallable(before);
      const text = input.error === undefined ? undefined : withoutCredentials(input.error, await openCredentials(this.work, before));
      return { record: this.#parsed(synced(before, input.status, text, this.work.now())) };
    }, { status });
    return after && shown(after);
  }

  /**
   * The credentials, for programs of the platform. No route has them, and each call is audited. Throws `not_found`,
   * `integration_disconnected`, `decryption_failed`, `root_key_unavailable`.
   */
  async credentials(tenantId: string, provider: string): Promise<Credentials> {
    const { result } = await this.work.transact<{ readonly record: Found }>(async () => {
      const record = await this.records.get(this.keyOf(tenantId, provider));
      if (!record) throw errors.notFound("integration", provider);
      if (record.credentials === undefined) assertCallable(record);
      const audit = [{ action: "integration.credentials_read", resource: "integration", resourceId: record.id, tenantId: record.tenantId }];
      const checks = [{ key: record.id, version: record.version }];
      return { commit: { checks, audit, result: { record } }, resultOf: record.tenantId };
    });
    return await openCredentials(this.work, result.record);
  }

  /**
   * Makes one call of the provider with its credentials, through the circuit breaker, and logs it. Throws `not_found`,
   * `integration_disconnected`, `integration_needs_reauth`, `circuit_open`, and what `run` throws.
   */
  async call<T>(
    tenantId: string,
    provider: string,
    call: ProviderCall,
    run: (connection: OpenConnection) => Promise<Called<T>>,
  ): Promise<Called<T>> {
    return await guardedCall(this.work, this.keyOf(tenantId, provider), call, run);
  }

  /**
   * Tests the connection by a call that changes nothing, even if the circuit is open. Throws `not_found`, `integration_disconnected`
   * and `integration_needs_reauth`.
   */
  async test(tenantId: string, provider: string, options: ChangeOptions = {}): Promise<IntegrationTest> {
    let made: { readonly used: Found; readonly result: Result } | undefined;
    const key = this.keyOf(tenantId, provider);
    const { record } = await this.records.put(key, options, async (before) => {
      if (!before) throw errors.notFound("integration", provider);
      // Another change during the call repeats the decision, and not the call.
      made ??= { used: before, result: await this.#tested(before) };
      return this.#afterTest(before, made.used, made.result);
    });
    // The decision has set it, also that of a call that is repeated with its idempotency key.
    const lastTest = record.lastTest as NonNullable<Integration["lastTest"]>;
    return { ...lastTest, message: OUTCOME_TEXTS[lastTest.outcome], version: record.version };
  }

  async #tested(found: Found): Promise<Result> {
    assertCallable(found);
    const credentials = await openCredentials(this.work, found);
    return await testConnection(this.work.platform.outbound, providerOf(found.provider), found.config as JsonObject, credentials);
  }

  #afterTest(before: Found, used: Found, result: Result) {
    const { outcome, statusCode, durationMs } = result;
    const at = this.work.now();
    const lastTest = { at, outcome, durationMs, ...(statusCode === undefined ? {} : { statusCode }) };
    const { after, notes } = effectsOf(this.work, before, used, result);
    return {
      action: "integration.tested",
      record: this.#parsed({ ...after, lastTest }),
      data: { outcome, ...(statusCode === undefined ? {} : { statusCode }) },
      notes,
      mutations: [loggedCall(this.work, used, { action: "test" }, result)],
    };
  }

  /** Null if the stored credentials stay. Throws `validation_failed` if there are none. */
  async #sealed(
    key: string,
    before: Found | null,
    given: Credentials | undefined,
  ): Promise<Pick<Integration, "credentials" | "credentialFields"> | null> {
    if (given === undefined) {
      if (before?.credentials !== undefined) return null;
      throw errors.validation([{ path: "/credentials", message: "is required to connect the provider", code: "required" }]);
    }
    if (before?.status === "connected" && await this.#isStored(before, given)) return null;
    const credentials = await this.work.platform.secrets.seal(key, "credentials", given);
    return { credentials, credentialFields: credentialFields(given) };
  }

  async #isStored(before: Found, given: Credentials): Promise<boolean> {
    try {
      return canonicalize(await openCredentials(this.work, before)) === canonicalize(given);
    } catch (error) {
      // Credentials that cannot be decrypted any more can still be replaced.
      if (isInnkeepError(error, "decryption_failed") || isInnkeepError(error, "root_key_unavailable")) return false;
      throw error;
    }
  }

  #parsed(record: object): Integration {
    const { version: _, ...members } = record as Found;
    return parseInput(integration.schema, members);
  }
}

function shortId(provider: string): string {
  return provider.slice(provider.lastIndexOf(":") + 1);
}
