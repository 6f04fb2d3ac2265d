import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { readCertificate } from "../src/certificate.ts";
import { makeCsr } from "../src/csr.ts";
import { hex } from "../src/der.ts";
import { generate, type KeyAlgorithm } from "../src/keys.ts";
import { ecdsaDer, makeProof, type ProofStatement } from "../src/proof.ts";
import { type Bench, bench } from "./support/tools.ts";

const statement: ProofStatement = {
  portal: "https://example.test",
  order: "ord-1",
  nonce: new Uint8Array(32).fill(0x11),
  newSpkiSha256: new Uint8Array(32).fill(0x22),
  purpose: "rekey",
  at: new Date("2026-01-02T03:04:05.678Z"),
};

async function proven(tools: Bench, algorithm: KeyAlgorithm): Promise<Uint8Array> {
  const pair = await generate("browser", algorithm);
  tools.makeAuthority();
  const certificate = tools.certify("leaf", await makeCsr(pair), "0x00a1b2c3d4e5f60718");
  const proof = await makeProof(statement, certificate, pair.privateKey);
  tools.write("proof.der", proof);
  return certificate;
}

const verify = [
  "cms",
  "-verify",
  "-binary",
  "-inform",
  "DER",
  "-in",
  "proof.der",
  "-certfile",
  "leaf.pem",
  "-noverify",
];

describe("a proof of the old key", () => {
  test.each<KeyAlgorithm>(["P-256", "P-384", "RSA-2048"])(
    "of a %s key is a CMS that openssl verifies, over exactly the statement",
    async (algorithm) => {
      const tools = bench();
      const certificate = await proven(tools, algorithm);
      tools.openssl(...verify, "-out", "content.der");
      const digest = createHash("sha256").update(certificate).digest("hex");
      const expected = [
        `0c10${Buffer.from("chopmark-proof-1").toString("hex")}`,
        `0c14${Buffer.from("https://example.test").toString("hex")}`,
        `0c05${Buffer.from("ord-1").toString("hex")}`,
        `0420${"11".repeat(32)}`,
        `0420${"22".repeat(32)}`,
        `0420${digest}`,
        `0c05${Buffer.from("rekey").toString("hex")}`,
        `180f${Buffer.from("20260102030405Z").toString("hex")}`,
      ].join("");
      expect(hex(tools.read("content.der"))).toBe(`3081${(expected.length / 2).toString(16)}${expected}`);
    },
  );

  test("with its CA trusted is verified to the root, and is DER throughout", async () => {
    const tools = bench();
    await proven(tools, "P-256");
    tools.write("trust.pem", Buffer.concat([tools.read("ca.pem"), tools.read("root.pem")]));
    tools.openssl(
      "cms",
      "-verify",
      "-binary",
      "-inform",
      "DER",
      "-in",
      "proof.der",
      "-certfile",
      "leaf.pem",
      "-CAfile",
      "trust.pem",
      "-purpose",
      "any",
      "-out",
      "content.der",
    );
    tools.openssl("cms", "-cmsout", "-inform", "DER", "-in", "proof.der", "-outform", "DER", "-out", "again.der");
    expect(tools.read("again.der")).toEqual(tools.read("proof.der"));
  });

  test("shows its own content type, version 3, the issuer and serial, and no certificate", async () => {
    const tools = bench();
    await proven(tools, "P-256");
    const text = tools.openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", "proof.der");
    expect(text).toMatch(/d\.signedData:\s+version: 3/);
    expect(text).toContain("1.3.6.1.4.1.99999.17.1");
    expect(text).toMatch(/certificates:\s+<ABSENT>/);
    expect(text).toContain("issuerAndSerialNumber");
    expect(text).toMatch(/signerInfos:\s+version: 1/);
    expect(text).toContain("ecdsa-with-SHA256");
  });

  test("with one octet of the content changed does not verify", async () => {
    const tools = bench();
    await proven(tools, "P-256");
    const proof = Buffer.from(tools.read("proof.der"));
    proof[proof.indexOf("ord-1")] = 0x70;
    tools.write("proof.der", proof);
    expect(() => tools.openssl(...verify, "-out", "content.der")).toThrow("verification failure");
  });

  test("with a short nonce is not made", async () => {
    const tools = bench();
    const pair = await generate("browser", "P-256");
    tools.makeAuthority();
    const certificate = tools.certify("leaf", await makeCsr(pair), "0x01");
    await expect(makeProof({ ...statement, nonce: new Uint8Array(31) }, certificate, pair.privateKey)).rejects.toThrow(
      RangeError,
    );
  });

  test("r and s become INTEGERs: a high bit gets a sign octet, leading zeros go", () => {
    const raw = new Uint8Array(64);
    raw.set([0xff], 0);
    raw.set([0x01], 63);
    expect(hex(ecdsaDer(raw))).toBe(`3026022100ff${"00".repeat(31)}020101`);
  });
});

describe("a certificate", () => {
  test("reads as openssl reads it", async () => {
    const tools = bench();
    await proven(tools, "P-256");
    const certificate = readCertificate(tools.der("leaf.pem"));
    const text = tools.openssl("x509", "-in", "leaf.pem", "-noout", "-serial", "-enddate");
    expect(text.toLowerCase()).toContain(`serial=${certificate.serial}`);
    expect(text).toContain(`notAfter=${opensslTime(certificate.notAfter)}`);
    expect(certificate.commonName).toBe("chopmark");
    expect(certificate.issuerName).toBe("Example CA");
  });
});

function opensslTime(at: Date): string {
  const [, day, month, year, time] = /^\w+, (\d\d) (\w+) (\d+) ([\d:]+) GMT$/.exec(at.toUTCString()) ?? [];
  return `${month} ${String(Number(day)).padStart(2, " ")} ${time} ${year} GMT`;
}
