/** The page reads what other programs write, and says what is wrong when it cannot. */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { inside, members, octetsOf, parse } from "../src/ber.ts";
import { readCertificate } from "../src/certificate.ts";
import * as der from "../src/der.ts";
import { fromPkcs8, sha256, spkiOf } from "../src/keys.ts";
import { MAX_P12_SIZE, type P12Content, readP12 } from "../src/p12.ts";
import { type Bench, bench, EC_KEY, missing, RSA_KEY } from "./support/tools.ts";

const PASSPHRASE = "ac3d-efhj-kmnp";

function holder(algorithm: readonly string[] = EC_KEY): Bench {
  const tools = bench();
  tools.makeAuthority();
  tools.identity("holder", algorithm, "0x5511");
  return tools;
}

const exported = (tools: Bench, passphrase: string, ...options: readonly string[]): string =>
  tools.openssl(
    "pkcs12",
    "-export",
    "-inkey",
    "holder.key",
    "-in",
    "holder.pem",
    "-certfile",
    "holder-chain.pem",
    "-name",
    "holder name",
    "-passout",
    `pass:${passphrase}`,
    "-out",
    "theirs.p12",
    ...options,
  );

/** The key signs for the leaf, which is openssl's certificate. */
async function expectHolder(tools: Bench, content: P12Content, chainLength = 3): Promise<void> {
  const [leaf] = content.certificates;
  expect(leaf).toEqual(tools.der("holder.pem"));
  expect(content.certificates).toHaveLength(chainLength);
  const pair = await fromPkcs8(content.key, false);
  expect(await spkiOf(pair.publicKey)).toEqual(readCertificate(leaf ?? new Uint8Array(0)).spki);
}

const pbe = (key: string, certificate = key): readonly string[] => ["-legacy", "-keypbe", key, "-certpbe", certificate];
const VARIANTS: readonly (readonly [string, readonly string[]])[] = [
  ["modern defaults", []],
  ["-legacy (3DES key, RC2-40 certificates, SHA-1)", ["-legacy"]],
  ["3DES", pbe("PBE-SHA1-3DES")],
  ["two-key 3DES", pbe("PBE-SHA1-2DES")],
  ["RC2-128", pbe("PBE-SHA1-RC2-128")],
  ["RC2-40", pbe("PBE-SHA1-RC2-40")],
  ["AES-128", pbe("AES-128-CBC")],
  ["AES-192", pbe("AES-192-CBC")],
  ["AES-256", pbe("AES-256-CBC")],
  ["PBES2 with 3DES", pbe("DES-EDE3-CBC")],
  ["certificates in clear", ["-certpbe", "NONE"]],
  ["key in clear", ["-keypbe", "NONE"]],
  ["SHA-1 MAC", ["-macalg", "sha1"]],
  ["SHA-224 MAC", ["-macalg", "sha224"]],
  ["SHA-384 MAC", ["-macalg", "sha384"]],
  ["SHA-512 MAC", ["-macalg", "sha512"]],
  ["one iteration", ["-noiter", "-nomaciter"]],
  ["100,000 iterations", ["-iter", "100000"]],
];

/** The file with its MAC replaced by a PBMAC1 (RFC 9579 s.5); the iterations of MacData are left to their DEFAULT. */
function withPbmac1(file: Uint8Array, hash: "sha256" | "sha512"): Uint8Array {
  const [version, authSafe] = members(parse(file));
  if (version === undefined || authSafe === undefined) throw new Error("no PFX");
  const content = octetsOf(inside(members(authSafe)[1], 0));
  const salt = Buffer.from("a salt of nineteen.");
  const length = hash === "sha256" ? 32 : 64;
  const hmac = der.algorithm(hash === "sha256" ? "1.2.840.113549.2.9" : "1.2.840.113549.2.11", der.nil());
  const derivation = der.sequence(der.octets(salt), der.integer(2048), der.integer(length), hmac);
  const scheme = der.sequence(der.algorithm("1.2.840.113549.1.5.12", derivation), hmac);
  const digest = createHmac(hash, pbkdf2Sync(PASSPHRASE, salt, 2048, length, hash))
    .update(content)
    .digest();
  const digestInfo = der.sequence(der.algorithm("1.2.840.113549.1.5.14", scheme), der.octets(digest));
  return der.sequence(version.raw, authSafe.raw, der.sequence(digestInfo, der.octets(Buffer.from("NOT USED"))));
}

