import type { Context, Handler } from "hono";
import type { Caller } from "../../shared/core/caller.ts";
import { ANONYMOUS } from "../../shared/core/caller.ts";
import type { Payer } from "../../shared/core/rate-limiter.ts";
import type { Reply } from "../../shared/core/reply.ts";
import { type AnyCall, idParam, pathParams, restated, type Route, type ServiceClass } from "../../shared/core/route.ts";
import type { Context as CallContext } from "../../shared/kernel/context.ts";
import { errors, InnkeepError, OtherTenantError } from "../../shared/kernel/errors.ts";
import { accepts } from "hono/accepts";
import { type AnyEntity, keyOf, keyParams, matchKey } from "../../shared/kv/define.ts";
import { tenant } from "../../shared/features/tenants/entity.ts";
import { isKey, isSegment, RESERVED_TENANT_IDS } from "../../shared/kv/key.ts";
import type { Entry } from "../../shared/kv/store.ts";
import { type Attempt, Denials, newAttempt } from "./denials.ts";
import type { ApiDeps } from "./deps.ts";
import { authenticate, credentialOf } from "./authenticate.ts";
import { KeyAuthenticator } from "./authenticate-key.ts";
import { addressOf, callerContext } from "./caller-context.ts";
import { readConditions } from "./conditional.ts";
import { externalPath } from "./function-path.ts";
import { since } from "./elapsed.ts";
import { readIdempotency, RunningCalls } from "./idempotency.ts";
import { assertNoKeyInQuery } from "./key-in-query.ts";
import { assertOpen, settingsFor } from "./maintenance.ts";
import type { AppEnv } from "./middleware/request-context.ts";
import { chargeOf } from "./rate-limit.ts";
import { respond } from "./respond.ts";
import { assertSignIn } from "./sign-in.ts";
import { authorize, claimedBy, otherTenant, resolveTenant, type TenantSources } from "./tenant-scope.ts";
import { checkedInput } from "./validate.ts";

/** The form of a signed token (RFC 7519). */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

type Params = Readonly<Record<string, string>>;

/** The handler of each route, over one backend. */
export function handlersOver(deps: ApiDeps): (route: Route) => Handler<AppEnv> {
  const shared = { running: new RunningCalls(), keys: new KeyAuthenticator(deps), denials: new Denials(deps), backend: deps.backend };
  return (route) => handlerOf(route, deps, shared);
}

/** What all requests share. */
interface Shared {
  readonly running: RunningCalls;
  readonly keys: KeyAuthenticator;
  readonly denials: Denials;
  readonly backend: ApiDeps["backend"];
}

function handlerOf(route: Route, deps: ApiDeps, shared: Shared): Handler<AppEnv> {
  const handle = stepsOf(route, deps, shared);
  return async (c) => {
    const attempt = newAttempt();
    try {
      return await handle(c, attempt);
    } catch (error) {
      shared.denials.note(c, route, error, attempt);
      throw error;
    }
  };
}

/** The steps of a request: authentication, tenant, scope, validation, service, response. */
function stepsOf(route: Route, deps: ApiDeps, shared: Shared): (c: Context<AppEnv>, attempt: Attempt) => Promise<Response> {
  const { backend } = deps;
  const names = pathParams(route.path);
  const entities = entitiesOf(route);
  return async (c, attempt) => {
    c.set("route", route.path);
    if (route.errorProtocol) c.set("restate", (error) => restated(route, error, c.req.param() as Params));
    assertNoKeyInQuery(new URL(c.req.url).searchParams, route);
    const authStartedAt = performance.now();
    const params = readParams(c, names, entities, route);
    const charge = chargeOf(c, route, backend.platform.limiter);
    const lookUp = (payer?: Payer) => {
      if (payer) charge.start(payer);
      return lookedUp(c, route, params, backend, payer);
    };
    const { caller, loaded, host, settings } = route.scope === "public"
      ? { caller: ANONYMOUS, loaded: [], host: Promise.resolve(null), settings: settingsFor(route, backend, false) }
      : await callerOf(c, deps, shared, lookUp, attempt).catch(charge.refuse);
    noteCaller(c, caller, loaded, attempt);
    await charge.settle(caller);
    if (params instanceof InnkeepError) throw params;
    const tenantId = route.scope === "public" ? null : await tenantOf(c, caller, sourcesOf(c, route, params, host), shared, attempt);
    c.set("tenantId", tenantId);
    await admit(caller, route, settings, backend, isDryRun(c, route));
    c.set("authMs", since(authStartedAt));
    const input = await checkedInput(c, route);
    const context = callerContext(c, caller, backend.clock, readIdempotency(c, route, { params, tenantId, ...input }));
    const work = backend.bind(context, visibleTo(caller, loaded));
    const storeStartedAt = performance.now();
    try {
      const call = {
        ...input,
        params,
        service: new route.service(work),
        use: <T>(Service: ServiceClass<T>) => new Service(work),
        caller,
        hosts: backend.platform.hosts,
        tenantId,
        options: readConditions(c, route),
        mediaType: mediaTypeOf(c, route),
        external: externalPath(c),
      };
      const response = respond(c, route, await run(route, call, context, shared, attempt), call.external);
      if (work.replayed) response.headers.set("idempotent-replayed", "true");
      return response;
    } finally {
      c.set("storeMs", since(storeStartedAt));
    }
  };
}

