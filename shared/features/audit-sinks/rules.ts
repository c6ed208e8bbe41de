import { isoTime } from "../../kernel/clock.ts";
import type { JsonObject } from "../../kernel/json.ts";
import type { AuditSink } from "./entity.ts";

/** Between two looks for new entries. */
const EVERY_MS = 60_000;
const MAX_BACKOFF_MS = 3_600_000;
const MAX_ERROR_CHARS = 500;
/** The size of one request. Splunk and Datadog take at least 1 MB. */
export const MAX_BODY_BYTES = 900_000;
/**
 * Entries of all chains are read in the order of their times, which the processes' clocks give them. They are sent when no other with
 * an earlier time can be committed any more: clocks differ by less, and commits take less.
 */
export const SETTLED_AFTER_MS = 5 * 60_000;

/** A stored entry and its key. */
export interface SentEntry {
  readonly key: string;
  readonly value: JsonObject;
}

/** What is sent for some entries: the form that the kind of receiver expects. */
export function requestOf(kind: AuditSink["kind"], token: string, entries: readonly SentEntry[]) {
  const values = entries.map(({ value }) => value);
  if (kind === "splunk") {
    const events = values.map((event) => ({
      time: Date.parse(String(event["timestamp"])) / 1_000,
      source: "innkeep",
      sourcetype: "innkeep:audit",
      event,
    }));
    return { headers: { authorization: `Splunk ${token}` }, body: events.map((event) => JSON.stringify(event)).join("\n") };
  }
  if (kind === "datadog") {
    const logs = values.map((audit) => ({
      ddsource: "innkeep",
      service: "innkeep",
      timestamp: audit["timestamp"],
      message: `${String(audit["action"])} ${String(audit["resource"])} ${String(audit["resourceId"])}`,
      audit,
    }));
    return { headers: { "dd-api-key": token }, body: JSON.stringify(logs) };
  }
  return { headers: { authorization: `Bearer ${token}` }, body: JSON.stringify({ entries: values }) };
}

/** As many of the first entries as fit into one request, at least one. */
export function fitting(entries: readonly SentEntry[]): readonly SentEntry[] {
  let bytes = 0;
  const encoder = new TextEncoder();
  const end = entries.findIndex(({ value }) => (bytes += encoder.encode(JSON.stringify(value)).length + 200) > MAX_BODY_BYTES);
  return end < 0 ? entries : entries.slice(0, Math.max(1, end));
}

/** The sink after the receiver has accepted entries, or after there were none. `more`: others wait. */
export function accepted(before: AuditSink, sent: readonly SentEntry[], more: string | undefined, nowMs: number): AuditSink {
  const { lastError: _, behindSince: __, ...rest } = before;
  const last = sent.at(-1);
  return {
    ...rest,
    ...(last ? { position: positionOf(last), lastSentAt: isoTime(nowMs), sentEntries: before.sentEntries + sent.length } : {}),
    ...(more === undefined ? {} : { behindSince: more }),
    failures: 0,
    dueAt: isoTime(more === undefined ? nowMs + EVERY_MS : nowMs),
  } as AuditSink;
}

/** The sink after a failed attempt. It is tried again after a minute, then after twice as long each time, up to an hour. */
export function failed(before: AuditSink, error: string, oldest: string, nowMs: number): AuditSink {
  const pauseMs = Math.min(MAX_BACKOFF_MS, EVERY_MS * 2 ** Math.min(before.failures, 10));
  return {
    ...before,
    failures: before.failures + 1,
    lastError: error.slice(0, MAX_ERROR_CHARS),
    behindSince: oldest,
    dueAt: isoTime(nowMs + pauseMs),
  };
}

function positionOf({ key, value }: SentEntry): AuditSink["position"] {
  return { seq: Number(value["seq"]), timestamp: String(value["timestamp"]), key };
}
