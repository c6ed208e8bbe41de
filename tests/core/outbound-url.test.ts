import { describe, expect, test } from "vitest";
import { DEFAULT_OUTBOUND_RULES, NO_OUTBOUND } from "../../shared/core/outbound.ts";
import { addressKind, assertWebhookUrl, urlFault } from "../../shared/core/outbound-url.ts";

const RULES = DEFAULT_OUTBOUND_RULES;
const LOCAL = { ...RULES, local: true };

const PRIVATE_ADDRESS = "must not name a private, local or reserved address";
const PRIVATE_NAME = "must not name a host of a private network";
const HTTPS = "must begin with https://";

/** An address inside each range of IANA's special-purpose registries, at its borders where a neighbour is public. */
const REFUSED = [
  ...["0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200"],
  ...["169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.2.1"],
  ...["192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0"],
  ...["198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"],
  "168.63.129.16",
  ...["::", "::7f00:1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::1"],
  ...["100::1", "2001::1", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:db8::1"],
  ...["2002:808:808::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1"],
  ...["febf::1", "fec0::1", "ff02::1", "4000::1", "1fff::1", "8000::1"],
];
const PUBLIC = [
  ...["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"],
  ...["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255"],
  ...["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"],
];

describe("which addresses are public", () => {
  test.each(REFUSED)("W07: %s is not", async (address) => {
    expect(await addressKind(address)).toBe("refused");
  });

  test.each(PUBLIC)("W07: %s is", async (address) => {
    expect(await addressKind(address)).toBe("public");
  });

  test.each(["127.0.0.1", "127.255.255.255", "::1"])("W07: %s is this machine", async (address) => {
    expect(await addressKind(address)).toBe("loopback");
  });

  test.each(["", "example.com", "1.2.3.4.5", "fe80::1%eth0", "10.0.0.0/8", "256.1.1.1"])(
    "W07: '%s', which is no address, is refused",
    async (text) => {
      expect(await addressKind(text)).toBe("refused");
    },
  );
});

describe("which URLs may be called", () => {
  test.each([
    "https://hooks.example.com",
    "https://hooks.example.com:443/innkeep?tenant=1&x=%20",
    "https://HOOKS.example.com/",
    "https://xn--bcher-kva.example/%C3%BC?a%5B%5D=1",
    "https://203.0.114.1/hook",
    "https://[2606:4700::1111]/hook",
    "https://localhost.example.com/",
    "https://internal.example.com/",
  ])("W07, W08: %s", async (url) => {
    expect(await urlFault(url, RULES)).toBeNull();
  });

  test.each([
    // Loopback in every spelling that parsers of URLs know.
    ...[
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f.1",
      "0x7f000001",
      "0177.0.0.1",
      "017700000001",
      "127.0.0.1.",
    ],
    ...["0", "0.0.0.0", "10.1", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "192.168.257"],
    ...REFUSED.map((address) => address.includes(":") ? `[${address}]` : address),
    ...["[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:FFFF:7F00:0001]"],
  ])("W07: not one that names the address %s", async (host) => {
    expect(await urlFault(`https://${host}/hook`, RULES)).toBe(PRIVATE_ADDRESS);
  });

  test.each<readonly [url: string, message: string]>([
    ["https://localhost/", "must name a host of the public internet, such as hooks.example.com"],
    ["https://metadata/computeMetadata/v1/", "must name a host of the public internet, such as hooks.example.com"],
    ["https://api.localhost/", PRIVATE_NAME],
    ["https://printer.local/", PRIVATE_NAME],
    ["https://metadata.google.internal/computeMetadata/v1/", PRIVATE_NAME],
    ["https://instance-data.ec2.internal/", PRIVATE_NAME],
    ["https://METADATA.GOOGLE.INTERNAL/", PRIVATE_NAME],
    ["https://metadata.goog/", PRIVATE_NAME],
    ["https://router.home.arpa/", PRIVATE_NAME],
    ["https://kubernetes.default.svc/", PRIVATE_NAME],
    ["https://kubernetes.default.svc.cluster.local/", PRIVATE_NAME],
    ["https://bücher.example/", "must name its host in ASCII: xn--bcher-kva.example"],
    ["https://１２７.0.0.1/", "must name its host in ASCII: 127.0.0.1"],
    ...["/ü", "/?q=€", "/{id}", "/%zz", "/a|b", "/?a[]=1"].map((path) =>
      [`https://hooks.example.com${path}`, "must have the characters of a URI: encode others, such as %C3%BC for ü"] as const
    ),
    ...[`${"a".repeat(64)}.example`, `${"a.".repeat(126)}example`].map((host) =>
      [`https://${host}/`, "must name a host of at most 253 characters, and 63 between two dots"] as const
    ),
    ["https://hooks.example.com./", "must name a host without a dot at its end"],
    ["https://localhost./", "must name a host without a dot at its end"],
    ["http://hooks.example.com/", HTTPS],
    ["http://localhost:3000/", HTTPS],
    ["http://127.0.0.1/", HTTPS],
    ["https://hooks.example.com:22/", "must use port 443"],
    ["https://hooks.example.com:8443/", "must use port 443"],
    ["https://ada@hooks.example.com/", "must contain no user name or password"],
    ["https://ada:secret@hooks.example.com/", "must contain no user name or password"],
    ["https://hooks.example.com:443@10.0.0.1/", "must contain no user name or password"],
    ["https://hooks.example.com/#top", "must contain no fragment: remove the part from # on"],
    ["https://hooks.example.com/#", "must contain no fragment: remove the part from # on"],
    ["https://hooks.example.com\\@10.0.0.1/", "must contain no spaces, backslashes or invisible characters"],
    ["https://hooks.example\t.com/", "must contain no spaces, backslashes or invisible characters"],
    ["https://hooks.example.com/\r\nx: y", "must contain no spaces, backslashes or invisible characters"],
    ["https://hooks.exam\u200bple.com/", "must contain no spaces, backslashes or invisible characters"],
    [`https://hooks.example.com/${"a".repeat(2_048)}`, "must be at most 2048 characters"],
    ...[
      "",
      "hooks.example.com",
      "ftp://hooks.example.com/",
      "file:///etc/passwd",
      "https:/hooks.example.com",
      "https://",
      "https:hooks.example.com",
    ]
      .map((url) => [url, "must be a URL, such as https://hooks.example.com/innkeep"] as const),
    ["https://[fe80::1%25eth0]/", "must be a URL, such as https://hooks.example.com/innkeep"],
    ["https://1.2.3.4.5/", "must be a URL, such as https://hooks.example.com/innkeep"],
    ["https://256.1.1.1/", "must be a URL, such as https://hooks.example.com/innkeep"],
  ])("W07, W08: not %j", async (url, message) => {
    expect(await urlFault(url, RULES)).toBe(message);
  });

  test("W08: the allowed ports are those of the rules", async () => {
    const rules = { ...RULES, ports: [443, 8443] };
    expect(await urlFault("https://hooks.example.com:8443/", rules)).toBeNull();
    expect(await urlFault("https://hooks.example.com:444/", rules)).toBe("must use port 443 or 8443");
  });

  test.each([
    ...["http://localhost:3000/hook", "http://127.0.0.1:3000", "http://127.9.9.9/", "http://[::1]:3000/", "https://localhost:3000/"],
    ...["http://app.localhost:3000/", "http://2130706433:3000/", "https://hooks.example.com/"],
  ])("W08: in development, %s too", async (url) => {
    expect(await urlFault(url, LOCAL)).toBeNull();
  });

  test.each([
    ["http://hooks.example.com/", HTTPS],
    ["https://hooks.example.com:8443/", "must use port 443"],
    ["http://10.0.0.1/", HTTPS],
    ["https://192.168.0.1/", PRIVATE_ADDRESS],
    ["https://[::ffff:127.0.0.1]/", PRIVATE_ADDRESS],
    ["https://0.0.0.0/", PRIVATE_ADDRESS],
    ["https://printer.local/", PRIVATE_NAME],
    ["http://localhost.example.com/", HTTPS],
    ["http://ada@localhost/", "must contain no user name or password"],
  ])("W08: in development, still not %s", async (url, message) => {
    expect(await urlFault(url, LOCAL)).toBe(message);
  });

  test("W07: a URL that is refused is an error of its field", async () => {
    const refused = assertWebhookUrl("https://169.254.169.254/latest/meta-data/", RULES, "/settings/url");
    await expect(refused).rejects.toMatchObject({
      code: "validation_failed",
      fields: [{ path: "/settings/url", message: PRIVATE_ADDRESS, code: "invalid_url" }],
    });
    await expect(assertWebhookUrl("https://hooks.example.com/", RULES)).resolves.toBeUndefined();
  });

  test("W07: a program without a client calls nobody", async () => {
    const request = { method: "POST", url: "https://hooks.example.com/", headers: {}, timeoutMs: 1_000, maxBodyBytes: 1 };
    expect(await NO_OUTBOUND.send(request)).toMatchObject({ ok: false, code: "connect_failed" });
  });
});
