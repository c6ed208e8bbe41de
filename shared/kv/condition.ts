/** A condition on a declared field. Several values mean any of them. Times and numbers can have a range. */
export type Condition =
  /** `boundBy`: what a cursor depends on instead of the values, which follow from it and can grow. */
  | { readonly field: string; readonly in: readonly (string | number | boolean)[]; readonly boundBy?: string }
  /** `moving`: the bound follows the present or a reader, so a cursor does not depend on it. */
  | { readonly field: string; readonly from?: string | number; readonly to?: string | number; readonly moving?: true }
  /** Text beginning with `prefix`, for dotted names such as audit actions. */
  | { readonly field: string; readonly prefix: string }
  /** An object with this member, in any field; no index serves it. */
  | { readonly field: string; readonly has: string }
  /** A list of texts with any of these, or no list, in any field; no index serves it. */
  | { readonly field: string; readonly overlaps: readonly string[] }
  /** A text other than these. A cursor does not depend on them. */
  | { readonly field: string; readonly notIn: readonly string[] };
