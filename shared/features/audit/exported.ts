import type { AuditEntry } from "../../core/audit-entry.ts";
import type { JsonObject, JsonValue } from "../../kernel/json.ts";
import { brokenBecause, START } from "./chain.ts";

/** A stored entry. `opened` has its personal data by JSON Pointer, and is not part of what its hash covers. */
export type ExportedEntry = AuditEntry & { readonly opened?: Readonly<Record<string, JsonValue>> };

/** One chain of an exported file. */
export interface ExportedChain {
  /** The id of the tenant, or `global` for the platform. */
  readonly scope: string;
  readonly from: number;
  readonly to: number;
  readonly hash: string;
}

export interface ExportReport {
  readonly chains: readonly ExportedChain[];
  readonly firstBroken?: { readonly line: number; readonly scope: string; readonly reason: string };
}

/** The last entry that a chain is known to have, such as that of a checkpoint. */
export interface KnownHead {
  readonly scope: string;
  readonly seq: number;
  readonly hash: string;
}

/**
 * Verifies exported entries without a database: each against the one before it in its chain. A chain may begin after its first entry,
 * because retention may have deleted the ones before. Entries that are missing at the end are found with a known head only.
 */
export async function verifyExport(
  entries: AsyncIterable<{ readonly line: number; readonly entry: JsonObject; readonly fault?: string }>,
  heads: readonly KnownHead[] = [],
): Promise<ExportReport> {
  const chains = new Map<string, ExportedChain>();
  const report = (line: number, scope: string, reason: string): ExportReport => ({
    chains: [...chains.values()],
    firstBroken: { line, scope, reason },
  });
  let last = 0;
  for await (const { line, entry: { opened: _, ...entry }, fault } of entries) {
    last = line;
    const scope = typeof entry["tenantId"] === "string" ? entry["tenantId"] : "global";
    const seq = Number(entry["seq"]);
    const before = chains.get(scope);
    const link = before ? { seq: before.to, hash: before.hash } : seq === 1 ? START : { seq: seq - 1, hash: String(entry["prevHash"]) };
    const head = heads.find((one) => one.scope === scope && one.seq === seq);
    const reason = fault ?? await brokenBecause(String(entry["id"]), entry, link, { head: head ?? null, checkpoints: [] });
    if (reason !== null) return report(line, scope, reason);
    chains.set(scope, { scope, from: before?.from ?? seq, to: seq, hash: String(entry["hash"]) });
  }
  for (const { scope, seq } of heads) {
    const to = chains.get(scope)?.to ?? 0;
    if (to < seq) return report(last, scope, `entries ${to + 1} to ${seq} are missing at the end`);
  }
  return { chains: [...chains.values()] };
}
