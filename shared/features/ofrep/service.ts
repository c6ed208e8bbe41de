import { parseInput } from "../../core/collection.ts";
import type { UnitOfWork } from "../../core/unit-of-work.ts";
import { errors, InnkeepError } from "../../kernel/errors.ts";
import type { JsonObject } from "../../kernel/json.ts";
import { sha256Hex } from "../../kernel/sha256.ts";
import { evaluated } from "../flags/evaluation.ts";
import { allFlags, oneFlag, subjectOf, type TenantFlags } from "../flags/flag-set.ts";
import { markEvaluated } from "../stale-flags/marks.ts";
import { shortTenantId } from "../tenants/entity.ts";
import { type OfrepEvaluation, ofrepRequest, stated, targetingKeyMissing, targetingKeyOf } from "./protocol.ts";

/** All flags of a tenant that a client program may see. */
export interface OfrepFlags {
  readonly flags: OfrepEvaluation[];
  /** The digest of the flags. It changes with each change of a result. */
  readonly digest: string;
}

/**
 * Evaluates flags for OpenFeature SDKs. `requestTenant` is the tenant that the request names outside of the context, such as that of a
 * credential that is bound to a tenant.
 */
export class OfrepService {
  constructor(private readonly work: UnitOfWork) {}

  /** Throws `not_found` for an unknown flag or tenant, and to a tenant's callers for a server-only flag. Throws `bad_request`, `validation_failed`. */
  async evaluate(key: string, context: JsonObject, requestTenant: string | null = null): Promise<OfrepEvaluation> {
    parseInput(ofrepRequest, { context });
    const tenantId = this.#target(context, requestTenant);
    const found = existing(await oneFlag(this.work, key, tenantId), tenantId);
    const flag = found.set.find(key);
    if (flag?.key !== key || (flag.serverOnly && !this.#isPlatform)) throw errors.notFound("flag", key);
    markEvaluated(this.work, [flag.id], "one");
    return this.#stated(found, flag, context);
  }

  /** Never contains server-only flags. Throws `not_found` for an unknown tenant. Throws `bad_request`, `validation_failed`. */
  async evaluateAll(context: JsonObject, requestTenant: string | null = null): Promise<OfrepFlags> {
    parseInput(ofrepRequest, { context });
    const tenantId = this.#target(context, requestTenant);
    const found = existing(await allFlags(this.work, tenantId), tenantId);
    const shown = found.set.flags.filter(({ serverOnly }) => !serverOnly);
    markEvaluated(this.work, shown.map(({ id }) => id), "all");
    const flags = shown.map((flag) => this.#stated(found, flag, context));
    return { flags, digest: await sha256Hex(JSON.stringify(flags)) };
  }

  get #isPlatform(): boolean {
    return this.work.context.tenantId === null;
  }

  /** A caller that is bound to a tenant gets the same error for another tenant as for one that does not exist. */
  #target(context: JsonObject, requestTenant: string | null): string {
    const { tenantId: bound } = this.work.context;
    const given = targetingKeyOf(context);
    const named = given === undefined ? requestTenant ?? bound : shortTenantId(given);
    if (named === null) throw targetingKeyMissing();
    if (bound !== null && named !== bound) throw errors.otherTenant(named);
    if (requestTenant !== null && named !== requestTenant) {
      throw new InnkeepError("tenant_mismatch", "The targeting key and the request name different tenants.");
    }
    return named;
  }

  #stated({ tenant, overrides }: TenantFlags, flag: Parameters<typeof evaluated>[0], context: JsonObject): OfrepEvaluation {
    const { targetingKey: _, ...attributes } = context;
    const subject = subjectOf(tenant, attributes, this.work.now());
    return stated(evaluated(flag, subject, overrides.get(flag.id)), this.#isPlatform);
  }
}

function existing(found: TenantFlags | null, tenantId: string): TenantFlags {
  if (!found) throw errors.notFound("tenant", tenantId.slice(0, 200));
  return found;
}
