import type { Stored } from "../../core/collection.ts";
import type { CreateInput, UpdateInput } from "../../core/fields.ts";
import { assertWebhookUrl } from "../../core/outbound-url.ts";
import { type Filters, listPage, type Page, type Pagination, selectionOf, type Sort } from "../../core/paging.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { isoTime } from "../../kernel/clock.ts";
import { errors } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import { keyOf } from "../../kv/define.ts";
import { shortTenantId, tenant } from "../tenants/entity.ts";
import { counted, tooMany } from "./count.ts";
import { Deliveries, type DeliveryView, type StoredDelivery } from "./deliveries.ts";
import { type Webhook, webhook, webhookReplay } from "./entity.ts";
import { gapOf } from "./missing.ts";
import { shownVersion, type StoredWebhook, WebhookRecords } from "./records.ts";
import { createReplay, type ReplayRequest } from "./replays.ts";
import * as rules from "./rules.ts";
import { newSecret, open, openIfReadable, seal } from "./secret.ts";
import { sendTest, type TestResult } from "./test-event.ts";

type StoredReplay = Stored<typeof webhookReplay>;
type Headers = Readonly<Record<string, string>>;

/** A webhook as reads show it. */
export type ShownWebhook = { readonly [F in keyof StoredWebhook as F extends "sealedSecret" ? never : F]: StoredWebhook[F] };
/** A webhook with its secret, which is shown only once. It is absent when the call is repeated with its idempotency key. */
export type NewWebhook = ShownWebhook & { readonly secret?: string };
/** `headers` are write-only: reads have their names. */
export type WebhookCreate = CreateInput<typeof webhook> & { readonly headers?: Headers };
/** `headers` replaces all of them; null removes them. */
export type WebhookUpdate = UpdateInput<typeof webhook> & { readonly headers?: Headers | null };

/** Every delivery changes its webhook too. */
const ATTEMPTS = 50;

/** Webhooks of the platform and of tenants. A caller that is bound to a tenant has access to that tenant's webhooks only. */
export class WebhookService {
  readonly #webhooks: WebhookRecords;

  constructor(private readonly work: UnitOfWork) {
    this.#webhooks = new WebhookRecords(work);
  }

