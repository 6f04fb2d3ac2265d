/** What stands in a certificate file beside the wanted key, and pass-phrases as other programs have understood them. */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { afterAll, describe, expect, test } from "vitest";
import { inside, members, octetsOf, parse } from "../src/ber.ts";
import * as der from "../src/der.ts";
import type { Bytes } from "../src/der.ts";
import { P12Error, readP12, type Request } from "../src/p12.ts";
import { explainFile } from "../src/pages/file-faults.ts";
import { Bench, EC_KEY } from "./support/tools.ts";

const PASSPHRASE = "Abc-1234-xyz";
const DATA = "1.2.840.113549.1.7.1";
const tools = new Bench();
afterAll(() => tools.close());
tools.makeAuthority();
tools.identity("holder", EC_KEY, "0x5511");
tools.identity("other", [...EC_KEY, "-pkeyopt", "ec_param_enc:named_curve"], "0x5513");
const HOLDER = tools.der("holder.pem");
const digest = (certificate: Uint8Array): Uint8Array =>
  new Uint8Array(createHash("sha256").update(certificate).digest());
/** As the page asks: the server has the certificate. */
const REQUEST: Request = { wanted: [digest(HOLDER)], known: HOLDER };

/** A file of openssl; `passout` may name a file. */
function exported(passout: string, ...options: readonly string[]): Bytes {
  const parts = options.includes("-nocerts") || options.includes("-in") ? [] : ["-in", "holder.pem"];
  const key = options.includes("-inkey") || options.includes("-nokeys") ? [] : ["-inkey", "holder.key"];
  tools.openssl("pkcs12", "-export", ...key, ...parts, "-passout", passout, "-out", "theirs.p12", ...options);
  return tools.read("theirs.p12");
}

async function opens(file: Uint8Array, passphrase = PASSPHRASE, more: Request = {}): Promise<void> {
  const content = await readP12(file, passphrase, { ...REQUEST, ...more });
  expect(content.certificates[0]).toEqual(HOLDER);
}

const refused = async (file: Uint8Array, code: string, algorithm: string | null, request = REQUEST): Promise<void> =>
  expect(readP12(file, PASSPHRASE, request)).rejects.toMatchObject({ code, algorithm });

const info = (type: string, content: Bytes): Bytes => der.sequence(der.oid(type), der.explicit(0, content));
const data = (octets: Uint8Array): Bytes => info(DATA, der.octets(octets));

/** The parts of a PFX: its version, its safes, its seal. */
function taken(file: Uint8Array): { version: Bytes; safes: readonly Bytes[]; authSafe: Bytes; seal: Bytes } {
  const [version, authSafe, seal] = members(parse(file));
  if (version === undefined || authSafe === undefined) throw new Error("no PFX");
  const safes = members(parse(octetsOf(inside(members(authSafe)[1], 0)))).map((safe) => safe.raw);
  return { version: version.raw, safes, authSafe: authSafe.raw, seal: seal?.raw ?? new Uint8Array(0) };
}

/** The file without a seal, with more safes before its own. */
function beside(file: Uint8Array, ...more: readonly Bytes[]): Bytes {
  const { version, safes } = taken(file);
  return der.sequence(version, data(der.sequence(...more, ...safes)));
}

const bag = (kind: number, value: Bytes): Bytes =>
  der.sequence(der.oid(`1.2.840.113549.1.12.10.1.${kind}`), der.explicit(0, value));

describe("a part that nobody can read does not matter beside the wanted one", () => {
  const PBES2 = "1.2.840.113549.1.5.13";
  const encrypted = (...more: readonly Bytes[]): Bytes =>
    info("1.2.840.113549.1.7.6", der.sequence(der.integer(0), der.sequence(der.oid(DATA), ...more)));
  test.each([
    ["octets that are no DER", data(Uint8Array.of(255, 255, 255))],
    ["a part for the owner of another certificate", info("1.2.840.113549.1.7.3", der.sequence())],
    ["a bag without anything in it", data(der.sequence(der.sequence(der.oid("1.2.840.113549.1.12.10.1.3"))))],
    ["a certificate bag with something else in it", data(der.sequence(bag(3, der.octets(Uint8Array.of(1)))))],
    ["a key bag with something else in it", data(der.sequence(bag(2, der.octets(Uint8Array.of(1)))))],
    ["a key bag with a scheme that is none", data(der.sequence(bag(2, der.sequence(der.nil(), der.octets()))))],
    [
      "an encrypted part with parameters that are none",
      encrypted(der.algorithm(PBES2, der.nil()), der.implicit(0, new Uint8Array(16))),
    ],
    ["an encrypted part without its content", encrypted(der.algorithm(PBES2, der.nil()))],
  ])("%s", async (_name, part) => opens(beside(exported(`pass:${PASSPHRASE}`, "-nomac"), part)));

  test("alone it is damage, or named", async () => {
    const { version } = taken(exported(`pass:${PASSPHRASE}`, "-nomac"));
    const only = (part: Bytes): Bytes => der.sequence(version, data(der.sequence(part)));
    await refused(only(data(Uint8Array.of(255, 255, 255))), "malformed", null);
    const name = "enveloped PKCS#12 (public-key privacy)";
    await refused(only(info("1.2.840.113549.1.7.3", der.sequence())), "unsupported-algorithm", name);
  });

  test("a length with zeros before it is a length (X.690 s.8.1.3.5)", async () => {
    const file = exported(`pass:${PASSPHRASE}`);
    const size = new Uint8Array(new BigUint64Array([BigInt(file.length - 4)]).buffer).reverse();
    await opens(der.concat(Uint8Array.of(0x30, 0x88), size, file.subarray(4)));
  });
});

