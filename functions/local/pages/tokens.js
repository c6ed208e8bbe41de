import { get } from "./api.js";
import { byId, element, showProblem, words } from "./elements.js";

/** @typedef {import("./api.js").Tokens} Tokens */

/**
 * @param {string | null} tenantId null: of the demo tenant
 * @returns {Promise<Tokens>}
 */
export function fetchTokens(tenantId) {
  return get(tenantId === null ? "/local/tokens" : `/local/tokens?tenantId=${encodeURIComponent(tenantId)}`);
}

/** @param {Tokens} tokens */
export function showTokens({ platform, tenant, expiresAt }) {
  const expiry = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(new Date(expiresAt));
  byId("expiry", HTMLElement).textContent = `valid until ${expiry}`;
  byId("platform-tokens", HTMLElement).replaceChildren(...platform.map(tokenItem));
  const none = element("li", { class: "none" }, "There are no tokens, because there is no tenant yet.");
  byId("tenant-tokens", HTMLElement).replaceChildren(...(tenant.length > 0 ? tenant.map(tokenItem) : [none]));
}

/**
 * Adds the tenants that the page shows to the choice of the tenant tokens.
 * @param {readonly import("./api.js").Tenant[]} tenants
 * @param {string | null} chosen
 */
export function offerTenants(tenants, chosen) {
  const select = byId("token-tenant", HTMLSelectElement);
  const known = new Set([...select.options].map((option) => option.value));
  for (const { id, name } of tenants) if (!known.has(id)) select.add(new Option(name, id, false, id === chosen));
  byId("tenant-choice", HTMLElement).hidden = select.options.length === 0;
}

/** Signs new tenant tokens when another tenant is chosen. */
export function followChoice() {
  const select = byId("token-tenant", HTMLSelectElement);
  select.addEventListener("change", () => showTokensOf(select.value));
}

/** @param {string} tenantId */
export function showTokensOf(tenantId) {
  const place = byId("token-problem", HTMLElement);
  fetchTokens(tenantId).then(showTokens).then(() => showProblem(place, null), (error) => showProblem(place, error));
}

/** @param {import("./api.js").Token} given */
function tokenItem({ role, person, token }) {
  const field = element("input", { readonly: "", value: token, "aria-label": `Token of ${words(role)}`, spellcheck: "false" });
  const copy = element("button", { type: "button", "aria-label": `Copy the token of ${words(role)}` }, "Copy");
  copy.addEventListener("click", () => void copyField(field, words(role)));
  return element(
    "li",
    { "data-role": role },
    element("div", { class: "who" }, element("strong", {}, words(role)), element("span", { class: "quiet" }, person)),
    field,
    copy,
  );
}

/**
 * @param {HTMLInputElement} field
 * @param {string} role
 */
async function copyField(field, role) {
  const said = byId("copied", HTMLElement);
  try {
    await navigator.clipboard.writeText(field.value);
    said.textContent = `Copied the token of ${role}.`;
  } catch (error) {
    // A browser may deny access to the clipboard. The user can then copy the selected text.
    field.select();
    said.textContent = `The browser did not copy the token (${
      error instanceof Error ? error.message : String(error)
    }). It is selected: copy it yourself.`;
  }
}
