import { isTimestamp } from "../../kv/key.ts";
import { decodeCursor, encodeCursor, invalidCursor } from "../../kv/cursor.ts";

/** A place in the sequence of events: after the event `seq`. */
export interface Place {
  readonly seq: number;
  /** No later event was created before this instant. Null at the beginning. */
  readonly since: string | null;
}

const FINGERPRINT = "events";

/** An opaque cursor. It is valid for any selection of types, because all events have one sequence. */
export function cursorOf({ seq, since }: Place): string {
  return encodeCursor(FINGERPRINT, [since, String(seq)]);
}

/** Throws `invalid_cursor` for a text that is no cursor of events. */
export function placeOf(cursor: string): Place {
  const [since = null, seq] = decodeCursor(FINGERPRINT, cursor, 2);
  if (!/^\d{1,15}$/.test(seq ?? "") || (since !== null && !isTimestamp(since))) throw invalidCursor("is damaged");
  return { seq: Number(seq), since };
}
