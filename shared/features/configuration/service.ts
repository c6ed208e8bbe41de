import canonicalize from "canonicalize";
import { parseInput } from "../../core/collection.ts";
import { Records } from "../../core/records.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, type FieldError, InnkeepError, isInnkeepError, isOutage } from "../../kernel/errors.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { assertMatch, type ChangeOptions } from "../../kernel/version.ts";
import { LIMITS } from "../../kv/store.ts";
import { DEFAULT_SETTINGS } from "../settings/current.ts";
import { SETTINGS_KEY } from "../settings/entity.ts";
import { type Change, changesOf, ordered, type PresentItem, withoutNulls } from "./changes.ts";
import { type ConfigurationInput, configurationInput, type Section, type SectionName, sections, type Wanted } from "./document.ts";
import { make, writersOf } from "./writers.ts";

type Members = Readonly<Record<string, unknown>>;

/** The changes of one call. More would take longer than a request may. */
export const MAX_CHANGES = 50;

/** An error that an earlier change of the same document may prevent, which a preview does not see. */
const RESOLVED_EARLIER = "last_super_admin";

export interface Configuration {
  readonly document: Members;
  /** Differs when the configuration does. */
  readonly version: string;
}

/** A change as a plan shows it. */
export interface PlannedChange {
  readonly section: SectionName;
  readonly id: string;
  readonly action: Change["action"];
  readonly before: Members;
  readonly after: Members;
}

export interface ConfigurationPlan {
  readonly version: string;
  readonly changes: readonly PlannedChange[];
  /** The number of changes after these. */
  readonly remaining: number;
}

export interface ConfigurationReport {
  /** Of the configuration after the changes. */
  readonly version: string;
  readonly applied: readonly (Pick<PlannedChange, "section" | "id" | "action"> & { readonly fields: readonly string[] })[];
  readonly remaining: number;
  /** The change that was refused although the check of all had allowed it. Those after it were not made. */
  readonly failed?: { readonly path: string; readonly code: string; readonly message: string };
}

/** Settings, plans, flags and administrators as one document. Each change is made and audited by the service of its records. */
export class ConfigurationService {
  constructor(private readonly work: UnitOfWork) {}

  /** The sections that the caller may read, without secrets. */
  async export(): Promise<Configuration> {
    const { document, version } = await this.#present();
    return { document, version };
  }

  /** What `apply` would change. Throws `validation_failed` with everything that it would refuse. */
  async plan(input: ConfigurationInput): Promise<ConfigurationPlan> {
    const { version, changes, remaining } = await this.#decided(input);
    return {
      version,
      changes: changes.map(({ name: section, id, action, before, after }) => ({ section, id, action, before, after })),
      remaining,
    };
  }

  /**
   * Makes the configuration what the document says, at most `MAX_CHANGES` changes in a call. Everything is checked before the first
   * change. A repeated call goes on. Throws `validation_failed`, `precondition_failed`, `insufficient_scope`.
   */
  async apply(input: ConfigurationInput, options: ChangeOptions = {}): Promise<ConfigurationReport> {
    const { idempotencyKey: key } = options;
    const decide = async () => {
      const report = await this.#apply(input, options);
      return report.failed ? { done: report, isFailure: true as const } : { done: report, resultOf: null };
    };
    const own = key === undefined ? undefined : { operation: "configuration.apply", key, request: input as never };
    return (await this.work.transact<ConfigurationReport>(decide, own)).result;
  }

  async #apply(input: ConfigurationInput, options: ChangeOptions): Promise<ConfigurationReport> {
    const { version, changes, remaining } = await this.#decided(input, options);
    for (const { section } of changes) this.#assertScope(section.write, `change ${section.name}`);
    const writers = await writersOf(this.work);
    const applied: Change[] = [];
    let failed: ConfigurationReport["failed"];
    for (const change of changes) {
      try {
        await make(writers, change);
      } catch (error) {
        if (isOutage(error) || !isInnkeepError(error)) throw error;
        failed = { path: change.path, code: error.code, message: error.message };
        break;
      }
      applied.push(change);
    }
    return {
      version: applied.length === 0 ? version : (await this.#present()).version,
      applied: applied.map(({ name: section, id, action, before, after }) => (
        { section, id, action, fields: [...new Set([...Object.keys(before), ...Object.keys(after)])].sort() }
      )),
      remaining: remaining + changes.length - applied.length,
      ...(failed ? { failed } : {}),
    };
  }

