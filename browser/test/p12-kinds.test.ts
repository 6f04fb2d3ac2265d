/** Certificate files that are unusual, damaged, or none at all: each opens, or is refused with its reason. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { inside, members, octetsOf, parse } from "../src/ber.ts";
import { readCertificate } from "../src/certificate.ts";
import * as der from "../src/der.ts";
import type { Bytes } from "../src/der.ts";
import { pairOf } from "../src/keys.ts";
import { type P12Content, readP12, type Request } from "../src/p12.ts";
import { type Bench, bench, EC_KEY, RSA_KEY } from "./support/tools.ts";

const PASSPHRASE = "Abc-1234-xyz";
const digest = (certificate: Uint8Array): Uint8Array =>
  new Uint8Array(createHash("sha256").update(certificate).digest());
const DATA = "1.2.840.113549.1.7.1";

function holder(algorithm: readonly string[] = EC_KEY): Bench {
  const tools = bench();
  tools.makeAuthority();
  tools.identity("holder", algorithm, "0x5511");
  return tools;
}

function exported(tools: Bench, ...options: readonly string[]): Bytes {
  tools.openssl(
    "pkcs12",
    "-export",
    "-inkey",
    "holder.key",
    "-in",
    "holder.pem",
    "-certfile",
    "holder-chain.pem",
    "-passout",
    `pass:${PASSPHRASE}`,
    "-out",
    "theirs.p12",
    ...options,
  );
  return tools.read("theirs.p12");
}

const wantedOf = (tools: Bench): Request => ({
  wanted: [digest(tools.der("holder.pem"))],
  known: tools.der("holder.pem"),
});

async function opens(file: Uint8Array, tools: Bench, passphrase = PASSPHRASE): Promise<P12Content> {
  const content = await readP12(file, passphrase, wantedOf(tools));
  const leaf = readCertificate(content.certificates[0] ?? new Uint8Array(0));
  expect(leaf.commonName).toBe("holder");
  await pairOf(content.key, leaf.spki, false);
  return content;
}

const refused = async (file: Uint8Array, tools: Bench, code: string, algorithm: string | null = null): Promise<void> =>
  expect(readP12(file, PASSPHRASE, wantedOf(tools))).rejects.toMatchObject({ code, algorithm });

const base64 = (file: Uint8Array): string => Buffer.from(file).toString("base64");
const lines = (text: string): string => text.replace(/.{64}/g, "$&\n");

describe("a text that holds the file", () => {
  const FORMS: readonly (readonly [string, (file: Uint8Array, tools: Bench) => Uint8Array])[] = [
    ["UTF-16 without its mark", (file) => Buffer.from(base64(file), "utf16le")],
    ["UTF-16 of a Mac without its mark", (file) => Buffer.from(base64(file), "utf16le").swap16()],
    [
      "hexadecimal in UTF-16 that begins with 0x",
      (file) => Buffer.from(`0x${Buffer.from(file).toString("hex")}`, "utf16le"),
    ],
    [
      "a mail as it was saved",
      (file) =>
        Buffer.from(
          `From: me\nContent-Type: application/x-pkcs12\nContent-Transfer-Encoding: base64\n\n${lines(base64(file))}\n--end--\n`,
        ),
    ],
    ["JSON", (file) => Buffer.from(JSON.stringify({ name: "王小明", pfx: base64(file), more: true }))],
    ["XML", (file) => Buffer.from(`<?xml version="1.0"?><file>${lines(base64(file))}</file>`)],
    ["Base64 without its filling", (file) => Buffer.from(base64(file).replaceAll("=", ""))],
    ["Base64 for addresses", (file) => Buffer.from(Buffer.from(file).toString("base64url"))],
    [
      "a dump with addresses and characters",
      (file, tools) => {
        tools.write("raw", file);
        return Buffer.from(tools.run("od", "-A", "x", "-t", "x1z", "-v", "raw").replace(/ {2}>/g, "  |"));
      },
    ],
    ["a line end before it", (file) => Buffer.concat([Buffer.from("\r\n"), file])],
    ["a mark of UTF-8 before it", (file) => Buffer.concat([Buffer.from("\ufeff"), file])],
  ];
  test.each(FORMS)("%s", async (_name, wrapped) => {
    const tools = holder();
    await opens(wrapped(exported(tools), tools), tools);
  });
});

describe("something else", () => {
  const page = "<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n";
  test.each([
    ["nothing", () => new Uint8Array(0), "empty-file", null],
    ["zeros", () => new Uint8Array(4096), "empty-file", null],
    ["a web page that says an error", () => Buffer.from(page), "web-page", null],
    ["the first half", (tools: Bench) => exported(tools).slice(0, 700), "cut-short", null],
    [
      "the octets, taken for text",
      (tools: Bench) => Buffer.from(Buffer.from(exported(tools)).toString("utf8")),
      "changed-as-text",
      null,
    ],
    [
      "PKCS #7",
      (tools: Bench) => {
        tools.openssl("crl2pkcs7", "-nocrl", "-certfile", "holder.pem", "-outform", "DER", "-out", "x.p7b");
        return tools.read("x.p7b");
      },
      "no-key",
      null,
    ],
    [
      "PKCS #7 as PEM",
      (tools: Bench) => Buffer.from(tools.openssl("crl2pkcs7", "-nocrl", "-certfile", "holder.pem")),
      "no-key",
      null,
    ],
    [
      "a PFX with certificates alone",
      (tools: Bench) => {
        tools.openssl(
          "pkcs12",
          "-export",
          "-nokeys",
          "-in",
          "holder.pem",
          "-passout",
          `pass:${PASSPHRASE}`,
          "-out",
          "x.p12",
        );
        return tools.read("x.p12");
      },
      "no-key",
      null,
    ],
    ["gzip", () => Buffer.from("1f8b0800", "hex"), "other-format", "gzip"],
    [
      "BouncyCastle's own store",
      () => Buffer.from("0000000200000014aabb", "hex"),
      "other-format",
      "BouncyCastle KeyStore (BKS)",
    ],
    ["a Windows shortcut", () => Buffer.from("4c00000001140200", "hex"), "other-format", "Windows shortcut"],
    [
      "a key of SSH",
      () => Buffer.from("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
      "other-format",
      "OPENSSH PRIVATE KEY",
    ],
    ["a short DER value", () => Buffer.from("3003020103", "hex"), "malformed", null],
    ["random octets", () => Buffer.from("c3a59b01f0e2d4", "hex"), "malformed", null],
  ] as const)("%s is named", async (_name, file, code, algorithm) => {
    const tools = holder();
    await refused(file(tools), tools, code, algorithm);
  });
});

describe("a key without its certificate", () => {
  test.each([
    [
      "PKCS #12",
      (tools: Bench) => {
        tools.openssl(
          "pkcs12",
          "-export",
          "-nocerts",
          "-inkey",
          "holder.key",
          "-passout",
          `pass:${PASSPHRASE}`,
          "-out",
          "x.p12",
        );
        return tools.read("x.p12");
      },
    ],
    [
      "PKCS #8",
      (tools: Bench) => {
        tools.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "holder.key", "-outform", "DER", "-out", "x.key");
        return tools.read("x.key");
      },
    ],
    [
      "PKCS #8, encrypted",
      (tools: Bench) => {
        tools.openssl(
          "pkcs8",
          "-topk8",
          "-in",
          "holder.key",
          "-passout",
          `pass:${PASSPHRASE}`,
          "-outform",
          "DER",
          "-out",
          "x.key",
        );
        return tools.read("x.key");
      },
    ],
    [
      "the older form",
      (tools: Bench) => {
        tools.openssl("pkey", "-in", "holder.key", "-traditional", "-outform", "DER", "-out", "x.key");
        return tools.read("x.key");
      },
    ],
    [
      "the older form as PEM",
      (tools: Bench) => {
        tools.openssl("pkey", "-in", "holder.key", "-traditional", "-out", "x.key");
        return tools.read("x.key");
      },
    ],
    [
      "PEM",
      (tools: Bench) => {
        tools.openssl("pkcs8", "-topk8", "-in", "holder.key", "-passout", `pass:${PASSPHRASE}`, "-out", "x.key");
        return tools.read("x.key");
      },
    ],
  ] as const)("%s opens for the certificate that the server has", async (_name, file) => {
    for (const algorithm of [EC_KEY, RSA_KEY]) {
      const tools = holder(algorithm);
      await opens(file(tools), tools);
    }
  });

  test("of another key it is said that it does not belong to it", async () => {
    const tools = holder();
    tools.openssl("genpkey", ...EC_KEY, "-outform", "DER", "-out", "other.key");
    await refused(tools.read("other.key"), tools, "key-mismatch");
  });
});

/** The PFX without a MAC, each bag of its clear part made by `change`. */
function changed(file: Uint8Array, change: (bag: Bytes) => Bytes): Bytes {
  const [version, authSafe] = members(parse(file));
  if (version === undefined || authSafe === undefined) throw new Error("no PFX");
  const data = (octets: Bytes): Bytes => der.sequence(der.oid(DATA), der.explicit(0, der.octets(octets)));
  const safes = members(parse(octetsOf(inside(members(authSafe)[1], 0)))).map((safe) => {
    const [, content] = members(safe);
    const within = inside(content, 0);
    if (within.tag !== 4) return safe.raw;
    return data(der.sequence(...members(parse(octetsOf(within))).map((bag) => change(bag.raw))));
  });
  return der.sequence(version.raw, data(der.sequence(...safes)));
}

