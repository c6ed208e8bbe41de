import { errors } from "../../kernel/errors.ts";

/** The language that every text has. */
const FALLBACK = "en";

interface Text {
  readonly title: string;
  readonly message: string;
}
type Texts = { readonly [FALLBACK]: Text } & Readonly<Record<string, Text>>;

/** The texts of the program's notifications by language. `{name}` stands for a variable. */
export const TEMPLATES = {
  usage_near_limit: {
    en: {
      title: "{metric}: {percent} % of the limit used",
      message: "Your usage of {metric} in {period} is {current}. The limit of your plan is {limit}.",
    },
    de: {
      title: "{metric}: {percent} % des Limits verbraucht",
      message: "Ihr Verbrauch von {metric} im Zeitraum {period} beträgt {current}. Das Limit Ihres Tarifs ist {limit}.",
    },
  },
  usage_limit: {
    en: {
      title: "{metric}: limit reached",
      message: "Your usage of {metric} in {period} is {current}. The limit of your plan is {limit}.",
    },
    de: {
      title: "{metric}: Limit erreicht",
      message: "Ihr Verbrauch von {metric} im Zeitraum {period} beträgt {current}. Das Limit Ihres Tarifs ist {limit}.",
    },
  },
  webhook_gone: {
    en: {
      title: "A webhook was disabled",
      message: "No more events are sent to {host}. Its receiver has answered 410 Gone. Repair the receiver, then enable the webhook.",
    },
    de: {
      title: "Ein Webhook wurde deaktiviert",
      message:
        "An {host} werden keine Ereignisse mehr gesendet. Der Empfänger hat mit 410 Gone geantwortet. Reparieren Sie den Empfänger, und " +
        "aktivieren Sie dann den Webhook.",
    },
  },
  webhook_failing: {
    en: {
      title: "A webhook was disabled",
      message:
        "No more events are sent to {host}. All its deliveries have failed for 5 days. Repair the receiver, then enable the webhook.",
    },
    de: {
      title: "Ein Webhook wurde deaktiviert",
      message: "An {host} werden keine Ereignisse mehr gesendet. Seit 5 Tagen sind alle Zustellungen fehlgeschlagen. Reparieren Sie den " +
        "Empfänger, und aktivieren Sie dann den Webhook.",
    },
  },
  export_ready: {
    en: {
      title: "An export is ready",
      message: "The export {request} is complete. It can be downloaded until {until}.",
    },
    de: {
      title: "Ein Export ist bereit",
      message: "Der Export {request} ist vollständig. Er kann bis {until} heruntergeladen werden.",
    },
  },
} as const satisfies Readonly<Record<string, Texts>>;

export type Template = keyof typeof TEMPLATES;
type Names<T extends string> = T extends `${string}{${infer N}}${infer Rest}` ? N | Names<Rest> : never;
type English<T extends Template> = (typeof TEMPLATES)[T]["en"];
/** The variables of a template. A missing one does not compile, and is refused at run time. */
export type VariablesOf<T extends Template> = { readonly [N in Names<English<T>["title"] | English<T>["message"]>]: string | number };

/** The text in the language: `de-AT`, else `de`, else English. */
export function localised<T>(texts: Readonly<Record<string, T>> & { readonly en: T }, locale: string): T {
  const parts = locale.toLowerCase().split("-");
  const byTag = new Map(Object.entries(texts).map(([tag, text]) => [tag.toLowerCase(), text]));
  for (let count = parts.length; count > 0; count--) {
    const found = byTag.get(parts.slice(0, count).join("-"));
    if (found !== undefined) return found;
  }
  return texts[FALLBACK];
}

/** The title and message of a template. Null if the program has no such template. Throws `validation_failed` for missing variables. */
export function textOf(template: string, locale: string, variables: Readonly<Record<string, unknown>>): Text | null {
  if (!Object.hasOwn(TEMPLATES, template)) return null;
  const { title, message }: Text = localised<Text>(TEMPLATES[template as Template], locale);
  const missing = new Set([title, message].flatMap((text) => namesIn(text)).filter((name) => variables[name] === undefined));
  if (missing.size > 0) {
    const problem = (name: string) => ({
      path: `/variables/${name}`,
      message: `is needed by the template ${template}`,
      code: "missing_variable",
    });
    throw errors.validation([...missing].map(problem));
  }
  // A value is not a template: braces in it stay as they are.
  const filled = (text: string) => text.replaceAll(/\{(\w+)\}/g, (_, name: string) => String(variables[name]));
  return { title: filled(title), message: filled(message) };
}

/** The names of the variables in a text. */
export function namesIn(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
}
