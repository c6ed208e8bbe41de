import { withClient } from "../../support/client.ts";

/** A secret that the program was given or made. */
interface Planted {
  readonly name: string;
  readonly text: string;
  /** The number of its first characters that may be shown, such as the prefix of an API key. */
  readonly shown: number;
}

interface Output {
  readonly where: string;
  readonly text: string;
}

/** The shortest piece of a secret that counts as the secret: outputs may show its last four characters. */
const PIECE_CHARS = 12;

/** Secrets, and everything that a program has put out. */
export class PlantedSecrets {
  readonly #planted: Planted[] = [];
  readonly #outputs: Output[] = [];

  plant(name: string, text: string, shown = 0): string {
    if (text.length - shown < PIECE_CHARS + 4) throw new Error(`${name} is too short to be found`);
    this.#planted.push({ name, text, shown });
    return text;
  }

  /** Adds an output. `once`: secrets that it may contain, because it shows them for the only time. */
  saw(where: string, text: string, once: readonly string[] = []): void {
    this.#outputs.push({ where, text: once.reduce((rest, secret) => rest.replaceAll(secret, ""), text) });
  }

  get names(): readonly string[] {
    return this.#planted.map(({ name }) => name);
  }

  /** The outputs that contain a secret, in any spelling. */
  leaks(outputs: readonly Output[] = this.#outputs): string[] {
    const spellings = this.#planted.map(({ name, text, shown }) => ({ name, forms: spellingsOf(text, shown) }));
    return outputs.flatMap((output) => {
      const lower = output.text.toLowerCase();
      return spellings.filter(({ forms }) => forms.some((form) => lower.includes(form))).map(({ name }) => `${output.where} has ${name}`);
    });
  }

  /** The tables that contain a secret: every row of every table, as text. */
  async leaksOf(databaseUrl: string): Promise<string[]> {
    return this.leaks(await dumpOf(databaseUrl));
  }
}

/** Pieces of the secret as it is, in base64, in hexadecimal, and as in a URL or JSON. Lower case, because a host name would be too. */
function spellingsOf(text: string, shown: number): string[] {
  const rest = text.slice(shown, -4);
  const bytes = Buffer.from(rest);
  const encoded = ["base64", "base64url", "hex"].map((as) => bytes.toString(as as "hex").slice(0, -4));
  const escaped = [encodeURIComponent(rest), JSON.stringify(rest).slice(1, -1)];
  const pieces = [rest.slice(0, PIECE_CHARS), rest.slice(-PIECE_CHARS)];
  return [...new Set([...pieces, ...encoded, ...escaped])].map((form) => form.toLowerCase());
}

async function dumpOf(databaseUrl: string): Promise<Output[]> {
  return await withClient(databaseUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    const outputs: Output[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
      outputs.push({ where: `the table ${name}`, text: rows.map(({ text }) => text).join("\n") });
    }
    return outputs;
  });
}
