import { Collection, type Stored } from "../../core/collection.ts";
import { type Notes, notesOf } from "../../core/notes.ts";
import type { OutboundResponse } from "../../core/outbound.ts";
import type { Change, UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { Mutation } from "../../kv/store.ts";
import type { CallOutcome } from "../connector-events/entity.ts";
import { entryOf, keepsMessages, redactedMessage } from "../connector-events/log.ts";
import { admission, afterCall, MAX_REFUSALS, probing, transition } from "./circuit.ts";
import { type Result, resultOf, TEST_TIMEOUT_MS } from "./connection-test.ts";
import { type Integration, integration } from "./entity.ts";
import type { Credentials, TestRequest } from "./provider.ts";
import { providerOf } from "./providers.ts";
import { broken, obstacleOf } from "./rules.ts";

type Found = Stored<typeof integration>;
const MAX_RESPONSE_BYTES = 1_048_576;
/** The end of a call must be recorded although other calls end at the same time. */
const ATTEMPTS = 50;

/** What the log of calls shows of a call. */
export interface ProviderCall {
  readonly action: string;
  readonly target?: string;
  /** The text that is sent. */
  readonly message?: string;
}

/** What a call gets. */
export interface OpenConnection {
  readonly config: JsonObject;
  readonly credentials: Credentials;
  /** Sends a request. Default deadline: 10 s. */
  readonly send: (request: ProviderRequest) => Promise<Result & { readonly response?: OutboundResponse }>;
}

export interface ProviderRequest extends Omit<TestRequest, "method"> {
  readonly method: string;
  readonly timeoutMs?: number;
}

/** What a call resulted in. */
export interface Called<T> {
  readonly outcome: CallOutcome;
  readonly statusCode?: number;
  /** Whether the provider said that the credentials will never work again. */
  readonly revoked?: boolean;
  readonly value: T;
}

/** Throws for an integration that the program must not call. */
export function assertCallable(found: Integration): void {
  const obstacle = obstacleOf(found);
  if (obstacle === null) return;
  const { provider } = found;
  if (obstacle === "needs_reauth") {
    const message = `The credentials of ${provider} no longer work. Connect the integration again with valid ones.`;
    throw new InnkeepError("integration_needs_reauth", message);
  }
  const message = obstacle === "disabled" ? "is disabled. Enable it first." : "is not connected. Connect it first.";
  throw new InnkeepError("integration_disconnected", `The integration ${provider} ${message}`);
}

/** Decrypts the credentials. Throws `decryption_failed` and `root_key_unavailable`. */
export async function openCredentials({ platform }: UnitOfWork, { id, credentials }: Integration): Promise<Credentials> {
  if (credentials === undefined) return {};
  return await platform.secrets.open(id, "credentials", credentials) as Credentials;
}

/**
 * Makes one call of a provider, if the circuit breaker lets it through, and logs it. Throws `not_found`, `integration_disconnected`,
 * `integration_needs_reauth`, `circuit_open`, and what `run` throws.
 */
export async function guardedCall<T>(
  work: UnitOfWork,
  key: string,
  call: ProviderCall,
  run: (connection: OpenConnection) => Promise<Called<T>>,
): Promise<Called<T>> {
  const found = await admitted(work, key);
  const connection = await connectionOf(work, found);
  const { clock } = work.context;
  const startedMs = clock.now();
  const ended = (outcome: CallOutcome) => ({ outcome, durationMs: clock.now() - startedMs, revoked: false });
  let called: Called<T>;
  try {
    called = await run(connection);
  } catch (error) {
    await recordCall(work, found, call, ended("unexpected"));
    throw error;
  }
  const { value: _, ...result } = called;
  await recordCall(work, found, call, { ...ended(called.outcome), ...result });
  return called;
}

async function connectionOf(work: UnitOfWork, found: Found): Promise<OpenConnection> {
  const { signs } = providerOf(found.provider);
  const send: OpenConnection["send"] = async ({ body, timeoutMs = TEST_TIMEOUT_MS, ...request }) => {
    const sent = { ...request, ...(body === undefined ? {} : { body: new TextEncoder().encode(body) }) };
    const response = await work.platform.outbound.send({ ...sent, timeoutMs, maxBodyBytes: MAX_RESPONSE_BYTES });
    return { ...resultOf(response, signs), ...(response.ok ? { response } : {}) };
  };
  return { config: found.config as JsonObject, credentials: await openCredentials(work, found), send };
}

/** The integration, if a call may be made now. Of concurrent calls under an open circuit, one becomes the probe. */
async function admitted(work: UnitOfWork, key: string): Promise<Found> {
  const { result } = await work.transact<{ readonly found: Found }>(async () => {
    const found = await foundOf(work, key);
    assertCallable(found);
    const now = work.now();
    const admitted = admission(found.circuit, now);
    if (admitted === "allowed") return { done: { found }, resultOf: found.tenantId };
    if (admitted !== "probe") throw circuitOpen(found, admitted.retryAt, now);
    const after = { ...found, circuit: probing(found.circuit, now) };
    return { commit: { changes: [changeOf(found, after)], audit: "none", result: { found: after } }, resultOf: found.tenantId };
  });
  return result.found;
}

async function foundOf(work: UnitOfWork, key: string): Promise<Found> {
  const found = await new Collection(integration, work.store).get(key);
  if (!found) throw errors.notFound("integration", key.slice(key.lastIndexOf(":") + 1));
  return found;
}

function circuitOpen({ provider }: Integration, retryAt: string, now: string): InnkeepError {
  const retryAfterSeconds = Math.max(1, Math.ceil((Date.parse(retryAt) - Date.parse(now)) / 1_000));
  const message = `Calls of ${provider} failed, so no calls are made until ${retryAt}. Repeat yours then.`;
  return new InnkeepError("circuit_open", message, [], { retryAfterSeconds });
}

async function recordCall(work: UnitOfWork, used: Found, call: ProviderCall, result: Result): Promise<void> {
  const message = call.message === undefined ? undefined : redactedMessage(call.message, keepsMessages(used));
  await work.transact(async () => {
    const before = await foundOf(work, used.id);
    const entry = loggedCall(work, used, { ...call, message }, result);
    const { after, notes } = effectsOf(work, before, used, result);
    const changes = after === before ? [] : [changeOf(before, after)];
    const commit = { changes, mutations: [entry], attempts: ATTEMPTS, result: {} };
    const resultOf = before.tenantId;
    if (notes.length === 0) return { commit: { ...commit, audit: "none" }, resultOf };
    return { commit: { ...commit, audit: notes.map(({ audit }) => audit), events: notes.map(({ event }) => event) }, resultOf };
  });
}

/** The entry of a call in the log of calls. */
export function loggedCall(
  work: UnitOfWork,
  { tenantId, provider }: Integration,
  { action, target, message }: Omit<ProviderCall, "message"> & { readonly message?: Parameters<typeof entryOf>[4]["message"] },
  { outcome, statusCode, durationMs }: Result,
): Mutation {
  return entryOf(work, tenantId, provider, action, { target, message, outcome, statusCode, latencyMs: durationMs }).mutation;
}

interface Effects {
  readonly after: Integration;
  readonly notes: readonly Notes[];
}

/**
 * The integration after a call: its circuit, and whether its credentials are broken. A call with credentials that were replaced
 * meanwhile says nothing of the present ones.
 */
export function effectsOf(work: UnitOfWork, before: Found, used: Integration, result: Result): Effects {
  if (before.credentialsSetAt !== used.credentialsSetAt || obstacleOf(before) !== null) return { after: before, notes: [] };
  const circuit = afterCall(before.circuit, result.outcome, result.statusCode, work.now());
  const reason = result.revoked ? "revoked" as const : circuit.refusals >= MAX_REFUSALS ? "invalid_credentials" as const : null;
  const changed = JSON.stringify(circuit) === JSON.stringify(before.circuit) ? before : { ...before, circuit };
  const after = reason === null ? changed : { ...broken({ ...before, circuit }, reason), updatedAt: work.now() };
  const turned = transition(before.circuit, circuit);
  const notes = [
    ...(reason === null ? [] : [noteOf("integration.needs_reauth", before, after, { reason })]),
    ...(turned === null ? [] : [noteOf(`integration.${turned}`, before, after, { failures: circuit.failures })]),
  ];
  return { after, notes };
}

function noteOf(action: string, before: Found, after: Integration, data: JsonObject) {
  return notesOf(action, before.id, changeOf(before, after), { auditData: data, eventData: data });
}

function changeOf(before: Found, after: Integration): Change {
  const { version: _, ...record } = after as Found;
  return { entity: integration, before, after: record };
}
