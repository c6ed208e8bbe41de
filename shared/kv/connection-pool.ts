import { remainingMs } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { ConnectionFault, TimeoutFault } from "./driver.ts";

/** A database connection as the pool uses it. */
export interface PooledConnection {
  /** Resolves when the connection is ready; rejects if it cannot be established. */
  connect(): Promise<unknown>;
  /** Closes the connection gracefully. Resolves when it is closed. */
  end(): Promise<unknown>;
  /** Closes the socket at once. Pending work and a pending `end` settle. */
  destroy(): void;
}

export interface ConnectionPoolOptions<C extends PooledConnection> {
  /** The maximum number of connections. */
  readonly max: number;
  /** Reported in the error of work that exceeds its deadline. */
  readonly timeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Creates a connection that is not connected yet. It must call `closed` when it closes by itself. */
  readonly open: (closed: () => void) => C;
}

interface Waiter<C> {
  readonly start: (connection: C) => void;
  readonly fail: (error: Error) => void;
  /** The connection that is established for this call. The call uses another one if it becomes free earlier. */
  opening?: C;
}

interface Idle<C> {
  readonly connection: C;
  readonly since: number;
}

/** The time limit of a graceful close. */
const END_TIMEOUT_MS = 1_000;

/**
 * A connection pool with one deadline for waiting for a connection, establishing it and the work on it; `pg.Pool` limits each
 * separately. Work whose deadline passes while it waits is never started. A connection whose work exceeds its deadline is destroyed.
 */
export class ConnectionPool<C extends PooledConnection> {
  readonly #all = new Set<C>();
  readonly #connecting = new Set<C>();
  readonly #ending = new Set<C>();
  /** In the order of release. The last one is used first, so that the others reach the idle timeout. */
  readonly #idle: Idle<C>[] = [];
  /** In the order of arrival. */
  readonly #waiting = new Set<Waiter<C>>();
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #closed: () => void = () => undefined;

  constructor(private readonly options: ConnectionPoolOptions<C>) {}

  /** Runs work on a connection. Rejects with `TimeoutFault` at the deadline. `reusable`: whether the connection is usable after an error. */
  run<T>(work: (connection: C) => Promise<T>, reusable: (error: unknown) => boolean, deadline: Deadline): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(new ConnectionFault(false, "the connection pool is closed"));
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

  /** Waits for running and waiting work, then closes every connection. */
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

  /** Opens a connection for each waiting call, up to the maximum. */
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
      // Fails only the call that it was opened for: later calls have an attempt of their own.
      if (this.#waiting.delete(waiter)) waiter.fail(new ConnectionFault(false, "the database cannot be reached", { cause: error }));
      this.#destroy(connection);
    }
  }

  /** Gives the connection to the call that waits longest, otherwise to the idle ones. Does nothing if it has closed. */
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

  /** Closes connections that have been idle since before `before` (`performance.now()`). */
  #retireIdle(before: number): void {
    const until = this.#idle.findIndex(({ since }) => since > before);
    for (const { connection } of this.#idle.splice(0, until === -1 ? this.#idle.length : until)) this.#retire(connection);
  }

  /** Destroys a broken connection, and closes those that have been idle since before its work: a firewall drops them together. */
  #lost(connection: C, startedAt: number): void {
    this.#retireIdle(startedAt);
    this.#destroy(connection);
  }

  #retire(connection: C): void {
    this.#ending.add(connection);
    this.#forget(connection);
    const cut = setTimeout(() => connection.destroy(), END_TIMEOUT_MS);
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

  /** Removes the connection and opens another one for waiting calls. */
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
    // Without connections, no timer may keep the process alive.
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    if (this.#closing && this.#ending.size === 0) this.#closed();
  }
}
