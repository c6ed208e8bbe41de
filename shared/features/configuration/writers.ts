import type { ServiceClass } from "../../core/route.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import type { ChangeOptions } from "../../kernel/version.ts";
import type { Change } from "./changes.ts";

type Members = Readonly<Record<string, unknown>>;

/** A service of plans, flags or administrators. */
interface ItemWriter {
  create(data: Members): Promise<unknown>;
  update(id: string, patch: Members, options: ChangeOptions): Promise<unknown>;
  delete(id: string, options: ChangeOptions): Promise<unknown>;
}

interface SettingsWriter {
  update(patch: Members, userId: undefined, options: ChangeOptions): Promise<unknown>;
}

/** The services of the sections, by name. */
export type Writers = ReadonlyMap<string, unknown>;

/** The services that the list of features names, for the caller of this unit of work. */
export async function writersOf(work: UnitOfWork): Promise<Writers> {
  const classes = await work.platform.configured() as ReadonlyMap<string, ServiceClass<unknown>>;
  return new Map([...classes].map(([name, Writer]) => [name, new Writer(work)]));
}

/** Makes a change, unless the record was changed since it was read. Throws what the service throws. */
export async function make(writers: Writers, { name, action, body, present }: Change): Promise<void> {
  const options = { ifMatch: present ? [present.version] : undefined };
  // The sections have the names of the features whose services these are, which have these methods.
  if (name === "settings") return void await (writers.get(name) as SettingsWriter).update(body, undefined, options);
  const writer = writers.get(name) as ItemWriter;
  if (!present) await writer.create(body);
  else if (action === "update") await writer.update(present.recordId, body, options);
  else await writer.delete(present.recordId, options);
}
