/** A certificate file after mail, programs, shells and transfers have carried it; and what is chosen instead of one. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readCertificate } from "../src/certificate.ts";
import * as der from "../src/der.ts";
import type { Bytes } from "../src/der.ts";
import { MAX_P12_SIZE, P12Error, readP12 } from "../src/p12.ts";
import { Bench, EC_KEY } from "./support/tools.ts";

const PASSPHRASE = "Abc-1234-xyz";
const tools = new Bench();
afterAll(() => tools.close());
tools.makeAuthority();
tools.identity("holder", EC_KEY, "0x5511");
const WANTED = tools.der("holder.pem");
const made = ["-inkey", "holder.key", "-in", "holder.pem", "-certfile", "holder-chain.pem", "-out", "theirs.p12"];
tools.openssl("pkcs12", "-export", ...made, "-passout", `pass:${PASSPHRASE}`);
const FILE = tools.read("theirs.p12");
const VECTOR = new Uint8Array(readFileSync(join(import.meta.dirname, "../../tests/vectors/p12/15-java-made-key.p12")));

const BASE64 = Buffer.from(FILE).toString("base64");
const LINES = BASE64.replace(/.{64}(?=.)/g, "$&\n");
const PEM = `-----BEGIN PKCS12-----\n${LINES}\n-----END PKCS12-----\n`;
const HEX = Buffer.from(FILE).toString("hex");
const wide = (sign: string): string => String.fromCharCode(sign.charCodeAt(0) + 0xfee0);
const each = (text: string, change: (line: string) => string): string => text.split("\n").map(change).join("\n");
const pairs = (between: string): string => (HEX.match(/../g) ?? []).join(between);
const rows = (row: (address: string, pairs: readonly string[], text: string) => string, digits: number): string =>
  Array.from({ length: Math.ceil(FILE.length / 16) }, (_, i) => {
    const octets = FILE.subarray(16 * i, 16 * i + 16);
    const shown = [...octets].map((octet) => (octet >= 0x20 && octet < 0x7f ? String.fromCharCode(octet) : "."));
    const address = (16 * i).toString(16).padStart(digits, "0");
    return row(
      address,
      [...octets].map((octet) => octet.toString(16).padStart(2, "0")),
      shown.join(""),
    );
  }).join("\r\n");

async function opens(file: Uint8Array | string): Promise<void> {
  const octets = typeof file === "string" ? Buffer.from(file) : file;
  const wanted = [new Uint8Array(createHash("sha256").update(WANTED).digest())];
  const content = await readP12(octets, PASSPHRASE, { wanted });
  expect(readCertificate(content.certificates[0] ?? new Uint8Array(0)).commonName).toBe("holder");
}

describe("a text that was carried", () => {
  test.each([
    ["PEM, quoted in a mail", each(PEM, (line) => `> ${line}`)],
    ["PEM, quoted twice", each(PEM, (line) => `> >${line}`)],
    ["Base64, quoted between words", `On Monday you wrote:\n${each(LINES, (line) => `> ${line}`)}\n> Regards\n> Mei\n`],
    ["Base64 before a farewell", `Here it is:\n\n${LINES}\n\nBest regards\nMei\n`],
    ["Base64 with what cannot be seen in it", LINES.replace(/\n/g, "\u200b\n")],
    ["Base64 in full width", each(LINES, (line) => line.replace(/[!-~]/g, wide))],
    ["JSON with line ends in the string", JSON.stringify({ pfx: `${LINES.replace(/\n/g, "\r\n")}\r\n` })],
    ["JSON as PHP writes it", JSON.stringify({ pfx: BASE64 }).replaceAll("/", "\\/")],
    ["JSON as .NET writes it", JSON.stringify({ pfx: BASE64 }).replaceAll("+", "\\u002B")],
    ["JSON with PEM in it", JSON.stringify({ pem: PEM })],
    ["a form that was sent", `name=x&pfx=${encodeURIComponent(BASE64)}&more=1`],
    ["a data: address with escapes", `data:application/x-pkcs12;base64,${encodeURIComponent(BASE64)}`],
    ["XML with named line ends", `<?xml version="1.0"?><f>${each(LINES, (line) => `${line}&#13;`)}</f>`],
    ["HTML with line breaks", `<html><body>${each(LINES, (line) => `${line}<br>`)}</body></html>`],
    [
      "quoted-printable",
      BASE64.replaceAll("=", "=3D")
        .replace(/.{70}/g, "$&=\r\n")
        .replace(/=(=\r\n)?3(=\r\n)?D/g, "=3D"),
    ],
    ["a string in pieces in a program", `const p12 = ${each(LINES, (line) => `"${line}" +`)} "";`],
    ["lines that a settings file continues", `pfx=${each(LINES, (line) => `${line}\\`)}\n`],
    ["a secret of Kubernetes, encoded twice", `data:\n  keystore: ${Buffer.from(BASE64).toString("base64")}\n`],
    ["a secret of Kubernetes with PEM in it", `data:\n  keystore: ${Buffer.from(PEM).toString("base64")}\n`],
    ["a label that Windows' certutil puts", PEM.replaceAll("PKCS12", "CERTIFICATE").replace(/\n/g, "\r\n")],
    ["PEM without its last line", PEM.replace(/-----END.*\n/, "")],
    ["a label in small letters", PEM.replaceAll("PKCS12", "pkcs12")],
    ["hexadecimal of C#", pairs("-").toUpperCase()],
    [
      "hexadecimal of a program in C",
      `unsigned char p12[] = {\n  0x${pairs(", 0x")}\n};\nint length = ${FILE.length};\n`,
    ],
    ["hexadecimal in JSON", JSON.stringify({ hex: HEX })],
    ["hexadecimal in SQL", `INSERT INTO t VALUES (1, X'${HEX.toUpperCase()}', 'x');`],
    ["hexadecimal of an address", `%${pairs("%")}`],
    [
      "a dump of Windows' certutil",
      rows((address, row, text) => `${address}\t${row.slice(0, 8).join(" ")}  ${row.slice(8).join(" ")}   ${text}`, 4),
    ],
    [
      "a dump of PowerShell",
      `\r\n   Label: C:\\x.p12\r\n\r\n${rows((address, row, text) => `${address} ${row.join(" ").padEnd(47)} ${text}`, 16)}`,
    ],
    ["a dump in numbers of two octets", rows((address, row) => `${address} ${swapped(row)}`, 7)],
    ["a list of numbers", JSON.stringify({ type: "Buffer", data: [...FILE] })],
    ["a list of Java's numbers", JSON.stringify([...new Int8Array(FILE)])],
  ])("%s opens", async (_name, text) => opens(text));
});

/** As `hexdump` writes them. */
function swapped(row: readonly string[]): string {
  const words: string[] = [];
  for (let i = 0; i < row.length; i += 2) words.push(`${row[i + 1] ?? "00"}${row[i] ?? ""}`);
  return words.join(" ");
}

