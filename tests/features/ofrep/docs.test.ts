import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import * as server from "@openfeature/server-sdk";
import * as web from "@openfeature/web-sdk";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { read } from "../../architecture/sources.ts";
import { useApi } from "../../http/support/api.ts";
import { useServed } from "./served.ts";

const api = useApi();
const served = useServed(api);
let tenantId = "";

beforeAll(async () => void (tenantId = (await api.tenant()).id));
afterAll(async () => void (await Promise.all([server.OpenFeature.close(), web.OpenFeature.close()])));

/** Runs the program of docs/ofrep.md that imports this package, with its other names given. */
async function runProgram(imported: string, names: Readonly<Record<string, unknown>>): Promise<void> {
  const programs = [...read("docs/ofrep.md").matchAll(/```js\n(.*?)```/gs)].map(([, text = ""]) => text);
  const program = programs.find((text) => text.includes(`from "${imported}"`)) ?? "throw new Error('the page has no such program')";
  const body = program.replaceAll(/^import .*$/gm, "").replace("60_000", "20");
  const AsyncFunction = (async () => {}).constructor as new (...parts: string[]) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction(...Object.keys(names), body)(...Object.values(names));
}

test("F14: the program of docs/ofrep.md for servers offers the feature only where the flag is on", async () => {
  const { FeatureFlagService: flags } = api.services;
  const { id } = await flags.create({ key: "late-checkout", name: "Late checkout", status: "disabled" });
  const offerLateCheckout = vi.fn();
  const names = {
    OpenFeature: server.OpenFeature,
    OFREPProvider,
    baseUrl: served.url,
    credential: api.admin("read_only"),
    tenantId,
    userId: "u",
  };
  await runProgram("@openfeature/server-sdk", { ...names, offerLateCheckout });
  expect(offerLateCheckout).not.toHaveBeenCalled();
  await flags.update(id, { status: "enabled" });
  await runProgram("@openfeature/server-sdk", { ...names, offerLateCheckout });
  expect(offerLateCheckout).toHaveBeenCalledOnce();
  await flags.update(id, { status: "disabled" });
});

test("F15: the program of docs/ofrep.md for browsers shows the flag, and shows it again when it changes", async () => {
  const { FeatureFlagService: flags } = api.services;
  const [flag] = (await flags.list({ key: "late-checkout" })).data;
  const shown: boolean[] = [];
  const token = await api.user(tenantId, "viewer");
  await runProgram("@openfeature/web-sdk", {
    OpenFeature: web.OpenFeature,
    OFREPWebProvider,
    baseUrl: served.url,
    accessToken: () => Promise.resolve(token),
    userId: "u",
    show: (isOn: boolean) => shown.push(isOn),
  });
  await flags.update(flag?.id ?? "", { status: "enabled" });
  await vi.waitFor(() => expect(shown).toEqual([false, true]), 5_000);
});
