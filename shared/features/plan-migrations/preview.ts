import { monthlyRevenue } from "../../core/money.ts";
import { periodOf } from "../../core/periods.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { entitlementsOf } from "../entitlements/reads.ts";
import type { Plan } from "../plans/entity.ts";
import { soldTerms } from "../plans/versions.ts";
import { lossOf } from "../subscriptions/preview.ts";
import { usageOf } from "../usage/reads.ts";
import { moved, type Scheme, skipReason, tallied } from "./rules.ts";
import { type Subscriber, subscribersOf } from "./subscribers.ts";

/** What a migration would do. */
export interface MigrationPreview {
  readonly planId: string;
  readonly toPlanId: string;
  readonly toVersion: number;
  readonly currency: string;
  /** Subscribers in the cohort. */
  readonly subscribers: number;
  /** False: there are more than the preview counts. */
  readonly complete: boolean;
  readonly moving: number;
  readonly skipped: Record<string, number>;
  /** Of those that are moved, in the major unit. */
  readonly mrr: { readonly before: number; readonly after: number };
  /** For the next invoices, in the minor unit. */
  readonly pending: { readonly charges: number; readonly credits: number };
  readonly entitlementsLost: Record<string, number>;
  readonly limitsLowered: Record<string, number>;
  readonly quotasExceeded: Record<string, number>;
}

/** Subscriptions that one preview reads, which keeps it within the CPU time of an Edge Function. */
export const PREVIEWED = 1_000;
const PAGE = 100;

/** Counts what a migration to `target` would do now. Nothing is written. */
export async function migrationPreview(work: UnitOfWork, scheme: Scheme, target: Plan): Promise<MigrationPreview> {
  const { planId, toPlanId, toVersion } = scheme;
  let preview: MigrationPreview = {
    ...{ planId, toPlanId, toVersion, currency: target.currency, subscribers: 0, complete: false, moving: 0, skipped: {} },
    ...{ mrr: { before: 0, after: 0 }, pending: { charges: 0, credits: 0 } },
    ...{ entitlementsLost: {}, limitsLowered: {}, quotasExceeded: {} },
  };
  let cursor: string | null = null;
  for (let read = 0; read < PREVIEWED; read += PAGE) {
    const page: Awaited<ReturnType<typeof subscribersOf>> = await subscribersOf(work, scheme, cursor, PAGE);
    const known = await Promise.all(page.subscribers.map((subscriber) => effectOn(work, scheme, target, subscriber)));
    const effects = [...known, ...page.unreadable.map(() => "unreadable")];
    preview = effects.reduce(added, { ...preview, subscribers: preview.subscribers + effects.length, complete: page.cursor === null });
    cursor = page.cursor;
    if (cursor === null) break;
  }
  return preview;
}

/** What happens to one subscriber; the reason if it is skipped. */
async function effectOn(work: UnitOfWork, scheme: Scheme, target: Plan, { tenant, subscription }: Subscriber) {
  const skipped = skipReason(scheme, tenant, subscription);
  if (skipped !== null) return skipped;
  const now = work.now();
  const [sold, entitled, { usage }] = await Promise.all([
    soldTerms(work, subscription),
    entitlementsOf(work, tenant.id),
    usageOf(work, tenant.id, periodOf(work.context.clock.now())),
  ]);
  if (!entitled) return "deleted";
  const loss = lossOf(entitled, target, { tenant, usage }, now);
  return {
    items: moved(scheme.mode, subscription, sold, target, now).items,
    mrr: [tenant.mrr, scheme.mode === "no_billing_change" ? tenant.mrr : monthlyRevenue(target)] as const,
    lost: loss.entitlementsLost,
    lowered: loss.limitsLowered.map(({ metric }) => metric),
    exceeded: loss.quotasExceeded.map(({ metric }) => metric),
  };
}

function added(preview: MigrationPreview, effect: Awaited<ReturnType<typeof effectOn>>): MigrationPreview {
  if (typeof effect === "string") return { ...preview, skipped: tallied(preview.skipped, [effect]) };
  const sums = (sign: 1 | -1) => effect.items.reduce((sum, { amount }) => sum + Math.max(0, sign * amount), 0);
  const [before, after] = effect.mrr;
  return {
    ...preview,
    moving: preview.moving + 1,
    mrr: { before: decimalSum(preview.mrr.before, before), after: decimalSum(preview.mrr.after, after) },
    pending: { charges: preview.pending.charges + sums(1), credits: preview.pending.credits + sums(-1) },
    entitlementsLost: tallied(preview.entitlementsLost, effect.lost),
    limitsLowered: tallied(preview.limitsLowered, effect.lowered),
    quotasExceeded: tallied(preview.quotasExceeded, effect.exceeded),
  };
}

/** The sum of two amounts of at most 2 decimals. */
function decimalSum(a: number, b: number): number {
  return Math.round((a + b) * 100) / 100;
}
