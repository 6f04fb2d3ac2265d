/** Other programs as judges: openssl, NSS and Java, each in a temporary directory of the test. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Bytes } from "../../src/der.ts";

export class Bench {
  readonly directory = mkdtempSync(join(tmpdir(), "chopmark-"));

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  write(name: string, content: Uint8Array | string): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  read(name: string): Bytes {
    return new Uint8Array(readFileSync(this.path(name)));
  }

  /** Standard output; throws with standard error when the program fails. */
  run(program: string, ...parameters: readonly string[]): string {
    return execFileSync(program, parameters, {
      cwd: this.directory,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Both outputs, whatever the exit code. */
  capture(program: string, ...parameters: readonly string[]): { stdout: string; stderr: string } {
    return spawnSync(program, parameters, { cwd: this.directory, encoding: "utf8" });
  }

  openssl(...parameters: readonly string[]): string {
    return this.run("openssl", ...parameters);
  }

  /** A root, an intermediate that it signed, as `root.pem`, `ca.pem` and `ca.key`. */
  makeAuthority(): void {
    this.once("authority", ["root.pem", "ca.pem", "ca.key"], () => this.newAuthority());
  }

  private newAuthority(): void {
    this.write(
      "ca.ext",
      "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
    );
    this.openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      "root.key",
      "-out",
      "root.pem",
      "-days",
      "30",
      "-subj",
      "/CN=Example Root",
    );
    this.openssl(
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      "ca.key",
      "-out",
      "ca.csr",
      "-subj",
      "/C=TW/O=Example Trust/CN=Example CA",
    );
    this.openssl(
      "x509",
      "-req",
      "-in",
      "ca.csr",
      "-CA",
      "root.pem",
      "-CAkey",
      "root.key",
      "-days",
      "20",
      "-extfile",
      "ca.ext",
      "-out",
      "ca.pem",
      "-set_serial",
      "0x77",
    );
  }

  /** The certificate for a DER request, by the intermediate: DER, and `NAME.pem`. */
  certify(name: string, csr: Uint8Array, serial: string, days = 10): Bytes {
    this.write(`${name}.csr.der`, csr);
    this.openssl("req", "-inform", "DER", "-in", `${name}.csr.der`, "-out", `${name}.csr.pem`);
    this.write("leaf.ext", "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n");
    this.openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr.pem`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-days",
      String(days),
      "-set_serial",
      serial,
      "-extfile",
      "leaf.ext",
      "-out",
      `${name}.pem`,
    );
    return this.der(`${name}.pem`);
  }

  /** The first certificate of a PEM file as DER. */
  der(pem: string): Bytes {
    this.openssl("x509", "-in", pem, "-outform", "DER", "-out", `${pem}.der`);
    return this.read(`${pem}.der`);
  }

  /** `NAME.key` of openssl's and `NAME.pem` under the intermediate, `NAME-chain.pem`. */
  identity(name: string, algorithm: readonly string[], serial: string): void {
    this.once(`${name} ${algorithm.join(" ")}`, [`${name}.key`, `${name}.pem`, `${name}-chain.pem`], () => {
      this.openssl("genpkey", ...algorithm, "-out", `${name}.key`);
      this.openssl(
        "req",
        "-new",
        "-key",
        `${name}.key`,
        "-subj",
        `/CN=${name}`,
        "-outform",
        "DER",
        "-out",
        `${name}.der`,
      );
      this.certify(name, this.read(`${name}.der`), serial);
      this.write(`${name}-chain.pem`, Buffer.concat([this.read("ca.pem"), this.read("root.pem")]));
    });
  }

  /** Puts the files here; they are made once for a test file, because key generation is slow. */
  private once(what: string, names: readonly string[], make: () => void): void {
    const contents = prepared.get(what);
    if (contents === undefined) {
      make();
      prepared.set(
        what,
        names.map((name) => this.read(name)),
      );
    } else {
      names.forEach((name, i) => {
        this.write(name, contents[i] ?? "");
      });
    }
  }
}

const prepared = new Map<string, readonly Bytes[]>();

export const EC_KEY = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"] as const;
export const RSA_KEY = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] as const;

/** A bench for one test. */
export function bench(): Bench {
  const made = new Bench();
  onTestFinished(() => made.close());
  return made;
}

/** Missing programs are a failure in CI and a skip elsewhere. */
export function missing(program: string): boolean {
  const absent = spawnSync("which", [program]).status !== 0;
  if (absent && process.env["CI"] === "true") throw new Error(`${program} is not installed`);
  return absent;
}
