/** The root key of the tests' processes and the one before it, and their form in the environment. */
export const ROOT_KEY = new Uint8Array(32).fill(7);
export const PREVIOUS_ROOT_KEY = new Uint8Array(32).fill(6);
export const ROOT_KEY_TEXT = Buffer.from(ROOT_KEY).toString("base64");
export const PREVIOUS_ROOT_KEY_TEXT = Buffer.from(PREVIOUS_ROOT_KEY).toString("base64");
