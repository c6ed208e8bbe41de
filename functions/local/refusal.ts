import process from "node:process";
import { Stopped } from "./stop-signal.ts";
import { systemErrorMessage } from "./system-errors.ts";

/** A message for the person at the terminal: printed alone, without a stack. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** SQLSTATEs that are the setting's fault or the moment's, not the program's, and what to do about each. */
const ADVICE: Readonly<Record<string, string>> = {
  "25006": "the database is read-only: connect to the primary",
  "3D000": "make the database first: createdb",
  "40P01": "others hold what is needed: repeat in a quieter minute",
  "42501": "the login of DATABASE_URL may not do this: migrate as the owner of the database, docs/operations.md names its rights",
  "42704": "docs/operations.md has the statements that make the roles",
  "53100": "the disk of the database is full: make room there",
  "55P03": "others hold what is needed: repeat in a quieter minute",
  "57P01": "somebody ended this session: repeat",
};

/**
 * Runs a command line program: what can be expected to go wrong is one line on stderr, and exit code 1. A stop that
 * was asked for is exit code 130.
 */
export async function runProgram(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (error instanceof Stopped) process.exit(130);
    const message = expectedMessage(error);
    console.error(message === null ? error : `innkeep: ${message}`);
    process.exit(1);
  }
}

/** Null for a fault of the program, whose stack is of use. An InnkeepError's message is written for people as well. */
function expectedMessage(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof Refusal) return error.message;
  if (error.name === "InnkeepError") return error.cause instanceof Error ? `${error.message} (${rootOf(error).message})` : error.message;
  if (!("severity" in error) || !("code" in error)) return systemErrorMessage(error);
  const advice = ADVICE[String(error.code)];
  return advice ? `${error.message} (SQLSTATE ${String(error.code)}): ${advice}` : null;
}

/** What the database or the network said. */
function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}