describe("a .p12 of openssl", () => {
  test.each(VARIANTS)("%s, EC", async (_name, options) => {
    const tools = holder();
    exported(tools, PASSPHRASE, ...options);
    const content = await readP12(tools.read("theirs.p12"), PASSPHRASE);
    await expectHolder(tools, content);
    expect(content.friendlyName).toBe("holder name");
  });

  test.each(VARIANTS.slice(0, 2))("%s, RSA", async (_name, options) => {
    const tools = holder(RSA_KEY);
    exported(tools, PASSPHRASE, ...options);
    await expectHolder(tools, await readP12(tools.read("theirs.p12"), PASSPHRASE));
  });

  test.each(["", "密碼 é", "🔑 key", "a"])("under the pass-phrase %j, modern and legacy", async (passphrase) => {
    const tools = holder();
    for (const options of [[], ["-legacy"]]) {
      exported(tools, passphrase, ...options);
      await expectHolder(tools, await readP12(tools.read("theirs.p12"), passphrase));
    }
  });

  test("a Chinese name comes back", async () => {
    const tools = holder();
    exported(tools, PASSPHRASE, "-name", "王小明 憑證");
    expect((await readP12(tools.read("theirs.p12"), PASSPHRASE)).friendlyName).toBe("王小明 憑證");
  });
});

describe("where PBKDF2 takes no empty key, as in WebKitGTK", () => {
  const strict = new Proxy(crypto.subtle, {
    get: (subtle, name) =>
      name !== "importKey"
        ? Reflect.get(subtle, name, subtle).bind(subtle)
        : (format: "raw", key: Uint8Array<ArrayBuffer>, algorithm: string, ...rest: [boolean, KeyUsage[]]) =>
            key.length === 0 && algorithm === "PBKDF2"
              ? Promise.reject(new DOMException("The operation failed", "OperationError"))
              : subtle.importKey(format, key, algorithm, ...rest),
  });
  const getRandomValues = crypto.getRandomValues.bind(crypto);
  beforeEach(() => vi.stubGlobal("crypto", { subtle: strict, getRandomValues }));
  afterEach(() => vi.unstubAllGlobals());

  test.each([
    ["no pass-phrase", "", []],
    ["a pass-phrase and no MAC, so that none is tried on the key", PASSPHRASE, ["-nomac"]],
  ])("a file with %s opens", async (_what, passphrase, options) => {
    const tools = holder();
    exported(tools, passphrase, ...options);
    const wanted = [await sha256(tools.der("holder.pem"))];
    const content = await readP12(tools.read("theirs.p12"), passphrase, { wanted });
    await expectHolder(tools, content);
  });

  test("a file with PBMAC1 opens, for which none is tried first", async () => {
    const tools = holder();
    exported(tools, PASSPHRASE);
    await expectHolder(tools, await readP12(withPbmac1(tools.read("theirs.p12"), "sha256"), PASSPHRASE));
  });
});

describe("a .p12 of another program", () => {
  test.skipIf(missing("pk12util"))("NSS, with its indefinite lengths", async () => {
    const tools = holder();
    exported(tools, PASSPHRASE);
    tools.write("pw", `${PASSPHRASE}\n`);
    tools.write("db-pw", "\n");
    const database = ["-d", `sql:${tools.directory}`, "-k", "db-pw", "-w", "pw"];
    tools.run("certutil", "-N", "-d", `sql:${tools.directory}`, "--empty-password");
    tools.run("pk12util", "-i", "theirs.p12", ...database);
    tools.run("pk12util", "-o", "nss.p12", "-n", "holder name", ...database);
    await expectHolder(tools, await readP12(tools.read("nss.p12"), PASSPHRASE));
  });

  test.skipIf(missing("keytool"))("Java, with its new and its old algorithms", async () => {
    const tools = holder(RSA_KEY);
    exported(tools, PASSPHRASE);
    for (const options of [[], ["-J-Dkeystore.pkcs12.legacy"]]) {
      const target = `java${options.length}.p12`;
      tools.run(
        "keytool",
        ...options,
        "-importkeystore",
        "-srckeystore",
        "theirs.p12",
        "-srcstoretype",
        "PKCS12",
        "-srcstorepass",
        PASSPHRASE,
        "-destkeystore",
        target,
        "-deststoretype",
        "PKCS12",
        "-deststorepass",
        PASSPHRASE,
        "-noprompt",
      );
      await expectHolder(tools, await readP12(tools.read(target), PASSPHRASE));
    }
  });

  test.each(["sha256", "sha512"] as const)("PBMAC1 with HMAC-%s, computed by another library", async (hash) => {
    const tools = holder();
    exported(tools, PASSPHRASE);
    tools.write("pbmac1.p12", withPbmac1(tools.read("theirs.p12"), hash));
    await expectHolder(tools, await readP12(tools.read("pbmac1.p12"), PASSPHRASE));
    await expect(readP12(tools.read("pbmac1.p12"), "ac3d-efhj-kmnq")).rejects.toMatchObject({
      code: "wrong-passphrase",
    });
  });
});

