import type { Platform } from "../../core/platform.ts";

/** Windows that a process keeps. The oldest is forgotten first. */
const MAX_KEPT = 10_000;

/** Spans of time that begin when a process notes a name, by backend. A process has one backend. */
export class Windows {
  readonly #noted = new WeakMap<Platform, Map<string, number>>();

  constructor(private readonly lengthMs: number) {}

  /** Whether the name was noted within the window. A clock that was set back ends the window. */
  covers(platform: Platform, name: string, nowMs: number): boolean {
    const sinceMs = this.#noted.get(platform)?.get(name);
    return sinceMs !== undefined && nowMs >= sinceMs && nowMs < sinceMs + this.lengthMs;
  }

  note(platform: Platform, name: string, nowMs: number): void {
    let noted = this.#noted.get(platform);
    if (!noted) this.#noted.set(platform, noted = new Map());
    noted.delete(name);
    noted.set(name, nowMs);
    const [oldest] = noted.keys();
    if (noted.size > MAX_KEPT && oldest !== undefined) noted.delete(oldest);
  }
}