/** Refuses a caller who may not call the route, not with this sign-in, or not during the present maintenance. */
async function admit(
  caller: Caller,
  route: Route,
  settings: ReturnType<typeof settingsFor>,
  backend: ApiDeps["backend"],
  isDryRun: boolean,
): Promise<void> {
  authorize(caller, route);
  await assertSignIn(caller, settings, backend);
  await assertOpen(caller, route, settings, backend, isDryRun);
}

/** Whether the request asks for a dry run. A request that says so and the contrary is refused when its parameters are checked. */
function isDryRun(c: Context, { query }: Route): boolean {
  return query !== undefined && Object.hasOwn(query.shape, "dryRun") && c.req.query("dryRun") === "true";
}

/**
 * What is read while the caller is looked up: the records of the path, the tenant that claims the host, the key of the user's personal
 * data, and for a person or a change the settings.
 */
function lookedUp(
  c: Context,
  route: Route,
  params: Params | InnkeepError,
  backend: ApiDeps["backend"],
  payer: Payer | undefined,
) {
  const { store, platform: { hosts, personal } } = backend;
  if (payer?.kind === "user") personal.prefetch(payer.subject);
  const loaded = params instanceof InnkeepError ? [] : load(route, params, store);
  const settings = settingsFor(route, backend, payer?.kind === "user");
  settings?.catch(() => undefined); // It is awaited only if the request is not refused before.
  return { loaded, host: claimedBy(new URL(c.req.url).host, hosts, store), settings };
}

/** Runs the route. If a tenant's API key named another tenant in its body, that is audited. */
async function run(
  route: Route,
  call: AnyCall,
  context: CallContext,
  { running, denials }: Shared,
  attempt: Attempt,
): Promise<Reply> {
  try {
    return await running.run(context, () => route.handle(call));
  } catch (error) {
    if (call.caller.kind === "key" && error instanceof OtherTenantError) {
      attempt.isRecorded = true;
      await denials.otherTenant(call.caller, error.asked, context);
    }
    throw error;
  }
}

/** The caller of a request: the user of a token, or the program with an API key. */
async function callerOf<T>(
  c: Context,
  deps: ApiDeps,
  { keys }: Shared,
  lookUp: (payer?: Payer) => T,
  attempt: Attempt,
): Promise<T & { readonly caller: Caller }> {
  const { kind, text } = await credentialOf(c.req.header("authorization"), c.req.header("x-api-key"));
  attempt.hasCredential = kind === "key" || TOKEN.test(text);
  return kind === "key" ? await keys.caller(text, addressOf(c), lookUp) : await authenticate(text, deps, lookUp);
}

/** Keeps who the caller is, for the log and for the audit entry of a refusal. */
function noteCaller(c: Context<AppEnv>, caller: Caller, loaded: readonly Loading[], attempt: Attempt): void {
  attempt.caller = caller;
  attempt.isHidden = () => isHiddenFrom(caller, loaded);
  if (caller.kind !== "anonymous") c.set("caller", `${caller.kind}:${caller.actor.id}`);
}

/** The tenant of a request. The refusal of a tenant's API key is audited. */
async function tenantOf(
  c: Context<AppEnv>,
  caller: Caller,
  named: Promise<TenantSources>,
  { denials, backend }: Shared,
  attempt: Attempt,
): Promise<string | null> {
  const sources = await named;
  const other = caller.tenantId !== null ? otherTenant(caller.tenantId, sources) : null;
  if (other) attempt.isHidden = () => Promise.resolve(true);
  if (caller.kind === "key" && other) {
    attempt.isRecorded = true;
    await denials.otherTenant(caller, "id" in other ? other.id : new URL(c.req.url).host, callerContext(c, caller, backend.clock));
  }
  return await resolveTenant(caller, sources, backend.store);
}