describe("a file that cannot be opened says why", () => {
  test.each<readonly [string, readonly string[]]>([
    ["modern", []],
    ["legacy", ["-legacy"]],
  ])("a wrong pass-phrase, %s", async (_name, options) => {
    const tools = holder();
    exported(tools, PASSPHRASE, ...options);
    await expect(readP12(tools.read("theirs.p12"), "ac3d-efhj-kmnq")).rejects.toMatchObject({
      code: "wrong-passphrase",
    });
    await expect(readP12(tools.read("theirs.p12"), "")).rejects.toMatchObject({ code: "wrong-passphrase" });
    await expect(readP12(tools.read("theirs.p12"), "密")).rejects.toMatchObject({ code: "wrong-passphrase" });
  });

  test.each<readonly [string, readonly string[]]>([
    ["PBE-SHA1-RC4-128", pbe("PBE-SHA1-RC4-128")],
    ["Camellia-256-CBC", pbe("CAMELLIA-256-CBC")],
    ["MD5", ["-macalg", "md5"]],
    ["SHA3-256", ["-macalg", "sha3-256"]],
  ])("the algorithm %s is named", async (algorithm, options) => {
    const tools = holder();
    exported(tools, PASSPHRASE, ...options);
    await expect(readP12(tools.read("theirs.p12"), PASSPHRASE)).rejects.toMatchObject({
      code: "unsupported-algorithm",
      algorithm,
    });
  });

  test("a key of a kind that is not used here", async () => {
    const tools = holder(["-algorithm", "ED25519"]);
    exported(tools, PASSPHRASE);
    await expect(readP12(tools.read("theirs.p12"), PASSPHRASE)).rejects.toMatchObject({ code: "unsupported-key" });
  });

  test("more iterations than a computer should be made to do", async () => {
    const tools = holder();
    exported(tools, PASSPHRASE);
    const [version, authSafe, macData] = members(parse(tools.read("theirs.p12")));
    const [digest, salt] = members(macData);
    if (!version || !authSafe || !digest || !salt) throw new Error("no PFX");
    const file = der.sequence(version.raw, authSafe.raw, der.sequence(digest.raw, salt.raw, der.integer(20_000_001)));
    await expect(readP12(file, PASSPHRASE)).rejects.toMatchObject({ code: "too-many-iterations" });
  });

  test("certificates only, a key only, and a key with the certificate of another", async () => {
    const tools = holder();
    const opened = (...options: readonly string[]) => {
      tools.openssl("pkcs12", "-export", "-passout", `pass:${PASSPHRASE}`, "-out", "theirs.p12", ...options);
      return readP12(tools.read("theirs.p12"), PASSPHRASE);
    };
    await expect(opened("-nokeys", "-in", "holder.pem")).rejects.toMatchObject({ code: "no-key" });
    await expect(opened("-nocerts", "-inkey", "holder.key", "-in", "holder.key")).rejects.toMatchObject({
      code: "no-certificate",
    });
    const strangers = ["-nocerts", "-inkey", "holder.key", "-in", "holder.key", "-certfile", "ca.pem"];
    await expect(opened(...strangers)).rejects.toMatchObject({ code: "key-mismatch" });
  });

  test("too big, empty, cut, and no .p12 at all", async () => {
    const tools = holder();
    exported(tools, PASSPHRASE);
    const file = tools.read("theirs.p12");
    await expect(readP12(new Uint8Array(MAX_P12_SIZE + 1), PASSPHRASE)).rejects.toMatchObject({ code: "too-big" });
    await expect(readP12(new Uint8Array(0), PASSPHRASE)).rejects.toMatchObject({ code: "empty-file" });
    await expect(readP12(file.slice(0, 700), PASSPHRASE)).rejects.toMatchObject({ code: "cut-short" });
    for (const broken of [Buffer.from("no certificate"), Uint8Array.of(0x30, 0x00)]) {
      await expect(readP12(broken, PASSPHRASE)).rejects.toMatchObject({ code: "malformed" });
    }
  });
});

describe("of two identities", () => {
  test("the wanted certificate is chosen, else the one that is valid longest", async () => {
    const tools = holder();
    tools.openssl("req", "-new", "-key", "holder.key", "-subj", "/CN=holder", "-outform", "DER", "-out", "again.der");
    const longer = tools.certify("longer", tools.read("again.der"), "0x5512", 15);
    tools.write("both.pem", Buffer.concat([tools.read("holder.pem"), tools.read("longer.pem")]));
    tools.openssl(
      "pkcs12",
      "-export",
      "-inkey",
      "holder.key",
      "-in",
      "longer.pem",
      "-certfile",
      "both.pem",
      "-passout",
      `pass:${PASSPHRASE}`,
      "-out",
      "two.p12",
    );
    const wanted = createHash("sha256").update(tools.der("holder.pem")).digest();
    expect((await readP12(tools.read("two.p12"), PASSPHRASE)).certificates[0]).toEqual(longer);
    expect((await readP12(tools.read("two.p12"), PASSPHRASE, { wanted: [wanted] })).certificates[0]).toEqual(
      tools.der("holder.pem"),
    );
  });
});