const attribute = (type: string, value: Bytes): Bytes => der.sequence(der.oid(type), der.setOf(value));
const LOCAL_KEY_ID = "1.2.840.113549.1.9.21";

/** The bag with other attributes. */
function marked(bag: Bytes, ...attributes: readonly Bytes[]): Bytes {
  const [type, value] = members(parse(bag));
  if (type === undefined || value === undefined) throw new Error("no bag");
  return der.sequence(type.raw, value.raw, ...(attributes.length === 0 ? [] : [der.setOf(...attributes)]));
}

test("a PEM text that is encrypted in the old way is named", async () => {
  const tools = holder(RSA_KEY);
  tools.openssl(
    "rsa",
    "-in",
    "holder.key",
    "-traditional",
    "-aes128",
    "-passout",
    `pass:${PASSPHRASE}`,
    "-out",
    "x.key",
  );
  await refused(tools.read("x.key"), tools, "other-format", "RSA PRIVATE KEY");
});

describe("marks that do not say the truth", () => {
  test.each([
    ["none at all", (bag: Bytes) => marked(bag)],
    ["another one at the key", (bag: Bytes) => marked(bag, attribute(LOCAL_KEY_ID, der.octets(Uint8Array.of(9, 9))))],
    [
      "Windows' 01 00 00 00",
      (bag: Bytes) => marked(bag, attribute(LOCAL_KEY_ID, der.octets(Uint8Array.of(1, 0, 0, 0)))),
    ],
    [
      "attributes that nobody can read",
      (bag: Bytes) =>
        marked(bag, der.integer(5), der.sequence(der.oid("1.2.3")), attribute(LOCAL_KEY_ID, der.integer(7))),
    ],
  ])("%s", async (_name, change) => {
    const tools = holder();
    await opens(changed(exported(tools), change), tools);
  });

  test("the mark of the wanted certificate stands at another key: both are tried, the marked one first", async () => {
    const tools = holder();
    tools.openssl("genpkey", ...EC_KEY, "-out", "other.key");
    const made = ["-nocerts", "-inkey", "other.key", "-passout", `pass:${PASSPHRASE}`, "-out", "other.p12"];
    tools.openssl("pkcs12", "-export", ...made);
    const mark = attribute(
      LOCAL_KEY_ID,
      der.octets(Buffer.from(createHash("sha1").update(tools.der("holder.pem")).digest())),
    );
    let stranger: Bytes | null = null;
    changed(tools.read("other.p12"), (bag) => (stranger = marked(bag, mark)));
    if (stranger === null) throw new Error("no bag");
    const [version, authSafe] = members(parse(changed(exported(tools), (bag) => marked(bag))));
    if (version === undefined) throw new Error("no PFX");
    const data = (octets: Bytes): Bytes => der.sequence(der.oid(DATA), der.explicit(0, der.octets(octets)));
    const safes = members(parse(octetsOf(inside(members(authSafe)[1], 0)))).map((safe) => safe.raw);
    await opens(der.sequence(version.raw, data(der.sequence(data(der.sequence(stranger)), ...safes))), tools);
  });
});

