/** Other programs read what the page writes. */
import { describe, expect, test } from "vitest";
import { makeCsr } from "../src/csr.ts";
import { generate, type KeyAlgorithm, pkcs8Of } from "../src/keys.ts";
import { type P12Parts, readP12, writeP12 } from "../src/p12.ts";
import { type Bench, bench, missing } from "./support/tools.ts";

const PASSPHRASE = "ac3d-efhj kmnp~!";

async function written(tools: Bench, algorithm: KeyAlgorithm): Promise<P12Parts> {
  const pair = await generate("file", algorithm);
  tools.makeAuthority();
  const leaf = tools.certify("leaf", await makeCsr(pair), "0x0102030405");
  const certificates = [leaf, tools.der("ca.pem"), tools.der("root.pem")];
  const parts = {
    key: await pkcs8Of(pair.privateKey),
    certificates,
    friendlyName: "F014000-1234567",
    passphrase: PASSPHRASE,
  };
  tools.write("ours.p12", await writeP12(parts));
  return parts;
}

describe.each<KeyAlgorithm>(["P-256", "RSA-2048"])("a .p12 of a %s key", (algorithm) => {
  test("opens in openssl with key, chain, name and the promised algorithms", async () => {
    const tools = bench();
    const parts = await written(tools, algorithm);
    tools.openssl(
      "pkcs12",
      "-in",
      "ours.p12",
      "-passin",
      `pass:${PASSPHRASE}`,
      "-nodes",
      "-nocerts",
      "-out",
      "key.pem",
    );
    tools.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der");
    tools.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub");
    tools.openssl("x509", "-in", "leaf.pem", "-pubkey", "-noout", "-out", "leaf.pub");
    expect(tools.read("key.pub")).toEqual(tools.read("leaf.pub"));
    const all = tools.openssl("pkcs12", "-in", "ours.p12", "-passin", `pass:${PASSPHRASE}`, "-nokeys");
    expect(all.match(/BEGIN CERTIFICATE/g)).toHaveLength(parts.certificates.length);
    expect(all).toContain("friendlyName: F014000-1234567");
    const { stderr } = tools.capture(
      "openssl",
      "pkcs12",
      "-in",
      "ours.p12",
      "-passin",
      `pass:${PASSPHRASE}`,
      "-info",
      "-noout",
    );
    expect(stderr).toContain("MAC: sha256, Iteration 100000");
    expect(stderr.match(/PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256/g)).toHaveLength(2);
  });

  test.skipIf(missing("pk12util"))("opens in NSS", async () => {
    const tools = bench();
    await written(tools, algorithm);
    tools.write("pw", `${PASSPHRASE}\n`);
    tools.write("db-pw", "\n");
    tools.run("certutil", "-N", "-d", `sql:${tools.directory}`, "--empty-password");
    tools.run("pk12util", "-i", "ours.p12", "-d", `sql:${tools.directory}`, "-w", "pw", "-k", "db-pw");
    expect(tools.run("certutil", "-L", "-d", `sql:${tools.directory}`)).toMatch(/F014000-1234567\s+u,u,u/);
    expect(tools.run("certutil", "-K", "-d", `sql:${tools.directory}`)).toContain("F014000-1234567");
  });

  test.skipIf(missing("keytool"))("opens in Java with its chain", async () => {
    const tools = bench();
    await written(tools, algorithm);
    const list = tools.run(
      "keytool",
      "-J-Duser.language=en",
      "-list",
      "-v",
      "-keystore",
      "ours.p12",
      "-storetype",
      "PKCS12",
      "-storepass",
      PASSPHRASE,
    );
    expect(list).toContain("Alias name: f014000-1234567");
    expect(list).toContain("Entry type: PrivateKeyEntry");
    expect(list).toContain("Certificate chain length: 3");
  });

  test("comes back through our own reader", async () => {
    const tools = bench();
    const parts = await written(tools, algorithm);
    const { key, certificates, friendlyName } = await readP12(tools.read("ours.p12"), PASSPHRASE);
    expect({ key, certificates, friendlyName }).toEqual({
      key: parts.key,
      certificates: parts.certificates,
      friendlyName: parts.friendlyName,
    });
  });
});

describe("the writer", () => {
  test("refuses what other programs would not read, and a key that is not the certificate's", async () => {
    const tools = bench();
    const parts = await written(tools, "P-256");
    const other = await pkcs8Of((await generate("file", "P-256")).privateKey);
    await expect(writeP12({ ...parts, passphrase: "密碼密碼密碼密碼" })).rejects.toMatchObject({ code: "not-ascii" });
    await expect(writeP12({ ...parts, friendlyName: "王小明" })).rejects.toMatchObject({ code: "not-ascii" });
    await expect(writeP12({ ...parts, certificates: [] })).rejects.toMatchObject({ code: "no-certificate" });
    await expect(writeP12({ ...parts, key: other })).rejects.toMatchObject({ code: "key-mismatch" });
  });

  test("writes DER: openssl's parser writes back the same octets, with no indefinite length", async () => {
    const tools = bench();
    await written(tools, "RSA-2048");
    expect(tools.openssl("asn1parse", "-inform", "DER", "-in", "ours.p12")).not.toContain("l=inf");
  });
});
