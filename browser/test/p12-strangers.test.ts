/** Certificate files as other programs and people leave them: each opens, or is refused with its reason. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inside, members, octetsOf, parse } from "../src/ber.ts";
import { readCertificate } from "../src/certificate.ts";
import * as der from "../src/der.ts";
import type { Bytes } from "../src/der.ts";
import { pairOf } from "../src/keys.ts";
import { type P12Content, readP12, type Request } from "../src/p12.ts";
import { type Bench, bench, EC_KEY, missing, RSA_KEY } from "./support/tools.ts";

const PASSPHRASE = "Abc-1234-xyz";
const VECTORS = join(import.meta.dirname, "../../tests/vectors/p12");
const vector = (name: string): Bytes => new Uint8Array(readFileSync(join(VECTORS, name)));
const digest = (certificate: Uint8Array): Uint8Array =>
  new Uint8Array(createHash("sha256").update(certificate).digest());

/** SHA-256 of the certificates in the vectors, by openssl: `openssl pkcs12 -nokeys -clcerts | openssl x509 -fingerprint`. */
function wantedIn(name: string, passphrase: string, subject: string, text = false): Request {
  const tools = bench();
  const file = text ? Buffer.from(Buffer.from(vector(name)).toString("latin1"), "base64") : vector(name);
  tools.write("theirs.p12", file);
  const listed = tools.openssl("pkcs12", "-legacy", "-in", "theirs.p12", "-nokeys", "-passin", `pass:${passphrase}`);
  const pem = listed
    .split("Bag Attributes")
    .find((each) => each.includes(`CN = ${subject}\n`) && each.includes("BEGIN"));
  tools.write("wanted.pem", pem ?? "");
  return { wanted: [digest(tools.der("wanted.pem"))] };
}

async function signsFor(content: P12Content, name: string): Promise<void> {
  const leaf = readCertificate(content.certificates[0] ?? new Uint8Array(0));
  expect(leaf.commonName).toBe(name);
  expect((await pairOf(content.key, leaf.spki, false)).algorithm).toMatch(/^(P-256|RSA-2048)$/);
}

describe("the files that were reported", () => {
  test.each([
    ["01-empty.p12", "", "C10001"],
    ["02-nomac.p12", PASSPHRASE, "C10001"],
    ["03-trailing-newline.p12", PASSPHRASE, "C10001"],
    ["11-java-two-otherpass.p12", PASSPHRASE, "C10001"],
    ["15-java-made-key.p12", PASSPHRASE, "C10001"],
    ["51-ff-two-old.p12", PASSPHRASE, "C10002"],
    ["51-ff-two-old.p12", PASSPHRASE, "C10006"],
  ])("%s under %j opens for %s", async (name, passphrase, subject) => {
    const content = await readP12(vector(name), passphrase, wantedIn(name, passphrase, subject));
    await signsFor(content, subject);
    expect(content.withoutMac).toBe(name === "02-nomac.p12");
  });

  test("04-base64.pfx is text and opens", async () => {
    await signsFor(
      await readP12(vector("04-base64.pfx"), PASSPHRASE, wantedIn("04-base64.pfx", PASSPHRASE, "C10001", true)),
      "C10001",
    );
  });

  test("an empty pass-phrase is tried before whatever a password manager filled in", async () => {
    await signsFor(await readP12(vector("01-empty.p12"), "demo-Pass-2468"), "C10001");
  });

  test("10-java-keypass.p12 asks for the key's own pass-phrase and opens with it", async () => {
    const name = "10-java-keypass.p12";
    const request = wantedIn(name, PASSPHRASE, "C10001");
    await expect(readP12(vector(name), PASSPHRASE, request)).rejects.toMatchObject({ code: "other-passphrase-inside" });
    await expect(
      readP12(vector(name), PASSPHRASE, { ...request, keyPassphrase: "Key-9876-abd" }),
    ).rejects.toMatchObject({
      code: "other-passphrase-inside",
    });
    await signsFor(await readP12(vector(name), PASSPHRASE, { ...request, keyPassphrase: "Key-9876-abc" }), "C10001");
  });
});

