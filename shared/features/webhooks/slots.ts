/** At most so many at the same time, in the order of their arrival. */
class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

/** Requests at the same time: of all endpoints, and of those that have failed since their last success. */
const TOTAL = 200;
const OF_FAILING = 100;
/** Requests of one tenant at the same time, besides one for each of its endpoints. */
const OF_TENANT = 16;

export interface Claimant {
  /** Null: the platform, which counts as a tenant. */
  readonly tenantId: string | null;
  readonly isFailing: boolean;
  /** Whether the endpoint has no other request in flight. */
  readonly isFirst: boolean;
}

/**
 * The requests that may be in flight. Every endpoint may always have one, so an endpoint that hangs delays neither the others of its
 * tenant nor those of other tenants, unless 200 hang at once; endpoints that are known to fail take at most half.
 */
export class Slots {
  readonly #all = new Semaphore(TOTAL);
  readonly #failing = new Semaphore(OF_FAILING);
  readonly #tenants = new Map<string | null, { readonly slots: Semaphore; users: number }>();

  async run<T>(claimant: Claimant, use: () => Promise<T>): Promise<T> {
    if (claimant.isFailing) return await held(this.#failing, () => held(this.#all, use));
    if (claimant.isFirst) return await held(this.#all, use);
    const own = this.#tenants.get(claimant.tenantId) ?? { slots: new Semaphore(OF_TENANT), users: 0 };
    this.#tenants.set(claimant.tenantId, own);
    own.users++;
    try {
      return await held(own.slots, () => held(this.#all, use));
    } finally {
      if (--own.users === 0) this.#tenants.delete(claimant.tenantId);
    }
  }
}

async function held<T>(slots: Semaphore, use: () => Promise<T>): Promise<T> {
  await slots.take();
  try {
    return await use();
  } finally {
    slots.give();
  }
}