describe("the wanted certificate is not in the file", () => {
  test("its key beside a CA's certificate is enough", async () => {
    const file = exported(`pass:${PASSPHRASE}`, "-nocerts", "-certfile", "ca.pem");
    await opens(file);
    await refused(file, "key-mismatch", null, {});
  });

  test("its key with an older certificate of the same key is enough", async () => {
    tools.openssl("req", "-new", "-key", "holder.key", "-subj", "/CN=holder", "-outform", "DER", "-out", "older.der");
    tools.certify("older", tools.read("older.der"), "0x5510", 3);
    await opens(exported(`pass:${PASSPHRASE}`, "-in", "older.pem"));
  });

  test("its key where the certificates are in an algorithm that is not known here is enough", async () => {
    await opens(exported(`pass:${PASSPHRASE}`, "-certpbe", "CAMELLIA-256-CBC"));
  });

  test("somebody else's file is still named by its certificate, and one without a key has none", async () => {
    const theirs = exported(`pass:${PASSPHRASE}`, "-inkey", "other.key", "-in", "other.pem");
    const fault: unknown = await readP12(theirs, PASSPHRASE, REQUEST).catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: "other-certificate", found: [{ commonName: "other" }] });
    await refused(exported(`pass:${PASSPHRASE}`, "-nokeys", "-in", "ca.pem"), "no-key", null);
  });
});

describe("a key that is not used here is named with its size or curve", () => {
  test.each([
    ["EC P-521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]],
    ["EC secp256k1", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]],
    [
      "EC (explicit parameters)",
      ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
    ],
    ["RSA 1024", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]],
    ["Ed448", ["-algorithm", "ED448"]],
  ])("%s", async (name, algorithm) => {
    tools.openssl("genpkey", ...algorithm, "-out", "strange.key");
    tools.openssl("req", "-x509", "-new", "-key", "strange.key", "-subj", "/CN=strange", "-out", "strange.pem");
    const file = exported(`pass:${PASSPHRASE}`, "-inkey", "strange.key", "-in", "strange.pem");
    await refused(file, "unsupported-key", name, {});
  });
});

test("a curve written out in numbers is the one that the certificate names", async () => {
  tools.openssl("ec", "-in", "holder.key", "-param_enc", "explicit", "-out", "explicit.key");
  tools.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "explicit.key", "-outform", "DER", "-out", "explicit.der");
  await opens(tools.read("explicit.der"));
  tools.openssl("ec", "-in", "other.key", "-param_enc", "explicit", "-out", "explicit.key");
  await refused(tools.read("explicit.key"), "key-mismatch", null);
});

describe("a pass-phrase as another program has understood it", () => {
  test.each([
    ["with a line end", `${PASSPHRASE}\n`],
    ["with the half of a line end of Windows", `${PASSPHRASE}\r`],
    ["with a line end of Windows", `${PASSPHRASE}\r\n`],
    ["with the space before a pipe", `${PASSPHRASE} `],
    ["with the mark of UTF-8", `\ufeff${PASSPHRASE}`],
  ])("%s", async (_name, theirs) => opens(exported(`pass:${theirs}`)));

  test.each([
    ["without a terminator", der.utf16be(PASSPHRASE)],
    ["in nothing but UTF-8", Buffer.from(PASSPHRASE)],
  ])("%s, by hand", async (_how, octets) => {
    const content = taken(exported(`pass:${PASSPHRASE}`)).authSafe;
    const sealed = octetsOf(inside(members(parse(content))[1], 0));
    const salt = Buffer.from("eight..8");
    const mac = createHmac("sha256", kdf(octets, salt)).update(sealed).digest();
    const digestInfo = der.sequence(der.algorithm("2.16.840.1.101.3.4.2.1", der.nil()), der.octets(mac));
    await opens(der.sequence(der.integer(3), content, der.sequence(digestInfo, der.octets(salt))));
  });

  test.each([
    ["Big5", "憑證密碼一二", "be cc c3 d2 b1 4b bd 58 a4 40 a4 47"],
    ["GBK", "凭证密码", "c6 be d6 a4 c3 dc c2 eb"],
    ["Latin-1", "café-Größe", "63 61 66 e9 2d 47 72 f6 df 65"],
  ])("in octets of a console with %s, by OpenSSL 3 and in its old way", async (_page, typed, octets) => {
    tools.write("secret", Buffer.from(`${octets} 0a`.replaceAll(" ", ""), "hex"));
    await opens(exported("file:secret"), typed);
    await opens(exported("file:secret", "-legacy"), typed);
  });

  test("a slow file is not tried so often", async () => {
    await opens(exported(`pass:${PASSPHRASE}\n`, "-nomac", "-iter", "20000"));
    for (const seal of [["-nomac"], ["-macalg", "sha1"]])
      await refused(exported(`pass:${PASSPHRASE}\n`, ...seal, "-iter", "20001"), "wrong-passphrase", null);
  });
});

