/**
 * Creates an element with attributes and content. Text is never interpreted as HTML.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | undefined>} [attributes]
 * @param {...(Node | string)} content
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

/**
 * Returns the page's element with this id.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`the page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Shows an error in an element of the page. Null clears it.
 * @param {HTMLElement} place
 * @param {unknown} error
 */
export function showProblem(place, error) {
  if (error === null) return place.replaceChildren();
  const requestId = error instanceof Error && "requestId" in error && typeof error.requestId === "string" ? error.requestId : null;
  const message = element("p", {}, error instanceof Error ? error.message : String(error));
  const id = requestId === null ? [] : [element("p", { class: "quiet" }, `Request ${requestId}`)];
  const shown = element("div", { class: "problem" }, message, ...id);
  // The request id differs each time. Only a new message is announced by a screen reader.
  if (place.querySelector("p")?.textContent !== message.textContent) place.replaceChildren(shown);
}

/**
 * Turns a name of the API into words: `api_calls` into "api calls".
 * @param {string} name
 */
export function words(name) {
  return name.replaceAll(/[_-]/g, " ");
}