  /** The webhooks of one tenant; without a tenant, all that the caller may see. */
  async list(tenantId?: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<ShownWebhook>> {
    const selection = { ...selectionOf(webhook, filters), ...this.#scopeOf(tenantId) };
    const { data, ...page } = await listPage(this.#webhooks, { ...selection, sort, pagination });
    return { ...page, data: data.map(shown) };
  }

  async get(webhookId: string): Promise<ShownWebhook | null> {
    const found = await this.#webhooks.get(webhookId);
    return found && shown(found);
  }

  /** Throws `validation_failed`, `not_found` for another or no tenant, and `root_key_unavailable`. */
  async create({ headers = {}, ...data }: WebhookCreate, options: ChangeOptions = {}): Promise<NewWebhook> {
    const input = this.#webhooks.checkCreate(data);
    const sent = rules.checkedHeaders(headers);
    const tenantId = await this.#tenantIdOf(data.tenantId);
    await this.#assertTarget({ ...(input as Pick<Webhook, "url" | "events">), tenantId });
    const secret = newSecret();
    let sealed = "";
    const decide = async () => {
      const now = this.work.now();
      const id = this.work.newId("webhook");
      const sealedSecret = await seal(this.work, id, { current: secret, ...(Object.keys(sent).length > 0 ? { headers: sent } : {}) });
      sealed = sealedSecret.ciphertext;
      const own = { id, sealedSecret, secretLast4: secret.slice(-4), headerNames: Object.keys(sent), ...rules.secretTimes(now) };
      const scope = tenantId === undefined ? {} : { tenantId };
      const made = rules.readableBy(this.work.context.scopes, { ...input, ...own, ...scope, status: "active" });
      const record = rules.scheduled(this.#webhooks.newRecord(made));
      return {
        record: record.enabled ? record : rules.disabled(record, now),
        mutations: [counted(tenantId, 1)],
        refuse: tooMany(tenantId),
      };
    };
    const record = await this.#webhooks.create("webhook.created", decide, options, { ...input, headers } as JsonObject);
    return withSecret(record, sealed, secret);
  }

  /** Applies a JSON merge patch. Null if there is no such webhook. */
  async update(webhookId: string, { headers, ...updates }: WebhookUpdate, options: ChangeOptions = {}): Promise<ShownWebhook | null> {
    const sent = headers === undefined ? undefined : rules.checkedHeaders(headers ?? {});
    const changed = await this.#webhooks.patch(webhookId, updates, options, async (patched, before) => {
      if (updates.url !== undefined || updates.events !== undefined) await this.#assertTarget(patched, before);
      if (sent === undefined) rules.assertHeadersFor(patched.url, before);
      const isSame = patched.url === before.url && patched.events.join() === before.events.join();
      const readable = isSame ? patched : rules.readableBy(this.work.context.scopes, patched);
      const target = patched.url === before.url ? readable : rules.redirected(readable, this.work.now());
      const after = sent ? await this.#withHeaders(target, sent) : target;
      if (after.enabled === before.enabled) return { record: after, attempts: ATTEMPTS };
      const record = after.enabled ? await this.#enabled(after) : rules.disabled(after, this.work.now());
      return { record, attempts: ATTEMPTS };
    });
    return changed && shown(changed);
  }

  /** Deletes the webhook with its deliveries. Returns whether it existed. */
  async delete(webhookId: string, options: ChangeOptions = {}): Promise<boolean> {
    const removed = await this.#webhooks.remove(webhookId, options, "webhook.deleted", ({ id, tenantId }) => ({
      mutations: [
        { op: "deletePrefix", prefix: `delivery:${id}` },
        { op: "deletePrefix", prefix: `webhookreplay:${id}` },
        counted(tenantId, -1),
      ],
      attempts: ATTEMPTS,
    }));
    return removed !== null;
  }

  /**
   * Replaces the secret. Requests have the signatures of both for `overlapSeconds`, 0 to 604,800. A secret that an earlier rotation
   * replaced ends at once. If the present secret cannot be decrypted, there is no overlap, and the headers are removed with it. Null
   * if there is no such webhook.
   */
  async rotateSecret(
    webhookId: string,
    { overlapSeconds = rules.DEFAULT_OVERLAP_SECONDS }: { readonly overlapSeconds?: number | undefined } = {},
    options: ChangeOptions = {},
  ): Promise<NewWebhook | null> {
    rules.assertOverlap(overlapSeconds);
    const secret = newSecret();
    let sealed = "";
    const decide = async (before: StoredWebhook) => {
      const found = await openIfReadable(this.work, before);
      const overlap = found ? overlapSeconds : 0;
      const kept = found?.headers ? { headers: found.headers } : {};
      const secrets = { current: secret, ...(found && overlap > 0 ? { previous: found.current } : {}), ...kept };
      const sealedSecret = await seal(this.work, before.id, secrets);
      sealed = sealedSecret.ciphertext;
      const { previousSecretExpiresAt: _, ...rest } = before as Webhook;
      const now = this.work.now();
      const until = overlap > 0 ? { previousSecretExpiresAt: isoTime(Date.parse(now) + overlap * 1_000) } : {};
      const own = { sealedSecret, secretLast4: secret.slice(-4), headerNames: found ? before.headerNames : [] };
      const next = { ...rest, ...own, ...rules.secretTimes(now), ...until };
      return { record: rules.scheduled(next as unknown as Webhook), data: { overlapSeconds: overlap }, attempts: ATTEMPTS };
    };
    const changed = await this.#webhooks.change(webhookId, options, "webhook.secret_rotated", decide, { overlapSeconds });
    return changed && withSecret(changed, sealed, secret);
  }

  /** Sends events again to a disabled or failed webhook. `gap` of the result says what it lacks. Null if there is no such webhook. */
  async enable(webhookId: string, options: ChangeOptions = {}): Promise<ShownWebhook | null> {
    const changed = await this.#webhooks.change(webhookId, options, "webhook.enabled", async (before) => (
      before.enabled ? { record: before } : { record: await this.#enabled(before), attempts: ATTEMPTS }
    ));
    return changed && shown(changed);
  }

  /** Sends the example of an event type now, and waits for the result. Null if there is no such webhook. Throws `validation_failed`. */
  async test(webhookId: string, { type }: { readonly type?: string | undefined } = {}): Promise<TestResult | null> {
    const found = await this.#webhooks.get(webhookId);
    return found && await sendTest(this.work, found, type);
  }

  /** The deliveries of one webhook, the newest events first. Null if there is no such webhook. */
  async deliveries(webhookId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredDelivery> | null> {
    return await (await this.#deliveriesOf(webhookId))?.list(filters, sort, pagination) ?? null;
  }

  /** One delivery with its body. Null if there is no such webhook or delivery. */
  async delivery(webhookId: string, deliveryId: string): Promise<DeliveryView | null> {
    return await (await this.#deliveriesOf(webhookId))?.get(deliveryId) ?? null;
  }

  /** Sends one delivery again. Null if there is no such webhook or delivery. Throws `invalid_transition` for a disabled webhook. */
  async replay(webhookId: string, deliveryId: string, options: ChangeOptions = {}): Promise<StoredDelivery | null> {
    return await (await this.#deliveriesOf(webhookId))?.replay(deliveryId, options) ?? null;
  }

  /**
   * Sends again what failed since an instant, or what has no delivery. The job works it off in steps. Null if there is no such webhook.
   * Throws `invalid_transition` for a disabled webhook, `validation_failed`.
   */
  async replaySince(webhookId: string, request: ReplayRequest, options: ChangeOptions = {}): Promise<StoredReplay | null> {
    const found = await this.#webhooks.get(webhookId);
    return found && await createReplay(this.work, found, request, options);
  }

  /** The replays of one webhook. Null if there is no such webhook. */
  async replays(webhookId: string, filters: Filters = {}, sort?: Sort, pagination?: Pagination): Promise<Page<StoredReplay> | null> {
    const found = await this.#webhooks.get(webhookId);
    if (!found) return null;
    const { where = [], ...selection } = selectionOf(webhookReplay, filters);
    const own = { field: "webhookId", in: [found.id] };
    return await listPage(new Records(webhookReplay, this.work), { ...selection, where: [own, ...where], sort, pagination });
  }

  /** One replay and its progress. Null if there is none. */
  async replayOf(webhookId: string, replayId: string): Promise<StoredReplay | null> {
    return await new Records(webhookReplay, this.work).get(`webhookreplay:${shortId(webhookId)}:${replayId}`);
  }

  async #deliveriesOf(webhookId: string): Promise<Deliveries | null> {
    const found = await this.#webhooks.get(webhookId);
    return found && new Deliveries(this.work, found);
  }

  async #enabled<W extends Webhook>(before: W): Promise<W> {
    const now = this.work.now();
    return rules.enabled(before, await gapOf(this.work, before, rules.gapStart(before, now)), now);
  }

  /** Seals the headers with the secrets, unless they are the same. */
  async #withHeaders(record: Webhook, headers: Record<string, string>): Promise<Webhook> {
    const { headers: before = {}, ...secrets } = await open(this.work, record);
    if (JSON.stringify(before) === JSON.stringify(headers)) return record;
    const sealedSecret = await seal(this.work, record.id, Object.keys(headers).length > 0 ? { ...secrets, headers } : secrets);
    return { ...record, headerNames: Object.keys(headers), sealedSecret };
  }

  /** Throws `validation_failed` for a URL that must not be called, and for events that do not exist. */
  async #assertTarget(after: Pick<Webhook, "url" | "events" | "tenantId">, before?: Pick<Webhook, "url" | "events">): Promise<void> {
    rules.assertReadsEvents(this.work.context.scopes, after.events);
    if (after.url !== before?.url) await assertWebhookUrl(after.url, this.work.platform.outbound.rules);
    if (after.events.join() === before?.events.join()) return;
    // The catalogue loads all entities.
    const { isPattern, isTenantPattern } = await import("../events/catalogue.ts");
    rules.assertPatterns(after.events, isPattern);
    if (after.tenantId !== undefined) rules.assertTenantPatterns(after.events, isTenantPattern);
  }

  /** Throws `not_found` for another tenant than the caller's own. */
  #scopeOf(tenantId: string | undefined): { readonly scope?: string } {
    if (tenantId === undefined) return {};
    const { tenantId: bound } = this.work.context;
    const scope = shortTenantId(tenantId);
    if (bound !== null && scope !== bound) throw errors.notFound("tenant", scope);
    return { scope };
  }

  /** The tenant of a new webhook. Throws `not_found` for one that does not exist, or that is not the caller's. */
  async #tenantIdOf(given: string | undefined): Promise<string | undefined> {
    const { tenantId: bound } = this.work.context;
    const asked = given === undefined ? undefined : shortTenantId(given);
    if (asked === undefined || asked === bound) return bound ?? undefined;
    if (bound !== null) throw errors.otherTenant(asked);
    if (await this.work.read(keyOf(tenant, { id: asked })) === null) throw errors.notFound("tenant", asked);
    return asked;
  }
}

/** Without its secrets, and with the version that {@link WebhookRecords} compares. */
function shown(record: StoredWebhook): ShownWebhook {
  const { sealedSecret: _, ...rest } = record;
  return { ...rest, version: shownVersion(record) } as unknown as ShownWebhook;
}

/** With its secret, if this call made it: the recorded result of an earlier call has sealed another one. */
function withSecret(record: StoredWebhook, ciphertext: string, secret: string): NewWebhook {
  return { ...shown(record), ...(record.sealedSecret.ciphertext === ciphertext ? { secret } : {}) };
}

function shortId(id: string): string {
  return id.slice(id.indexOf(":") + 1);
}