/** Maps each path parameter to its entity: `tenantId` to `tenant`. A caller may send the full key as the parameter. */
function entitiesOf(route: Route): ReadonlyMap<string, AnyEntity> {
  return new Map([...route.loads ?? [], tenant].map((entity) => [idParam(entity), entity]));
}

/** Returns `front` for `door:tn_1:front` if the path contains `tn_1` before it. Returns other values unchanged. */
function shortId(entity: AnyEntity | undefined, given: string, params: Params): string {
  const fields = entity && isKey(given) ? Object.entries(matchKey(entity, given) ?? {}) : [];
  const id = fields.at(-1)?.[1];
  return id !== undefined && fields.slice(0, -1).every(([field, value]) => params[field] === value) ? id : given;
}

/** The path's parameters as short ids: `plan:Pro` becomes `Pro`. Returns a 404 for an invalid id; it is thrown after authentication. */
function readParams(
  c: Context,
  names: readonly string[],
  entities: ReadonlyMap<string, AnyEntity>,
  { takesKeyOf }: Route,
): Params | InnkeepError {
  const params: Record<string, string> = {};
  for (const name of names) {
    const given = c.req.param(name) ?? "";
    const id = shortId(entities.get(name), given, params);
    const isReserved = name === "tenantId" && RESERVED_TENANT_IDS.has(id);
    const isWhole = takesKeyOf !== undefined && name === names.at(-1) && isKey(given) && matchKey(takesKeyOf, given) !== null;
    if ((!isSegment(id) && !isWhole) || isReserved) return errors.notFound(name.replace(/Id$/, ""), given.slice(0, 200));
    params[name] = id;
  }
  return params;
}

interface Loading {
  readonly entity: AnyEntity;
  readonly key: string;
  readonly entry: Promise<Entry | null>;
}

/** Starts to load the records named in the path, in one call. If the route has no `loads`, this is the path's tenant. */
function load(route: Route, params: Params, store: ApiDeps["backend"]["store"]): Loading[] {
  const named = (route.loads ?? (params["tenantId"] === undefined ? [] : [tenant])).map((entity) => {
    // The parameter with the field's own name comes first, such as `tenantId` of a record below a tenant.
    const fields = Object.fromEntries(keyParams(entity).map((name) => [name, params[name] ?? params[idParam(entity)] ?? ""]));
    return { entity, key: keyOf(entity, fields) };
  });
  return named.map((one) => ({ ...one, entry: handled(store.get(one.key)) }));
}

/** Hides the records that row-level security would hide from a tenant's user. */
function visibleTo(caller: Caller, loaded: readonly Loading[]): [string, Promise<Entry | null>][] {
  if (caller.tenantId === null) return loaded.map(({ key, entry }) => [key, entry]);
  return loaded.map((
    { entity, key, entry },
  ) => [key, handled(entry.then((found) => found && shows(caller, entity, found) ? found : null))]);
}

function shows(caller: Caller, entity: AnyEntity, { tenantId }: Entry): boolean {
  return tenantId === caller.tenantId || (tenantId === null && entity.readableByTenants === true);
}

/** Whether a record that the path names exists, but not for this caller. */
async function isHiddenFrom(caller: Caller, loaded: readonly Loading[]): Promise<boolean> {
  if (caller.tenantId === null) return false;
  const entries = await Promise.all(loaded.map(({ entry }) => entry));
  return loaded.some(({ entity }, i) => {
    const found = entries[i];
    return found !== null && found !== undefined && !shows(caller, entity, found);
  });
}

/** Prevents an unhandled rejection when the request is refused before the promise is awaited. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** The first media type of the route's files that the request accepts; without a match the default. */
function mediaTypeOf(c: Context, { responses }: Route): string {
  const [first = "application/json", ...others] = responses[200]?.types ?? [];
  return accepts(c, { header: "Accept", supports: [first, ...others], default: first });
}

async function sourcesOf(c: Context, route: Route, params: Params, host: ReturnType<typeof claimedBy>): Promise<TenantSources> {
  const query = route.query && Object.hasOwn(route.query.shape, "tenantId") ? c.req.query("tenantId") || undefined : undefined;
  return { path: params["tenantId"], query, header: c.req.header("x-tenant-id"), host: await host };
}
