import type { Stored } from "../../core/collection.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { assertWebhookUrl } from "../../core/outbound-url.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { type AuditSink, auditSink } from "./entity.ts";

type StoredSink = Stored<typeof auditSink>;
/** A sink without its token. */
export type ShownSink = { readonly [F in keyof StoredSink as F extends "sealedToken" ? never : F]: StoredSink[F] };
export type SinkCreate = CreateInput<typeof auditSink> & { readonly token: string };
export type SinkUpdate = UpdateInput<typeof auditSink> & { readonly token?: string | undefined };

const MIN_TOKEN_CHARS = 8;

/** The receivers of audit entries. A new one gets the entries from its creation on. */
export class AuditSinkService {
  readonly #sinks: Records<typeof auditSink>;

  constructor(private readonly work: UnitOfWork) {
    this.#sinks = new Records(auditSink, work);
  }

  async list(filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<ShownSink>> {
    const { data, ...page } = await listPage(this.#sinks, { ...selectionOf(auditSink, filters), sort, pagination });
    return { ...page, data: data.map(shown) };
  }

  async get(id: string): Promise<ShownSink | null> {
    const found = await this.#sinks.get(id);
    return found && shown(found);
  }

  /** Throws `validation_failed`, `not_found` for a tenant that does not exist, and `root_key_unavailable`. */
  async create({ token, ...data }: SinkCreate, options: ChangeOptions = {}): Promise<ShownSink> {
    const input = this.#sinks.checkCreate(data);
    assertToken(token);
    await assertWebhookUrl(data.url, this.work.platform.outbound.rules);
    const tenantId = data.tenantId === undefined ? undefined : shortTenantId(data.tenantId);
    const decide = async () => {
      const [head, owner] = tenantId === undefined
        ? [null, true]
        : await Promise.all([this.work.store.chainHead(tenantId), this.work.store.get(keyOf(tenant, { id: tenantId }))]);
      if (!owner) throw errors.notFound("tenant", tenantId);
      const now = this.work.now();
      const id = this.work.newId("sink");
      const own = {
        id,
        ...await this.#sealed(id, token),
        position: { seq: head?.seq ?? 0, timestamp: now, key: "" },
        ...(tenantId === undefined ? {} : { tenantId }),
      };
      const record = this.#sinks.newRecord({ ...input, ...own });
      return { record: { ...record, dueAt: record.enabled ? now : null } };
    };
    const request = { ...input, token: await sha256Hex(token) } as JsonObject;
    return shown(await this.#sinks.create("audit-sink.created", decide, options, request));
  }

  /** Applies a JSON merge patch. A sink with another URL needs its token again. Null if there is no such sink. */
  async update(id: string, { token, ...updates }: SinkUpdate, options: ChangeOptions = {}): Promise<ShownSink | null> {
    if (token !== undefined) assertToken(token);
    const changed = await this.#sinks.patch(id, updates, options, async (after, before) => {
      if (after.url !== before.url) await assertWebhookUrl(after.url, this.work.platform.outbound.rules);
      // Else a caller who cannot read the token could have it sent to a receiver of its own.
      if (after.url !== before.url && token === undefined) {
        throw errors.validation([{ path: "/token", message: "is required with another url", code: "required" }]);
      }
      const sealed = token === undefined ? {} : await this.#sealed(before.id, token);
      return { record: { ...after, ...sealed, dueAt: after.enabled ? before.dueAt ?? this.work.now() : null } as AuditSink };
    });
    return changed && shown(changed);
  }

  async delete(id: string, options: ChangeOptions = {}): Promise<boolean> {
    return await this.#sinks.remove(id, options, "audit-sink.deleted") !== null;
  }

  async #sealed(id: string, token: string): Promise<Pick<AuditSink, "sealedToken" | "tokenLast4">> {
    const sealedToken = await this.work.platform.secrets.seal(keyOf(auditSink, { id }), "sealedToken", token);
    return { sealedToken, tokenLast4: token.slice(-4) };
  }
}

/** A header cannot have other characters. */
function assertToken(token: string): void {
  if (/^[\x21-\x7e]+$/.test(token) && token.length >= MIN_TOKEN_CHARS && token.length <= 1_000) return;
  const message = `must be ${MIN_TOKEN_CHARS} to 1000 visible ASCII characters without spaces`;
  throw errors.validation([{ path: "/token", message, code: "invalid" }]);
}

function shown({ sealedToken: _, ...sink }: StoredSink): ShownSink {
  return sink as ShownSink;
}