describe("octets that were carried", () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-pkcs12\r\n\r\n";
  test.each([
    ["the headers of an answer before it", Buffer.concat([Buffer.from(head), FILE])],
    ["the header of a Mac's file before it", Buffer.concat([Buffer.from("\0\x08cert.p12"), Buffer.alloc(118), FILE])],
    ["each octet taken for a character", Buffer.from(Buffer.from(FILE).toString("latin1"), "utf8")],
    ["the same in UTF-16", Buffer.from(`\ufeff${Buffer.from(FILE).toString("latin1")}`, "utf16le")],
  ])("%s: opens", async (_name, file) => opens(file));

  test("an archive that does not compress opens", async () => {
    tools.run("tar", "-cf", "theirs.tar", "theirs.p12");
    await opens(tools.read("theirs.tar"));
  });

  test("a transfer as text that made CR LF of each LF is undone", async () => {
    const text = Buffer.from(VECTOR).toString("latin1");
    expect(text.split("\n").length).toBeGreaterThan(3);
    const content = await readP12(Buffer.from(text.replaceAll("\n", "\r\n"), "latin1"), PASSPHRASE);
    expect(readCertificate(content.certificates[0] ?? new Uint8Array(0)).commonName).toBe("C10001");
  });

  test("characters of Windows have lost some octets, which is said", async () => {
    const western = Buffer.from(FILE).toString("latin1").replaceAll("\x82", "\u201a");
    await refused(Buffer.from(western, "utf8"), "changed-as-text", null);
    await refused(Buffer.from(`\ufeff${Buffer.from(FILE).toString("utf8")}`, "utf16le"), "changed-as-text", null);
  });
});