  /** The next changes, all of them checked. */
  async #decided(input: ConfigurationInput, options: ChangeOptions = {}) {
    const wanted = parseInput(configurationInput, input) as Wanted;
    const present = await this.#present();
    assertMatch(present.version, options);
    const named = sections.filter(({ name }) => wanted[name] !== undefined);
    for (const { read, name } of named) this.#assertScope(read, `read ${name}`);
    const decided = named.map((section) => {
      const given = wanted[section.name] as Members | readonly Members[];
      return changesOf(section, present.items.get(section.name) ?? [], Array.isArray(given) ? given : [given as Members], wanted.prune);
    });
    const all = ordered(decided.flatMap(({ changes }) => changes));
    const changes = all.slice(0, MAX_CHANGES);
    const faults = decided.flatMap((each) => each.faults);
    if (faults.length === 0) faults.push(...await this.#faultsOf(changes));
    if (faults.length > 0) throw errors.validation(faults);
    return { version: present.version, changes, remaining: all.length - changes.length };
  }

  /** What the services would refuse. Nothing is written. */
  async #faultsOf(changes: readonly Change[]): Promise<FieldError[]> {
    const writers = await writersOf(this.work.preview());
    const faults: FieldError[] = [];
    for (const change of changes) {
      try {
        await make(writers, change);
      } catch (error) {
        if (isOutage(error) || !isInnkeepError(error)) throw error;
        if (error.code === RESOLVED_EARLIER && change.action !== "delete") continue;
        faults.push(...faultsFrom(error, change));
      }
    }
    return faults;
  }

  async #present(): Promise<Configuration & { readonly items: ReadonlyMap<SectionName, readonly PresentItem[]> }> {
    const readable = sections.filter(({ read }) => this.work.context.scopes?.has(read) ?? true);
    const read = await Promise.all(readable.map(async (section) => [section.name, await this.#itemsOf(section)] as const));
    const parts = read.map(([name, items]) => [name, name === "settings" ? items[0]?.value : items.map(({ value }) => value)]);
    const document = { formatVersion: 1, ...Object.fromEntries(parts) as Members };
    return { document, version: (await sha256Hex(canonicalize(document) ?? "")).slice(0, 32), items: new Map(read) };
  }

  async #itemsOf({ name, entity, id, item }: Section): Promise<PresentItem[]> {
    const records = new Records(entity, this.work);
    const found: PresentItem[] = [];
    const shown = (record: Members & { readonly version: string }) => {
      const fields = Object.entries(record).filter(([field]) => Object.hasOwn(item.shape, field));
      const recordId = String(record["id"] ?? record["userId"]);
      const value = withoutNulls(Object.fromEntries(fields)) as Members;
      return { id: id === null ? name : String(record[id]), recordId, version: record.version, value };
    };
    if (id === null) return [shown(await records.get(SETTINGS_KEY) ?? DEFAULT_SETTINGS)];
    let cursor: string | null = null;
    do {
      const page = await records.list({ scope: null, limit: LIMITS.pageEntries, ...(cursor === null ? {} : { cursor }) });
      found.push(...page.records.map(shown));
      cursor = page.cursor;
    } while (cursor !== null);
    return found.sort((a, b) => a.id < b.id ? -1 : 1);
  }

  #assertScope(scope: Section["read"], to: string): void {
    if (this.work.context.scopes?.has(scope) ?? true) return;
    throw new InnkeepError("insufficient_scope", `You need the scope ${scope} to ${to}.`, [], { requiredScope: scope });
  }
}

/** The errors of a change as errors of the document. */
function faultsFrom(error: InnkeepError, { path, action }: Change): FieldError[] {
  const isInside = action !== "delete" && error.fields.length > 0;
  if (!isInside) return [{ path, message: error.message, code: error.code }];
  return error.fields.map((field) => ({ ...field, path: `${path}${field.path}` }));
}
