import { remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { ConnectionFault, TimeoutFault } from "./driver.ts";

/** One connection to the database, as the pool needs it. */
export interface PooledConnection {
  /** Resolves when it can take work; rejects when it cannot be made. */
  connect(): Promise<unknown>;
  /** Closes the connection gracefully; resolves when it is closed. */
  end(): Promise<unknown>;
  /** Closes the socket at once; work under way and an `end` under way settle. */
  destroy(): void;
}

export interface ConnectionPoolOptions<C extends PooledConnection> {
  /** Connections held at most. */
  readonly max: number;
  /** Named in the error of work that was not done by its deadline. */
  readonly timeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Makes a connection that is not connected yet; `closed` is to be called when it closes by itself. */
  readonly open: (closed: () => void) => C;
}

interface Waiter<C> {
  readonly start: (connection: C) => void;
  readonly fail: (error: Error) => void;
  /** The connection that is made for it, though it takes any that comes free before. */
  opening?: C;
}

interface Idle<C> {
  readonly connection: C;
  readonly since: number;
}

/** The time limit of a graceful close. */
const GOODBYE_MS = 1_000;

/**
 * Connections that give their work a deadline: waiting for a connection, making one and the work itself
 * end by it. Work that was given up while it waited is never started, and a connection that was silent
 * is destroyed, its slot free at once. Written here because `pg.Pool` limits each of the three apart.
 */
export class ConnectionPool<C extends PooledConnection> {
  readonly #all = new Set<C>();
  readonly #connecting = new Set<C>();
  readonly #ending = new Set<C>();
  /** In the order of their release; the last is used first, so that the others grow old. */
  readonly #idle: Idle<C>[] = [];
  /** In the order of their calls. */
  readonly #waiting = new Set<Waiter<C>>();
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #closed: () => void = () => undefined;

  constructor(private readonly options: ConnectionPoolOptions<C>) {}

  /** Rejects with `TimeoutFault` at the deadline; `reusable` tells whether work that failed left the connection sound. */
  run<T>(work: (connection: C) => Promise<T>, reusable: (error: unknown) => boolean, deadline: Deadline): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(new ConnectionFault(false, "the connections are closed"));
      const patienceMs = remainingMs(deadline);
      if (patienceMs === 0) return reject(new TimeoutFault(false, this.options.timeoutMs));
      let used: C | undefined;
      let startedAt = 0;
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        if (used) this.#lost(used, startedAt);
        else if (waiter.opening && this.#connecting.has(waiter.opening)) this.#destroy(waiter.opening);
        reject(new TimeoutFault(used !== undefined, this.options.timeoutMs));
      }, patienceMs);
      const fail = (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      };
      const start = (connection: C) => {
        used = connection;
        startedAt = performance.now();
        work(connection).then((value) => {
          clearTimeout(timer);
          this.#release(connection);
          resolve(value);
        }, (error: unknown) => {
          if (reusable(error)) this.#release(connection);
          else this.#lost(connection, startedAt);
          fail(error);
        });
      };
      const waiter: Waiter<C> = { start, fail };
      const idle = this.#idle.pop();
      if (idle) return start(idle.connection);
      this.#waiting.add(waiter);
      this.#grow();
    });
  }

  /** Lets the work under way end, then closes every connection. */
  close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#idleTimer);
    for (const { connection } of this.#idle.splice(0)) this.#retire(connection);
    if (this.#waiting.size === 0) { for (const connection of this.#connecting) this.#destroy(connection); }
    return new Promise((resolve) => {
      this.#closed = resolve;
      this.#settle();
    });
  }

  /** One connection for each call that waits, as far as there are slots. */
  #grow(): void {
    if (this.#all.size >= this.options.max) return;
    for (const waiter of this.#waiting) {
      if (waiter.opening && this.#connecting.has(waiter.opening)) continue;
      const connection = this.options.open(() => this.#forget(connection));
      waiter.opening = connection;
      this.#all.add(connection);
      this.#connecting.add(connection);
      void this.#connect(connection, waiter);
      if (this.#all.size >= this.options.max) return;
    }
  }

  async #connect(connection: C, waiter: Waiter<C>): Promise<void> {
    try {
      await connection.connect();
      this.#connecting.delete(connection);
      this.#release(connection);
    } catch (error) {
      // Only the call it was made for: one that came later has had no try of its own.
      if (this.#waiting.delete(waiter)) waiter.fail(new ConnectionFault(false, "the database cannot be reached", { cause: error }));
      this.#destroy(connection);
    }
  }

  /** To the call that waits longest, else to the idle ones. One that closed meanwhile is of no use. */
  #release(connection: C): void {
    if (!this.#all.has(connection)) return;
    const [waiter] = this.#waiting;
    if (waiter) {
      this.#waiting.delete(waiter);
      waiter.start(connection);
    } else if (this.#closing) {
      this.#retire(connection);
    } else {
      this.#idle.push({ connection, since: performance.now() });
      this.#idleTimer ??= setTimeout(this.#endIdle, this.options.idleTimeoutMs);
    }
  }

  readonly #endIdle = (): void => {
    this.#idleTimer = undefined;
    const { idleTimeoutMs } = this.options;
    this.#retireIdle(performance.now() - idleTimeoutMs);
    const [oldest] = this.#idle;
    if (oldest) this.#idleTimer = setTimeout(this.#endIdle, remainingMs(oldest.since + idleTimeoutMs));
  };

  /** Those that have been idle since before an instant. */
  #retireIdle(before: number): void {
    const until = this.#idle.findIndex(({ since }) => since > before);
    for (const { connection } of this.#idle.splice(0, until === -1 ? this.#idle.length : until)) this.#retire(connection);
  }

  /** What broke or silenced one connection may have met every one that has not worked since: a firewall drops them together. */
  #lost(connection: C, startedAt: number): void {
    this.#retireIdle(startedAt);
    this.#destroy(connection);
  }

  #retire(connection: C): void {
    this.#ending.add(connection);
    this.#forget(connection);
    const cut = setTimeout(() => connection.destroy(), GOODBYE_MS);
    const ended = () => {
      clearTimeout(cut);
      this.#ending.delete(connection);
      this.#settle();
    };
    connection.end().then(ended, ended);
  }

  #destroy(connection: C): void {
    connection.destroy();
    this.#forget(connection);
  }

  /** Its slot is free: calls that wait get another one. */
  #forget(connection: C): void {
    if (!this.#all.delete(connection)) return;
    this.#connecting.delete(connection);
    const at = this.#idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#grow();
    this.#settle();
  }

  #settle(): void {
    if (this.#all.size > 0) return;
    // With no connection left nothing may keep the process alive.
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    if (this.#closing && this.#ending.size === 0) this.#closed();
  }
}
