import type { Store } from "../../../shared/kv/store.ts";
import { type EventBatch, eventsBody } from "../../../shared/features/usage-events/cloud-event.ts";

/** An event as a sender writes it. */
export interface SentEvent {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly time?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export function eventOf(subject: string, id: string, data?: Readonly<Record<string, unknown>>, more: Partial<SentEvent> = {}): SentEvent {
  return { specversion: "1.0", id, source: "/gateways/eu-1", type: "api_calls", subject, ...(data ? { data } : {}), ...more };
}

/** The body of a request, as the route reads it. */
export function batchOf(...events: readonly unknown[]): EventBatch {
  return eventsBody.parse(events);
}

export const DIED = "The process ended.";

/** A store whose process ends before one of its commits. */
export function dyingAfter(store: Store, commits: number): { readonly store: Store; readonly commits: () => number } {
  let made = 0;
  const commit: Store["commit"] = async (...call) => {
    made += 1;
    if (made > commits) throw new Error(DIED);
    return await store.commit(...call);
  };
  const get = (_: Store, name: keyof Store): unknown => {
    const member: unknown = name === "commit" ? commit : store[name];
    return typeof member === "function" ? member.bind(store) : member;
  };
  return { store: new Proxy(store, { get } as ProxyHandler<Store>), commits: () => made };
}
