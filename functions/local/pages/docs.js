/** The API reference: Swagger UI for openapi.json, with a token of the chosen role. */
import { byId, element, showProblem, words } from "./elements.js";
import { fetchTokens } from "./tokens.js";

/** @typedef {{ preauthorizeApiKey(scheme: string, value: string): void }} Reference */
/** @typedef {(options: Record<string, unknown>) => Reference} SwaggerUI */

/** The name of the scheme in openapi.json. */
const SCHEME = "bearer";

/** Hides the choice of servers, because there is one, and the warning about the JSON Schema dialect, which Swagger UI supports. */
const nothing = () => () => null;
const withoutServers = () => ({ wrapComponents: { ServersContainer: nothing, JsonSchemaDialect: nothing } });

const dark = matchMedia("(prefers-color-scheme: dark)");
const followScheme = () => void document.documentElement.classList.toggle("dark-mode", dark.matches);
followScheme();
dark.addEventListener("change", followScheme);

const swagger = /** @type {SwaggerUI} */ (Reflect.get(globalThis, "SwaggerUIBundle"));
const reference = swagger({
  url: "/openapi.json",
  domNode: byId("reference", HTMLElement),
  plugins: [withoutServers],
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  // The default validator is a service on another host.
  validatorUrl: null,
  onComplete: () => void authorize(),
});

async function authorize() {
  const select = byId("role", HTMLSelectElement);
  try {
    const { platform, tenant } = await fetchTokens(null);
    const use = () => reference.preauthorizeApiKey(SCHEME, select.value);
    select.replaceChildren(
      ...[...platform.map((one) => ({ ...one, of: "" })), ...tenant.map((one) => ({ ...one, of: "tenant " }))]
        .map(({ of, role, token }) => element("option", { value: token }, `${of}${words(role)}`)),
    );
    select.addEventListener("change", use);
    use();
  } catch (error) {
    showProblem(byId("problem", HTMLElement), error);
  }
}
