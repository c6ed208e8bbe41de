import process from "node:process";
import { Stopped } from "./stop-signal.ts";
import { systemErrorMessage } from "./system-errors.ts";

/** A message for the person at the terminal: printed alone, without a stack. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** Runs a command line program: a refusal is one line on stderr and exit code 1; a stop that was asked for is exit code 130. */
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
  return error instanceof Refusal || error.name === "InnkeepError" ? error.message : systemErrorMessage(error);
}