function holder(algorithm: readonly string[] = EC_KEY): Bench {
  const tools = bench();
  tools.makeAuthority();
  tools.identity("holder", algorithm, "0x5511");
  return tools;
}

const exported = (tools: Bench, passphrase: string, ...options: readonly string[]): Bytes => {
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
    `pass:${passphrase}`,
    "-out",
    "theirs.p12",
    ...options,
  );
  return tools.read("theirs.p12");
};

const wantedOf = (tools: Bench, name = "holder"): Request => ({ wanted: [digest(tools.der(`${name}.pem`))] });

describe("a file in another form", () => {
  const text = (file: Uint8Array): string => Buffer.from(file).toString("base64").replace(/.{64}/g, "$&\n");
  const FORMS: readonly (readonly [string, (file: Uint8Array) => Uint8Array])[] = [
    ["Base64 on one line", (file) => Buffer.from(Buffer.from(file).toString("base64"))],
    ["Base64 in lines of Windows with a mark", (file) => Buffer.from(`\ufeff${text(file).replace(/\n/g, "\r\n")}\r\n`)],
    ["Base64 as PowerShell redirects it", (file) => Buffer.from(`\ufeff${text(file)}`, "utf16le")],
    [
      "a data: address",
      (file) => Buffer.from(`data:application/x-pkcs12;base64,${Buffer.from(file).toString("base64")}`),
    ],
    [
      "PEM with words before it",
      (file) => Buffer.from(`Here it is:\n-----BEGIN PKCS12-----\n${text(file)}\n-----END PKCS12-----\n`),
    ],
    ["hexadecimal", (file) => Buffer.from(Buffer.from(file).toString("hex"))],
    [
      "hexadecimal with spaces and lines",
      (file) => Buffer.from(Buffer.from(file).toString("hex").replace(/../g, "$& ").replace(/.{48}/g, "$&\n")),
    ],
    ["hexadecimal of a database", (file) => Buffer.from(`0x${Buffer.from(file).toString("hex").toUpperCase()}`)],
    ["a line end of Windows after it", (file) => Buffer.concat([file, Buffer.from("\r\n")])],
    ["4096 zeros after it", (file) => Buffer.concat([file, Buffer.alloc(4096)])],
  ];
  test.each(FORMS)("%s", async (_name, wrapped) => {
    const tools = holder();
    await signsFor(await readP12(wrapped(exported(tools, PASSPHRASE)), PASSPHRASE, wantedOf(tools)), "holder");
  });

  test("a PEM text with key and certificate, its key encrypted or not", async () => {
    const tools = holder(RSA_KEY);
    exported(tools, PASSPHRASE);
    for (const options of [["-passout", `pass:${PASSPHRASE}`], ["-noenc"]]) {
      tools.openssl("pkcs12", "-in", "theirs.p12", "-passin", `pass:${PASSPHRASE}`, "-out", "theirs.pem", ...options);
      const content = await readP12(tools.read("theirs.pem"), PASSPHRASE, wantedOf(tools));
      await signsFor(content, "holder");
      expect(content.withoutMac).toBe(true);
    }
  });

  test.each([
    ["a certificate as DER", (tools: Bench) => tools.der("holder.pem"), "no-key", null],
    ["a certificate as PEM", (tools: Bench) => tools.read("holder.pem"), "no-key", null],
    ["a request", (tools: Bench) => tools.read("holder.csr.pem"), "other-format", "CERTIFICATE REQUEST"],
    ["an archive", () => Buffer.from("504b030414000000", "hex"), "other-format", "ZIP"],
    ["an old Java keystore", () => Buffer.from("feedfeed00000002", "hex"), "other-format", "Java KeyStore (JKS)"],
    ["words", () => Buffer.from("My certificate\n"), "malformed", null],
  ] as const)("%s is named", async (_name, file, code, algorithm) => {
    const tools = holder();
    tools.openssl("req", "-new", "-key", "holder.key", "-subj", "/CN=holder", "-out", "holder.csr.pem");
    await expect(readP12(file(tools), PASSPHRASE, wantedOf(tools))).rejects.toMatchObject({ code, algorithm });
  });
});

