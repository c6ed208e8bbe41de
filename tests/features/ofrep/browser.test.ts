import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../../architecture/sources.ts";
import { noBrowser, useChromium } from "../../browser/chromium.ts";
import { useApi } from "../../http/support/api.ts";
import { freePort } from "../../support/cluster.ts";
import { programOf, useServed } from "./served.ts";

const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const api = useApi({ corsOrigins: [origin] });
const served = useServed(api);
const chromium = useChromium();

/** The packages as published, by the names under which they import each other. */
const MODULES = {
  "@openfeature/core": "core/dist/esm/index.js",
  "@openfeature/web-sdk": "web-sdk/dist/esm/index.js",
  "@openfeature/ofrep-web-provider": "ofrep-web-provider/index.esm.js",
  "@openfeature/ofrep-core": "ofrep-web-provider/node_modules/@openfeature/ofrep-core/index.esm.js",
};
const imports = Object.fromEntries(Object.entries(MODULES).map(([name, path]) => [name, `/modules/${path}`]));

/** A page with the program of docs/ofrep.md, and what the program expects to be there. */
const page = () =>
  `<!doctype html><title>Flags</title><link rel="icon" href="data:,"><p id="shown"></p>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">
const { baseUrl, token } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const userId = "guest-1";
const accessToken = async () => token;
const show = (isOn) => document.querySelector("#shown").textContent += isOn ? " on" : " off";
${programOf("@openfeature/web-sdk").replace("60_000", "50")}
</script>`;

const server = createServer((request, response) => {
  const path = Object.values(MODULES).find((module) => request.url === `/modules/${module}`);
  const type = path ? "text/javascript" : "text/html; charset=utf-8";
  const content = path ? readFile(join(ROOT, "node_modules", "@openfeature", path)) : Promise.resolve(page());
  content.then((text) => response.writeHead(200, { "content-type": type }).end(text), () => response.writeHead(500).end());
});
beforeAll(() => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve)));
afterAll(() => new Promise((resolve) => server.close(resolve)));

test.skipIf(noBrowser !== null)(
  "F15: the program of docs/ofrep.md for browsers runs on another origin in Chromium, polls with 304 and shows a change",
  async () => {
    const { FeatureFlagService: flags } = api.services;
    const { id: tenantId } = await api.tenant();
    const { id } = await flags.create({ key: "late-checkout", name: "Late checkout", status: "disabled" });
    const hash = new URLSearchParams({ baseUrl: served.url, token: await api.user(tenantId, "viewer") });
    const { page: opened, complaints } = await chromium.visit(`${origin}/#${hash}`);
    const shown = () => opened.locator("#shown").textContent();
    await expect.poll(shown, { timeout: 20_000 }).toBe(" off");
    await expect.poll(() => served.seen.filter(({ status }) => status === 304).length, { timeout: 20_000 }).toBeGreaterThan(2);
    expect(await shown()).toBe(" off");
    await flags.update(id, { status: "enabled" });
    await expect.poll(shown, { timeout: 20_000 }).toBe(" off on");
    expect(complaints).toEqual([]);
    await opened.close();
  },
);
