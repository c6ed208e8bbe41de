import type { Caller } from "../../shared/core/caller.ts";
import type { Payer } from "../../shared/core/rate-limiter.ts";
import { Collection, type Stored } from "../../shared/core/collection.ts";
import { isTenantRole, type TenantRole } from "../../shared/core/scopes.ts";
import { admin } from "../../shared/features/admins/entity.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { isSecret, SECRET_LIKE } from "../../shared/features/api-keys/secret.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { equalSecrets } from "../../shared/kernel/sha256.ts";
import { isSegment, RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import type { AnyEntity } from "../../shared/kv/define.ts";
import type { Entry } from "../../shared/kv/store.ts";
import type { TokenClaims } from "../../shared/ports.ts";
import { RefusedCredentialError } from "./denials.ts";
import type { ApiDeps } from "./deps.ts";

/** The credential of a request, not yet verified. */
export type Credential = { readonly kind: "token" | "key"; readonly text: string };

/** Reads the headers. Throws `unauthenticated`, and `bad_request` for two different credentials. */
export async function credentialOf(authorization: string | undefined, apiKey: string | undefined): Promise<Credential> {
  if (authorization === undefined && apiKey === undefined) {
    throw new InnkeepError("unauthenticated", "This request needs a credential. Send it as `Authorization: Bearer <token or API key>`.");
  }
  const bearer = authorization === undefined ? undefined : /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization)?.[1];
  if (authorization !== undefined && bearer === undefined) {
    throw new InnkeepError("unauthenticated", "The Authorization header must be `Bearer <token or API key>`.");
  }
  if (bearer !== undefined && apiKey !== undefined && !await equalSecrets(bearer, apiKey)) {
    throw new InnkeepError("bad_request", "Authorization and X-API-Key have different credentials. Send one of them.");
  }
  // Generated clients send one credential in both headers.
  if (bearer !== undefined && !SECRET_LIKE.test(bearer)) return { kind: "token", text: bearer };
  const text = apiKey ?? bearer ?? "";
  if (!isSecret(text)) {
    throw new InnkeepError("unauthenticated", "The API key is malformed. Send the whole key, as it was shown when it was made.");
  }
  return { kind: "key", text };
}

/**
 * Returns the caller of a bearer token. Reads the admin and the tenant on every request, so that disabling an admin or
 * suspending a tenant takes effect at once. `lookUp` starts other reads that share the round trip, and the charge of its rate limit.
 */
export async function authenticate<T>(
  token: string,
  { backend, verifier }: ApiDeps,
  lookUp: (payer: Payer) => T,
): Promise<T & { readonly caller: Caller }> {
  const claims = await verifier.verify(token);
  const bound = tenantOf(claims);
  const { store, platform: { scopes } } = backend;
  // Started in one turn, these reads and those of `lookUp` are one database call, shared with other requests.
  const [admins, tenants] = [new Collection(admin, store), new Collection(tenant, store)];
  const adminKey = isSegment(claims.subject) ? admins.key({ userId: claims.subject }) : null;
  const tenantKey = bound && tenants.key({ id: bound.tenantId });
  const found = Promise.all([adminKey, tenantKey].map((key) => key === null ? null : store.get(key)));
  const started = lookUp({ kind: "user", subject: claims.subject, tenantId: bound?.tenantId ?? null });
  const [adminEntry, tenantEntry] = await found;
  const person = readWith(admins, adminEntry);
  const own = readWith(tenants, tenantEntry);
  if (person?.enabled) {
    const { userId, email, role, permissions } = person;
    const actor = { type: "admin" as const, id: userId, email };
    const held = scopes.ofAdmin(role, permissions);
    return {
      ...started,
      caller: { kind: "admin", actor, scopes: held, tenantId: null, role, signIn: claims.signIn, issuedAtMs: claims.issuedAtMs },
    };
  }
  if (bound && own) {
    const { tenantId, role } = bound;
    const actor = { type: "user" as const, id: claims.subject, ...(claims.email === undefined ? {} : { email: claims.email }) };
    const { id, name, status, plan, maintenance, settings } = own;
    return {
      ...started,
      caller: {
        kind: "user",
        actor,
        scopes: scopes.ofTenant(role),
        tenantId,
        role,
        signIn: claims.signIn,
        tenant: { id, name, status, plan, maintenance, settings },
      },
    };
  }
  const message = "This account is neither an enabled platform admin nor a user of an existing tenant.";
  throw new RefusedCredentialError("forbidden", message, { type: "user", id: claims.subject });
}

function readWith<E extends AnyEntity>(collection: Collection<E>, entry: Entry | null | undefined): Stored<E> | null {
  return entry ? collection.read(entry) : null;
}

/** Reads only `app_metadata`, which users cannot change. A missing role means `viewer`; a token with an unknown role has no tenant. */
function tenantOf(claims: TokenClaims): { tenantId: string; role: TenantRole } | null {
  const { tenant_id: tenantId, tenant_role: role = "viewer" } = claims.appMetadata;
  if (typeof tenantId !== "string" || !isSegment(tenantId) || RESERVED_TENANT_IDS.has(tenantId)) return null;
  return isTenantRole(role) ? { tenantId, role } : null;
}