describe("a pass-phrase as a person has copied it", () => {
  test.each([
    ["in quotation marks", PASSPHRASE, `"${PASSPHRASE}"`],
    ["in corner brackets", PASSPHRASE, `「${PASSPHRASE}」`],
    ["with long hyphens", PASSPHRASE, PASSPHRASE.replaceAll("-", "–")],
    ["with a zero at its end", PASSPHRASE, `${PASSPHRASE}\0`],
    ["with what cannot be seen", PASSPHRASE, "\u200eAbc-\u200b1234-xyz\u200f"],
    ["with the quotation marks of a word processor", 'it\'s "ok"', "it’s “ok”"],
    ["with Arabic digits", "20261128", "٢٠٢٦١١٢٨"],
  ])("%s", async (_name, theirs, typed) => opens(exported(`pass:${theirs}`), typed));
});

describe("the seal", () => {
  const under = (file: Uint8Array, seal: Bytes): Bytes => {
    const { version, authSafe } = taken(file);
    return der.sequence(version, authSafe, seal);
  };

  test("of another file is told apart from a wrong pass-phrase, in words and with a next step", async () => {
    const file = under(exported(`pass:${PASSPHRASE}`), taken(exported("pass:Other-1234")).seal);
    await refused(file, "seal-broken", null);
    await expect(readP12(file, "Abc-1234-xyy", REQUEST)).rejects.toMatchObject({ code: "wrong-passphrase" });
    const told = explainFile(
      new P12Error("seal-broken"),
      { passphrase: "", keyPassphrase: "" },
      { serial: "1", issuer: "Example CA", issuerName: "Example CA" },
    );
    expect(told.field).toBe("old_file");
    expect(told.sentence).toContain("Please copy the file again");
  });

  test("under another pass-phrase opens when both are typed, in either order", async () => {
    const content = taken(exported(`pass:${PASSPHRASE}`)).authSafe;
    const octets = octetsOf(inside(members(parse(content))[1], 0));
    const file = der.sequence(der.integer(3), content, pbmac1(octets, Buffer.from("Seal-1234"), true));
    await opens(file, PASSPHRASE, { keyPassphrase: "Seal-1234" });
    await opens(file, "Seal-1234", { keyPassphrase: PASSPHRASE });
  });

  test("of RFC 9579 may be under UTF-16; without a key length it is named", async () => {
    const content = taken(exported(`pass:${PASSPHRASE}`)).authSafe;
    const octets = octetsOf(inside(members(parse(content))[1], 0));
    const wide = der.concat(der.utf16be(PASSPHRASE), new Uint8Array(2));
    await opens(der.sequence(der.integer(3), content, pbmac1(octets, wide, true)));
    const file = der.sequence(der.integer(3), content, pbmac1(octets, Buffer.from(PASSPHRASE), false));
    await refused(file, "unsupported-algorithm", "PBMAC1 without keyLength");
  });

  test("of a file that Windows protects for an account is named", async () => {
    const secret = der.sequence(der.oid("1.3.6.1.4.1.311.17.4"), der.explicit(0, der.octets(new Uint8Array(64))));
    const { safes } = taken(exported("pass:made-by-windows"));
    const content = der.sequence(data(der.sequence(bag(5, secret))), ...safes);
    const seal = pbmac1(content, Buffer.from("made-by-windows"), true);
    await refused(der.sequence(der.integer(3), data(content), seal), "unsupported-algorithm", "Windows DPAPI-NG");
  });
});

/** RFC 7292 app. B.2 for a MAC of one round, whose 32 octets are the first digest. */
function kdf(password: Uint8Array, salt: Uint8Array): Uint8Array {
  const block = (octets: Uint8Array): Buffer => Buffer.alloc(64 * Math.ceil(octets.length / 64), octets);
  return createHash("sha256").update(Buffer.alloc(64, 3)).update(block(salt)).update(block(password)).digest();
}

/** By Node's own functions (RFC 9579 s.5). */
function pbmac1(content: Uint8Array, password: Uint8Array, keyLength: boolean): Bytes {
  const salt = Buffer.from("sixteen octets..");
  const prf = der.algorithm("1.2.840.113549.2.9", der.nil());
  const length = keyLength ? [der.integer(32)] : [];
  const derivation = der.sequence(der.octets(salt), der.integer(2048), ...length, prf);
  const scheme = der.sequence(der.algorithm("1.2.840.113549.1.5.12", derivation), prf);
  const mac = createHmac("sha256", pbkdf2Sync(password, salt, 2048, 32, "sha256"))
    .update(content)
    .digest();
  const digestInfo = der.sequence(der.algorithm("1.2.840.113549.1.5.14", scheme), der.octets(mac));
  return der.sequence(digestInfo, der.octets(salt), der.integer(1));
}
