import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { type RootKeyRecord } from "./entity.ts";
import { knownKeys } from "./known.ts";
import { isAvailable, type RootKeyState, stateOf } from "./rules.ts";

/** A root key and whether it is still needed. */
export interface RootKeyView extends RootKeyRecord {
  readonly state: RootKeyState;
  readonly available: boolean;
}

/** The root keys of encrypted fields. Nothing of a key but its id leaves the program. */
export class RootKeyService {
  constructor(private readonly work: UnitOfWork) {}

  /** The known keys, the newest first. Throws `root_key_unavailable`. */
  async list(): Promise<RootKeyView[]> {
    const { work } = this;
    const [keys, known] = await Promise.all([work.platform.secrets.rootKeys(), knownKeys(work.store)]);
    return known.map(({ version: _, ...record }) => ({
      ...record,
      state: stateOf(record, keys),
      available: isAvailable(record.id, keys),
    })).sort((a, b) => a.createdAt < b.createdAt ? 1 : -1);
  }
}