/** The PFX with other octets in place of the only ones of this kind. */
function replaced(file: Uint8Array, from: string, to: string): Bytes {
  const hex = Buffer.from(file).toString("hex");
  expect(hex.split(from).length).toBeGreaterThan(1);
  return new Uint8Array(Buffer.from(hex.replaceAll(from, to), "hex"));
}

describe("algorithms", () => {
  const OLD = ["-legacy", "-macalg", "sha1"];
  test.each([
    ["RC2 with 40 bits for the key as well", [...OLD, "-keypbe", "PBE-SHA1-RC2-40", "-certpbe", "PBE-SHA1-RC2-40"]],
    ["RC2 with 128 bits", [...OLD, "-keypbe", "PBE-SHA1-RC2-128", "-certpbe", "PBE-SHA1-RC2-128"]],
    ["Triple DES of two keys", [...OLD, "-keypbe", "PBE-SHA1-2DES", "-certpbe", "PBE-SHA1-2DES"]],
    ["Triple DES under PBES2", ["-keypbe", "DES-EDE3-CBC", "-certpbe", "DES-EDE3-CBC"]],
    ["AES-192", ["-keypbe", "AES-192-CBC", "-certpbe", "AES-192-CBC"]],
    ["no encryption", ["-keypbe", "NONE", "-certpbe", "NONE"]],
    ["a seal by SHA-224", ["-macalg", "sha224"]],
    ["a seal by SHA-384", ["-macalg", "sha384"]],
    ["a seal by SHA-512/256", ["-macalg", "sha512-256"]],
    ["a seal of one round", ["-nomaciter"]],
  ] as const)("%s opens", async (_name, options) => {
    const tools = holder();
    await opens(exported(tools, ...options), tools);
  });

  test.each(["hmacWithSHA1", "hmacWithSHA224", "hmacWithSHA384", "hmacWithSHA512"])(
    "PBES2 with %s opens",
    async (prf) => {
      const tools = holder();
      const made = [
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-v2prf",
        prf,
        "-in",
        "holder.key",
        "-passout",
        `pass:${PASSPHRASE}`,
      ];
      tools.openssl("pkcs8", ...made, "-outform", "DER", "-out", "x.key");
      await opens(tools.read("x.key"), tools);
    },
  );

  test.each([
    ["RC4", [...OLD, "-keypbe", "PBE-SHA1-RC4-128"], "PBE-SHA1-RC4-128"],
    ["ARIA", ["-keypbe", "ARIA-256-CBC"], "ARIA-256-CBC"],
    ["MD5", ["-macalg", "md5"], "MD5"],
    ["SHA-3", ["-macalg", "sha3-256"], "SHA3-256"],
    ["SM3", ["-macalg", "sm3"], "SM3"],
  ] as const)("%s is named", async (_name, options, algorithm) => {
    const tools = holder();
    await refused(exported(tools, ...options), tools, "unsupported-algorithm", algorithm);
  });

  test("AES-GCM is named, and what has no name is given by its number", async () => {
    const tools = holder();
    const bare = exported(tools, "-nomac", "-keypbe", "AES-256-CBC", "-certpbe", "NONE");
    await refused(
      replaced(bare, "60864801650304012a", "60864801650304012e"),
      tools,
      "unsupported-algorithm",
      "AES-256-GCM",
    );
    await refused(
      replaced(bare, "60864801650304012a", "608648016503040163"),
      tools,
      "unsupported-algorithm",
      "2.16.840.1.101.3.4.1.99",
    );
  });

  test.each([
    ["2147483647 rounds", "02047fffffff"],
    ["more rounds than a number of 32 bits has", "020500ffffffff"],
    ["more than any computer will do", "020a00ffffffffffffffffff"],
  ])("a file that asks for %s is refused at once", async (_name, rounds) => {
    const tools = holder();
    const [version, authSafe, seal] = members(parse(exported(tools)));
    const [digestInfo, salt] = members(seal);
    if (!version || !authSafe || !digestInfo || !salt) throw new Error("no PFX");
    const asked = der.sequence(digestInfo.raw, salt.raw, new Uint8Array(Buffer.from(rounds, "hex")));
    await refused(der.sequence(version.raw, authSafe.raw, asked), tools, "too-many-iterations");
  });
});
