import type { Context as HonoContext } from "hono";
import { ANONYMOUS, type ApiKeyCaller, type Caller } from "../../shared/core/caller.ts";
import { REDACTED } from "../../shared/core/redaction.ts";
import type { Route } from "../../shared/core/route.ts";
import { recordRefusal, REFUSED_EVERY_MS } from "../../shared/features/api-keys/lookup.ts";
import { SECRET_LIKE } from "../../shared/features/api-keys/secret.ts";
import type { Actor, Context } from "../../shared/kernel/context.ts";
import { type ErrorCode, InnkeepError, OtherTenantError } from "../../shared/kernel/errors.ts";
import { callerContext } from "./caller-context.ts";
import type { ApiDeps } from "./deps.ts";
import type { AppEnv } from "./middleware/request-context.ts";
import { networkOf } from "./rate-limit.ts";

const MAX_KNOWN = 1_000;
const WINDOW_MS = 60_000;
/** Entries a minute of one caller, or of one address without a valid credential. */
const MAX_OF_ONE = 5;
/** Entries a minute of all addresses without a valid credential, in this process. */
const MAX_UNKNOWN = 60;
/** Entries that are being written. */
const MAX_WRITING = 20;

/** A credential was refused whose holder is known. */
export class RefusedCredentialError extends InnkeepError {
  constructor(code: ErrorCode, message: string, readonly actor: Actor, readonly tenantId: string | null = null) {
    super(code, message);
  }
}

/** What is known of a request when it is refused. */
export interface Attempt {
  /** The credential was well-formed. */
  hasCredential: boolean;
  caller: Caller | null;
  /** Whether the request named a record that exists but that its caller may not see, or another tenant. */
  isHidden: () => Promise<boolean>;
  /** The refusal has an audit entry of its own. */
  isRecorded: boolean;
}

export function newAttempt(): Attempt {
  return { hasCredential: false, caller: null, isHidden: () => Promise.resolve(false), isRecorded: false };
}

interface Window {
  readonly since: number;
  written: number;
  leftOut: number;
}

/**
 * Audits refused requests: 401 for a well-formed credential, 403, and 404 for what exists but is hidden from the caller. Each caller
 * and each address has a few entries a minute; the next one counts those that were left out.
 */
export class Denials {
  readonly #windows = new Map<string, Window>();
  readonly #refusedAt = new Map<string, number>();
  #writing = 0;

  constructor(private readonly deps: ApiDeps) {}

  /** Audits a refused request in the background. Neither delays the response nor throws. */
  note(c: HonoContext<AppEnv>, route: Route, error: unknown, attempt: Attempt): void {
    const { denials } = this.deps;
    if (!denials || attempt.isRecorded || !(error instanceof InnkeepError) || ![401, 403, 404].includes(error.status)) return;
    if (error.status === 401 && !attempt.hasCredential) return;
    const work = this.#note(c, route, error, attempt).catch((failure: unknown) => {
      this.deps.backend.logger.warn("denial_not_recorded", { error: failure instanceof Error ? failure.message : String(failure) });
    });
    denials.background?.(work);
  }

  /** Audits the use of a tenant's API key for another tenant, at most once a minute for each key. `asked` is what it named. */
  async otherTenant({ actor: { id } }: ApiKeyCaller, asked: string, context: Context): Promise<void> {
    const { backend } = this.deps;
    const now = backend.clock.now();
    const last = this.#refusedAt.get(id);
    if (last !== undefined && Math.abs(now - last) < REFUSED_EVERY_MS) return;
    if (this.#refusedAt.size >= MAX_KNOWN) this.#refusedAt.clear();
    this.#refusedAt.set(id, now);
    try {
      const shown = SECRET_LIKE.test(asked) ? REDACTED : asked.slice(0, 200);
      await recordRefusal(backend.bind({ ...context, tenantId: null }), id, shown);
    } catch (error) {
      backend.logger.warn("refusal_not_recorded", { keyId: id, error: error instanceof Error ? error.message : String(error) });
    }
  }

  async #note(c: HonoContext<AppEnv>, route: Route, error: InnkeepError, attempt: Attempt): Promise<void> {
    const isHidden = error.status === 404;
    if (isHidden && !(error instanceof OtherTenantError) && !await attempt.isHidden()) return;
    const { backend } = this.deps;
    const known = error instanceof RefusedCredentialError ? error : attempt.caller;
    const context = { ...callerContext(c, attempt.caller ?? ANONYMOUS, backend.clock), actor: known?.actor ?? ANONYMOUS.actor };
    const leftOut = this.#admit(known, context.ipAddress, backend.clock.now());
    if (leftOut === null) return;
    // A tenant's log must not tell that a record of another tenant exists.
    const tenantId = isHidden ? undefined : known?.tenantId ?? undefined;
    const data = { code: error.code, status: error.status, ...(leftOut > 0 ? { leftOut } : {}) };
    const note = { action: "access.denied", resource: "route", resourceId: `${route.method} ${route.path}`, tenantId, data };
    this.#writing++;
    try {
      await backend.bind({ ...context, tenantId: null })
        .transact(() => ({ commit: { audit: [note], result: {} }, resultOf: tenantId ?? null }));
    } finally {
      this.#writing--;
    }
  }

  /** The number of attempts that were left out before this one, or null if this one is left out. */
  #admit(known: { readonly actor: Actor } | null, address: string | undefined, now: number): number | null {
    const one = this.#windowOf(known ? `${known.actor.type}:${known.actor.id}` : `address:${networkOf(address ?? "")}`, now);
    const all = known ? null : this.#windowOf("unknown", now);
    if (one.written >= MAX_OF_ONE || (all && all.written >= MAX_UNKNOWN) || this.#writing >= MAX_WRITING) {
      one.leftOut++;
      return null;
    }
    one.written++;
    if (all) all.written++;
    const { leftOut } = one;
    one.leftOut = 0;
    return leftOut;
  }

  /** The present minute of a caller. A new one begins with what the last one has left out. */
  #windowOf(id: string, now: number): Window {
    const found = this.#windows.get(id);
    if (found && Math.abs(now - found.since) < WINDOW_MS) return found;
    if (!found && this.#windows.size >= MAX_KNOWN) this.#forgetOldest();
    const next = { since: now, written: 0, leftOut: found?.leftOut ?? 0 };
    this.#windows.delete(id);
    this.#windows.set(id, next);
    return next;
  }

  /** The map is in the order of the windows' beginnings. The log has what an entry of the forgotten caller would have counted. */
  #forgetOldest(): void {
    const [oldest] = this.#windows;
    if (!oldest) return;
    const [id, { leftOut }] = oldest;
    this.#windows.delete(id);
    if (leftOut > 0) this.deps.backend.logger.warn("denials_left_out", { caller: id, leftOut });
  }
}