/** The content of the file with one more certificate bag in clear, and no MAC. */
function withBag(file: Uint8Array, certificate: Uint8Array): Bytes {
  const [version, authSafe] = members(parse(file));
  if (version === undefined || authSafe === undefined) throw new Error("no PFX");
  const value = der.sequence(der.oid("1.2.840.113549.1.9.22.1"), der.explicit(0, der.octets(certificate)));
  const bag = der.sequence(der.oid("1.2.840.113549.1.12.10.1.3"), der.explicit(0, value));
  const data = (octets: Bytes): Bytes =>
    der.sequence(der.oid("1.2.840.113549.1.7.1"), der.explicit(0, der.octets(octets)));
  const safes = members(parse(octetsOf(inside(members(authSafe)[1], 0)))).map((each) => each.raw);
  return der.sequence(version.raw, data(der.sequence(data(der.sequence(bag)), ...safes)));
}

describe("what else is in the file does not matter", () => {
  test("a certificate that nobody can read is skipped", async () => {
    const tools = holder();
    const file = withBag(exported(tools, PASSPHRASE, "-nomac"), Buffer.from("3003020100", "hex"));
    await signsFor(await readP12(file, PASSPHRASE, wantedOf(tools)), "holder");
  });

  test("a part in an algorithm that is not known here is skipped, and named only when it held what was wanted", async () => {
    const tools = holder();
    const bare = exported(tools, PASSPHRASE, "-nomac", "-certpbe", "CAMELLIA-256-CBC");
    await signsFor(await readP12(withBag(bare, tools.der("holder.pem")), PASSPHRASE, wantedOf(tools)), "holder");
    await expect(readP12(bare, PASSPHRASE, wantedOf(tools))).rejects.toMatchObject({
      code: "unsupported-algorithm",
      algorithm: "Camellia-256-CBC",
    });
  });

  test("of another certificate's file, the certificate is named and no key is opened", async () => {
    const tools = holder();
    const file = exported(tools, PASSPHRASE, "-legacy", "-keypbe", "PBE-SHA1-RC4-128");
    const wanted = { wanted: [digest(tools.der("ca.pem")).reverse()] };
    const fault: unknown = await readP12(file, PASSPHRASE, wanted).catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: "other-certificate", found: [{ commonName: "holder" }] });
  });

  test("of several that will do, the one that is valid longest is taken", async () => {
    const tools = holder();
    tools.openssl("req", "-new", "-key", "holder.key", "-subj", "/CN=holder", "-outform", "DER", "-out", "again.der");
    const longer = tools.certify("longer", tools.read("again.der"), "0x5512", 15);
    tools.write("both.pem", Buffer.concat([tools.read("holder.pem"), tools.read("longer.pem")]));
    const made = ["-export", "-inkey", "holder.key", "-in", "holder.pem", "-certfile", "both.pem"];
    tools.openssl("pkcs12", ...made, "-passout", `pass:${PASSPHRASE}`, "-out", "two.p12");
    const wanted = [digest(tools.der("holder.pem")), digest(longer)];
    expect((await readP12(tools.read("two.p12"), PASSPHRASE, { wanted })).certificates[0]).toEqual(longer);
  });
});

describe("no MAC", () => {
  test("the file opens for the wanted certificate only, and a wrong pass-phrase is called wrong", async () => {
    const tools = holder();
    const file = exported(tools, PASSPHRASE, "-nomac");
    expect((await readP12(file, PASSPHRASE, wantedOf(tools))).withoutMac).toBe(true);
    await expect(readP12(file, PASSPHRASE)).rejects.toMatchObject({ code: "no-mac" });
    await expect(readP12(file, "Abc-1234-xyy", wantedOf(tools))).rejects.toMatchObject({ code: "wrong-passphrase" });
  });

  test("another key beside the wanted certificate is no proof of anything", async () => {
    const tools = holder();
    tools.openssl("genpkey", ...EC_KEY, "-out", "other.key");
    const made = ["-nocerts", "-nomac", "-inkey", "other.key", "-in", "other.key", "-certfile", "holder.pem"];
    tools.openssl("pkcs12", "-export", ...made, "-passout", `pass:${PASSPHRASE}`, "-out", "theirs.p12");
    await expect(readP12(tools.read("theirs.p12"), PASSPHRASE, wantedOf(tools))).rejects.toMatchObject({
      code: "key-mismatch",
    });
  });
});