const refused = async (file: Uint8Array | string, code: string, algorithm: string | null): Promise<void> =>
  expect(readP12(typeof file === "string" ? Buffer.from(file) : file, PASSPHRASE)).rejects.toMatchObject({
    code,
    algorithm,
  });

describe("something else is named", () => {
  test.each([
    ["BZh91AY&SY", "bzip2"],
    ["\ufeffssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC mei@pc\n", "SSH"],
    ["---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n", "SSH"],
    ["PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nEncryption: none\n", "PuTTY"],
    ['{"kty":"EC","crv":"P-256","d":"c"}', "JSON Web Key (JWK)"],
    ['{"error":"not found"}', "JSON"],
    ["[InternetShortcut]\r\nURL=https://example.com/a.p12\r\n", "Windows shortcut"],
    ["-----BEGIN PGP MESSAGE-----\n\nhQEMA\n=abcd\n-----END PGP MESSAGE-----\n", "PGP MESSAGE"],
  ])("%j", async (text, format) => refused(text, "other-format", format));

  test.each([
    ["fd377a585a0000", "xz"],
    ["00051607000200004d6163204f532058", "macOS AppleDouble"],
    ["789f3e22010069", "Outlook winmail.dat"],
    ["4d5a90000300", "Windows program"],
    ["1ef1b5b00000", "Windows private key (PVK)"],
    ["0006156100000002", "Berkeley DB (cert8.db)"],
    ["52494646240000005745425056503820", "WebP"],
    ["000000246674797068656963", "HEIC / MP4"],
  ])("%s", async (octets, format) => refused(Buffer.from(octets, "hex"), "other-format", format));

  test.each([
    [
      "a request",
      () => tools.openssl("req", "-new", "-key", "holder.key", "-subj", "/CN=x", ...DER),
      "CERTIFICATE REQUEST",
    ],
    ["a public key", () => tools.openssl("pkey", "-in", "holder.key", "-pubout", ...DER), "PUBLIC KEY"],
    ["a revocation list", revocationList, "X509 CRL"],
    [
      "an encrypted message",
      () => tools.openssl("cms", "-encrypt", "-in", "holder.pem", "-out", "made.der", "-outform", "DER", "holder.pem"),
      "CMS / PKCS #7",
    ],
  ] as const)("%s, as DER and as Base64", async (_name, make, format) => {
    make();
    const octets = tools.read("made.der");
    await refused(octets, "other-format", format);
    await refused(Buffer.from(octets).toString("base64"), "other-format", format);
  });

  test("BouncyCastle's store in DER", async () => {
    // As `keytool -storetype BCFKS` of BouncyCastle 1.72 begins.
    const encrypted = der.sequence(
      der.algorithm("1.2.840.113549.1.5.13", der.sequence()),
      der.octets(new Uint8Array(9)),
    );
    await refused(
      der.sequence(encrypted, der.sequence(der.algorithm("1.2.3"))),
      "other-format",
      "BouncyCastle KeyStore (BCFKS)",
    );
  });

  test("line ends and spaces alone are an empty file, any mark-up is a web page", async () => {
    await refused("\r\n  \n", "empty-file", null);
    await refused("<!-- saved from url -->\n<html>", "web-page", null);
    await refused("<html lang=en><title>Sign in</title>", "web-page", null);
  });

  test.each(["<", "-----BEGIN A-----\n", '"   ', "> ", "30 ", "1,", "MI A", "&#x0", "=\n", "0000: "])(
    "%j over and over is looked through in no time",
    async (piece) => {
      const text = piece.repeat(MAX_P12_SIZE / piece.length);
      await expect(readP12(Buffer.from(text), PASSPHRASE)).rejects.toBeInstanceOf(P12Error);
    },
  );

  test("half of a text is cut short", async () => refused(BASE64.slice(0, BASE64.length / 2), "cut-short", null));
});

const DER = ["-outform", "DER", "-out", "made.der"] as const;

function revocationList(): Bytes {
  tools.write("index.txt", "");
  const settings = "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=5\n";
  tools.write("ca.cnf", settings);
  tools.openssl("ca", "-gencrl", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-out", "crl.pem");
  tools.openssl("crl", "-in", "crl.pem", ...DER);
  return tools.read("made.der");
}
