import { createHash, createPublicKey } from "node:crypto";
import { describe, expect, test } from "vitest";
import { makeCsr } from "../src/csr.ts";
import { fromPkcs8, generate, type KeyAlgorithm, pkcs8Of, spkiOf, spkiSha256, unwrap, wrap } from "../src/keys.ts";
import { bench, EC_KEY, RSA_KEY } from "./support/tools.ts";

const signs = async (privateKey: CryptoKey, publicKey: CryptoKey): Promise<boolean> => {
  const algorithm = { name: privateKey.algorithm.name, hash: "SHA-256" };
  const message = new TextEncoder().encode("a message");
  return crypto.subtle.verify(algorithm, publicKey, await crypto.subtle.sign(algorithm, privateKey, message), message);
};

describe("keys", () => {
  test("a browser key can never be exported or wrapped", async () => {
    const { privateKey } = await generate("browser", "P-256");
    expect(privateKey.extractable).toBe(false);
    await expect(crypto.subtle.exportKey("pkcs8", privateKey)).rejects.toThrow();
    await expect(wrap(privateKey, "a pass-phrase")).rejects.toMatchObject({ code: "not-extractable" });
  });

  test.each<KeyAlgorithm>(["P-256", "RSA-2048"])("a %s file key comes back out of its wrapping", async (algorithm) => {
    const pair = await generate("file", algorithm);
    const wrapped = await wrap(pair.privateKey, "ac3d-efhj");
    const again = await unwrap(wrapped, "ac3d-efhj");
    expect(wrapped.iterations).toBe(600_000);
    expect(again.algorithm).toBe(algorithm);
    expect(await pkcs8Of(again.privateKey)).toEqual(await pkcs8Of(pair.privateKey));
    expect(await signs(again.privateKey, pair.publicKey)).toBe(true);
    expect(await spkiSha256(again.publicKey)).toBe(await spkiSha256(pair.publicKey));
  });

  test("a wrong pass-phrase and a changed octet both say so", async () => {
    const wrapped = await wrap((await generate("file", "P-256")).privateKey, "ac3d-efhj");
    await expect(unwrap(wrapped, "ac3d-efhk")).rejects.toMatchObject({ code: "wrong-passphrase" });
    const ciphertext = wrapped.ciphertext.map((octet, i) => (i === 5 ? octet ^ 1 : octet));
    await expect(unwrap({ ...wrapped, ciphertext }, "ac3d-efhj")).rejects.toMatchObject({ code: "wrong-passphrase" });
  });

  test.each([1, 599_999, 4_000_000_000])("a wrapping of %d iterations is not run", async (iterations) => {
    const none = new Uint8Array(16);
    const wrapped = { salt: none, iv: none.slice(4), ciphertext: none, iterations };
    await expect(unwrap(wrapped, "ac3d-efhj")).rejects.toMatchObject({ code: "damaged" });
  });

  test("the SPKI digest is what another library computes", async () => {
    const { publicKey } = await generate("browser", "P-256");
    const { kty = "", crv = "", x = "", y = "" } = await crypto.subtle.exportKey("jwk", publicKey);
    const spki = createPublicKey({ key: { kty, crv, x, y }, format: "jwk" }).export({ type: "spki", format: "der" });
    expect(await spkiSha256(publicKey)).toBe(createHash("sha256").update(spki).digest("hex"));
  });

  test.each([
    ["EC", EC_KEY],
    ["RSA", RSA_KEY],
  ])("the public half of an openssl %s key is openssl's", async (_name, algorithm) => {
    const tools = bench();
    tools.openssl("genpkey", ...algorithm, "-out", "a.key");
    tools.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "a.key", "-outform", "DER", "-out", "a.der");
    tools.openssl("pkey", "-in", "a.key", "-pubout", "-outform", "DER", "-out", "a.spki");
    const pair = await fromPkcs8(tools.read("a.der"), false);
    expect(await spkiOf(pair.publicKey)).toEqual(tools.read("a.spki"));
    expect(pair.privateKey.extractable).toBe(false);
  });

  test("a curve of another kind is named, and noise is damaged", async () => {
    const tools = bench();
    tools.openssl("genpkey", "-algorithm", "ED25519", "-outform", "DER", "-out", "a.der");
    await expect(fromPkcs8(tools.read("a.der"), false)).rejects.toMatchObject({ code: "unsupported-key" });
    await expect(fromPkcs8(Uint8Array.of(1, 2, 3), false)).rejects.toMatchObject({ code: "damaged" });
  });

  test.each<KeyAlgorithm>(["P-256", "P-384", "RSA-2048"])(
    "openssl verifies the request of a %s browser key",
    async (algorithm) => {
      const tools = bench();
      tools.write("a.csr", await makeCsr(await generate("browser", algorithm)));
      const text = tools.openssl("req", "-inform", "DER", "-in", "a.csr", "-noout", "-verify", "-subject", "-text");
      expect(text).toContain("subject=CN = chopmark");
      expect(text).toMatch(/Signature Algorithm: (ecdsa-with-SHA256|sha256WithRSAEncryption)/);
    },
  );
});

describe("a request that has to carry names", () => {
  const SUBJECT = [
    { type: "C", value: "TW" },
    { type: "O", value: '好景期貨 "甲", 乙+丙=丁' },
    { type: "OU", value: "#0a0b" },
    { type: "CN", value: "王試一" },
    { type: "serialNumber", value: "42" },
  ];

  test("names them in their order, every value as it was given", async () => {
    const tools = bench();
    tools.write("a.csr", await makeCsr(await generate("browser", "P-256"), SUBJECT));
    const shown = ["-noout", "-verify", "-subject", "-nameopt", "esc_ctrl,utf8,sep_multiline,sname"];
    const said = tools.openssl("req", "-inform", "DER", "-in", "a.csr", ...shown);
    const lines = said
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line.includes("="));
    expect(lines.slice(1)).toEqual(SUBJECT.map(({ type, value }) => `${type}=${value}`));
    expect(tools.openssl("req", "-inform", "DER", "-in", "a.csr", "-noout", "-text")).toMatch(/Attributes:\s+\(none\)/);
  });

  test("writes them as UTF8String, country and number as PrintableString (RFC 5280 appendix A.1)", async () => {
    const tools = bench();
    tools.write("a.csr", await makeCsr(await generate("browser", "P-256"), SUBJECT));
    const parsed = tools.openssl("asn1parse", "-inform", "DER", "-in", "a.csr");
    const types = [...parsed.matchAll(/prim:\s+(UTF8STRING|PRINTABLESTRING|BMPSTRING|T61STRING|IA5STRING)/g)].map(
      (found) => found[1],
    );
    expect(types).toEqual(["PRINTABLESTRING", "UTF8STRING", "UTF8STRING", "UTF8STRING", "PRINTABLESTRING"]);
  });

  test("is what a CA certifies as it stands", async () => {
    const tools = bench();
    tools.makeAuthority();
    tools.certify("leaf", await makeCsr(await generate("browser", "P-256"), SUBJECT), "0x01");
    const names = (...source: readonly string[]) =>
      tools.openssl(...source, "-noout", "-subject", "-nameopt", "esc_ctrl,utf8,sep_multiline,sname");
    expect(names("x509", "-in", "leaf.pem")).toBe(names("req", "-in", "leaf.csr.pem"));
  });

  test("is not made with an attribute that nobody knows", async () => {
    await expect(makeCsr(await generate("browser", "P-256"), [{ type: "DC", value: "x" }])).rejects.toThrow("DC");
  });
});