describe("what was meant by a pass-phrase", () => {
  const GENERATED = "ac3d-efhj-kmnp-rtuv-wxy7";
  test.each([
    ["spaces around it", PASSPHRASE, ` ${PASSPHRASE}\t`],
    ["full-width", PASSPHRASE, "Ａｂｃ－１２３４－ｘｙｚ"],
    ["of ours, in capital letters", GENERATED, GENERATED.toUpperCase()],
    ["of ours, without hyphens", GENERATED, GENERATED.replaceAll("-", "")],
    ["of ours, with long hyphens and spaces", GENERATED, GENERATED.replaceAll("-", " – ")],
    ["of ours, when the hyphens were never in it", GENERATED.replaceAll("-", ""), GENERATED],
    ["typed with Zhuyin on", "2391", "ㄉˇㄞㄅ"],
    ["decomposed by a Mac", "caf\u00e9", "cafe\u0301"],
    ["that really is full-width", "Ａｂｃ", "Ａｂｃ"],
    ["that really has a space at its end", `${PASSPHRASE} `, `${PASSPHRASE} `],
  ])("%s", async (_name, theirs, typed) => {
    const tools = holder();
    await signsFor(await readP12(exported(tools, theirs), typed, wantedOf(tools)), "holder");
  });

  test("nothing else is tried: capital and small letters of a pass-phrase of one's own differ", async () => {
    const tools = holder();
    const file = exported(tools, PASSPHRASE);
    await expect(readP12(file, PASSPHRASE.toLowerCase(), wantedOf(tools))).rejects.toMatchObject({
      code: "wrong-passphrase",
    });
  });
});

describe("a slow file", () => {
  const SLOW = ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-iter", "60000"];
  test("says how far it is, and never goes back", async () => {
    const tools = holder();
    const seen: number[] = [];
    await readP12(exported(tools, PASSPHRASE, ...SLOW), PASSPHRASE, {
      ...wantedOf(tools),
      waiting: { progress: (share) => void seen.push(share) },
    });
    expect(seen.length).toBeGreaterThan(20);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen[0]).toBeLessThan(0.2);
  });

  test("stops when it is told to", async () => {
    const tools = holder();
    const stop = new AbortController();
    const waiting = { signal: stop.signal, progress: () => stop.abort() };
    await expect(
      readP12(exported(tools, PASSPHRASE, ...SLOW), PASSPHRASE, { ...wantedOf(tools), waiting }),
    ).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("a key without its public half", () => {
  test("is completed from the certificate, so that every browser can write it out again", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const whole = parse(new Uint8Array(privateKey.export({ type: "pkcs8", format: "der" })));
    const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
    const [version, algorithm, octets] = members(whole);
    const number = members(parse(octetsOf(octets)))[1];
    if (!version || !algorithm || !number) throw new Error("no key");
    const bare = der.sequence(version.raw, algorithm.raw, der.octets(der.sequence(der.integer(1), number.raw)));
    const pair = await pairOf(bare, spki, true);
    expect(pair.pkcs8).toEqual(whole.raw);
    const stranger = new Uint8Array(
      generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" }),
    );
    await expect(pairOf(bare, stranger, true)).rejects.toMatchObject({ code: "key-mismatch" });
  });
});

describe.skipIf(missing("certtool"))("GnuTLS", () => {
  test.each(["aes-256", "3des-pkcs12", "rc2-40"])("certtool with %s", async (cipher) => {
    const tools = holder();
    const made = [
      "--to-p12",
      "--load-privkey",
      "holder.key",
      "--load-certificate",
      "holder.pem",
      "--load-ca-certificate",
      "ca.pem",
    ];
    tools.run(
      "certtool",
      ...made,
      "--pkcs-cipher",
      cipher,
      "--p12-name",
      "holder",
      "--password",
      PASSPHRASE,
      "--outder",
      "--outfile",
      "theirs.p12",
    );
    await signsFor(await readP12(tools.read("theirs.p12"), PASSPHRASE, wantedOf(tools)), "holder");
  });
});
