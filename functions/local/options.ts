import { homedir } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ParseArgsConfig } from "node:util";
import { Refusal } from "./refusal.ts";

export const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
export const DEFAULT_DATA_DIR = resolve(PROJECT_DIR, ".innkeep");

/** The path relative to the current directory if it is inside it, else unchanged. */
export function shownPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" || near.startsWith("..") ? path : near;
}

export interface StartOptions {
  readonly port: number;
  /** Null: a temporary directory, with `ephemeral`. */
  readonly dataDir: string | null;
  readonly ephemeral: boolean;
  readonly seed: "demo" | "none";
  readonly webhookEcho: boolean;
}

export const START_HELP = `npm start -- [options]     starts the local stack: PostgreSQL, migrations, demo data and the API under Deno

  --port N         port of the API on 127.0.0.1 (default: 8787)
  --data DIR       data directory (default: .innkeep)
  --ephemeral      use a temporary data directory, or the empty one of --data, and remove it at the end
  --seed demo|none demo (default): 12 hotels with six months of usage; none: only plans and administrators
  --webhook-echo   start a receiver that gets every event, and print what arrives and whether its signature is valid
  -h, --help       print this text

Set DATABASE_URL to use your own PostgreSQL (15 or newer) instead of the embedded one.
The file local.json in the data directory contains the addresses and a token for each role.`;

/** Returns null if the arguments ask for help. */
export function parseStartOptions(args: readonly string[]): StartOptions | null {
  const values = parse(args, {
    port: { type: "string", default: "8787" },
    data: { type: "string" },
    ephemeral: { type: "boolean", default: false },
    seed: { type: "string", default: "demo" },
    "webhook-echo": { type: "boolean", default: false },
  });
  if (values["help"]) return null;
  const { port, data, ephemeral, seed } = values;
  if (typeof port !== "string" || !/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    throw new Refusal(`--port must be a number from 1 to 65535, not ${String(port)}`);
  }
  if (seed !== "demo" && seed !== "none") throw new Refusal(`--seed must be demo or none, not ${String(seed)}`);
  const dataDir = data === undefined && ephemeral ? null : dataDirOf(data);
  return { port: Number(port), dataDir, ephemeral: ephemeral === true, seed, webhookEcho: values["webhook-echo"] === true };
}

export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

/** The directory of --data. Expands `~`, because a shell does not expand it in `--data=~/x`. */
export function dataDirOf(given: string | boolean | undefined): string {
  if (typeof given !== "string") return DEFAULT_DATA_DIR;
  if (given === "") throw new Refusal("--data must not be empty: name a directory, or omit the option to use .innkeep in the project");
  return given === "~" || given.startsWith("~/") ? join(homedir(), given.slice(1)) : resolve(given);
}

type OptionKinds = NonNullable<ParseArgsConfig["options"]>;

/** `parseArgs` of `node:util` with one-line errors. Every program accepts -h and --help. */
export function parse(args: readonly string[], options: OptionKinds): OptionValues {
  const known: OptionKinds = { ...options, help: { type: "boolean", short: "h", default: false } };
  try {
    return parseArgs({ args: joinNegative(args, known), options: known, strict: true, allowPositionals: false }).values as OptionValues;
  } catch (error) {
    const message = error instanceof Error ? error.message.split(/\.?\n|\. /)[0] : String(error);
    throw new Refusal(`${message}; see --help`);
  }
}

/** Turns `--port -1` into `--port=-1`, so that the check of the option reports the value. */
function joinNegative(args: readonly string[], options: OptionKinds): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const option = joined.at(-1);
    if (/^-\d/.test(arg) && option?.startsWith("--") && options[option.slice(2)]?.type === "string") {
      joined.splice(-1, 1, `${option}=${arg}`);
    } else joined.push(arg);
  }
  return joined;
}
