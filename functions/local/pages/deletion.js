import { get } from "./api.js";
import { byId, element, showProblem, words } from "./elements.js";

const place = byId("deletion-problem", HTMLElement);
const select = byId("deletion-tenant", HTMLSelectElement);
const list = byId("deletion", HTMLElement);

/**
 * Counts what the deletion of the chosen tenant would remove and keep when the button is pressed.
 * @param {string} token of a role that may read requests under data protection law
 */
export function followPreview(token) {
  byId("deletion-preview", HTMLElement).addEventListener("click", () => void preview(token));
}

/** @param {readonly import("./api.js").Tenant[]} tenants */
export function offerPreview(tenants) {
  const chosen = select.value;
  select.replaceChildren(...tenants.map(({ id, name }) => new Option(name, id)));
  if (tenants.some(({ id }) => id === chosen)) select.value = chosen;
}

/** @param {string} token */
async function preview(token) {
  const path = `/v1/tenants/${encodeURIComponent(select.value)}/deletion-preview`;
  byId("deletion-call", HTMLElement).textContent = `GET ${path}`;
  try {
    /** @type {import("./api.js").DeletionPreview} */
    const { legalHold, records } = await get(path, token);
    showProblem(place, null);
    const [deleted, kept] = [records.reduce((sum, each) => sum + each.deleted, 0), records.reduce((sum, each) => sum + each.kept, 0)];
    const held = legalHold ? " A legal hold prevents the deletion." : "";
    byId("deletion-result", HTMLElement).textContent = `${deleted} records would be deleted and ${kept} kept. Nothing was changed.${held}`;
    list.replaceChildren(...records.map(item));
  } catch (error) {
    showProblem(place, error);
  }
}

/** @param {import("./api.js").DeletionPreview["records"][number]} counted */
function item({ entity, deleted, kept, ground }) {
  return element(
    "li",
    { "data-kind": entity },
    element("code", {}, words(entity)),
    element("span", {}, `${deleted} deleted, ${kept} kept`),
    element("span", { class: "what quiet" }, ground ?? ""),
  );
}
