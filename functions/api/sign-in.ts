import type { Caller } from "../../shared/core/caller.ts";
import { plan } from "../../shared/features/plans/entity.ts";
import type { StoredSettings } from "../../shared/features/settings/current.ts";
import { ADDED_SETTINGS, demands } from "../../shared/features/settings/rules.ts";
import { InnkeepError } from "../../shared/kernel/errors.ts";
import { keyOf } from "../../shared/kv/define.ts";
import type { ApiDeps } from "./deps.ts";

type Backend = ApiDeps["backend"];

/**
 * Refuses a person who has not signed in as the settings demand: an admin by those of the platform, a tenant's user by those of the
 * platform, the plan and the tenant. Throws `mfa_required`, `sso_required`.
 */
export async function assertSignIn(caller: Caller, deciding: Promise<StoredSettings> | undefined, backend: Backend): Promise<void> {
  if (deciding === undefined || (caller.kind !== "admin" && caller.kind !== "user")) return;
  const { hasSecondFactor, isSingleSignOn } = caller.signIn;
  if (hasSecondFactor && isSingleSignOn) return;
  const known = [await deciding, ...(caller.kind === "user" ? [caller.tenant.settings] : [])];
  // The settings of the plan are read only if they decide.
  const undecided = caller.kind === "user" && !ADDED_SETTINGS.every((name) => demands(known, name));
  const layers = undecided ? [...known, await settingsOfPlan(caller.tenant.plan, backend)] : known;
  if (!hasSecondFactor && demands(layers, "require2FA")) {
    throw new InnkeepError("mfa_required", "Sign in with a second factor: your token needs the claim aal with the value aal2.");
  }
  if (!isSingleSignOn && demands(layers, "enforceSSO")) {
    throw new InnkeepError(
      "sso_required",
      "Sign in with the single sign-on of your organisation: your token needs a method sso/… in the claim amr.",
    );
  }
}

async function settingsOfPlan(id: string, { platform: { records } }: Backend): Promise<Readonly<Record<string, unknown>> | undefined> {
  return (await records.cached(plan, keyOf(plan, { id })))?.settings;
}
