/** Why a certificate file cannot be opened, and what to do: for the customer, in whole sentences. */
import type { Bytes } from "../der.ts";
import type { P12Error } from "../p12.ts";
import { slipOf } from "../p12/typed.ts";
import { type Complaint, Complaints } from "../problems.ts";
import { t } from "../words.ts";

export interface Typed {
  readonly passphrase: string;
  /** Of the key inside; "" when it was not asked for. */
  readonly keyPassphrase: string;
}

/** `wanted` is the certificate whose file was asked for. */
export function explainFile(error: P12Error, typed: Typed, wanted: Wanted): Complaint {
  if (error.code === "wrong-passphrase") return { field: "old_passphrase", sentence: wrong(typed.passphrase) };
  if (error.code === "other-passphrase-inside")
    return { field: "old_key_passphrase", sentence: inner(typed.keyPassphrase) };
  return { field: "old_file", sentence: other(error, wanted) };
}

export const tooBig = (): string =>
  t("This file is too big for a certificate file. Please choose the file whose name ends in .p12 or .pfx.");

/** The content of a file that was chosen at `field`; a complaint when it has gone, or was changed, since. */
export async function octetsOf(file: File, field: string): Promise<Bytes> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (cause) {
    const sentence = t(
      "This cannot be read. If it is a folder, please open it and choose the file that is in it; a file that was moved or changed, please choose again.",
    );
    throw new Complaints([{ field, sentence }], { cause });
  }
}

function wrong(typed: string): string {
  if (typed === "") return t("Please enter the pass-phrase of this file.");
  switch (slipOf(typed)) {
    case "zhuyin":
      return t(
        "The pass-phrase does not fit this file. Your keyboard is set to Zhuyin: please switch it to English and type the pass-phrase again.",
      );
    case "full-width":
      return t(
        "The pass-phrase does not fit this file. It has full-width letters or digits in it: please switch your keyboard to half-width (often Shift and the space bar) and type it again.",
      );
    case "capitals":
      return t("The pass-phrase does not fit this file. There are capital letters only: is Caps Lock on?");
    default:
      return t("The pass-phrase does not fit this file. Please type it again; capital and small letters differ.");
  }
}

function inner(typed: string): string {
  return typed === ""
    ? t(
        "The file is open, but the key in it has a pass-phrase of its own, as Java programs make it. Please type that one as well.",
      )
    : t("The pass-phrase of the key does not fit. Please type it again; capital and small letters differ.");
}

const MOST_NAMED = 4;

interface Wanted {
  readonly serial: string;
  /** The name of the CA that issued it, as the page has it. */
  readonly issuer: string;
  /** The same CA as certificates name it. */
  readonly issuerName: string;
}

function other(error: P12Error, wanted: Wanted): string {
  const algorithm = named(error.algorithm ?? "");
  switch (error.code) {
    case "too-big":
      return tooBig();
    case "empty-file":
      return t("This file is empty; perhaps it was not copied completely. Please choose another copy of it.");
    case "cut-short":
      return t(
        "The end of this file is missing; it was not copied or sent completely. Please copy it again from where you made it, or choose another copy.",
      );
    case "changed-as-text":
      return t(
        "A program has changed this file on its way, because it took it for text. Please copy it again from where you made it, for example inside a ZIP file that you unpack here.",
      );
    case "web-page":
      return t(
        "This is a web page that was saved under the name of a certificate file, often the message that a download did not work. Please save the certificate file again from where you have it.",
      );
    case "other-format":
      return t(
        "This is a file of another kind (%(algorithm)s), not a certificate file. Please unpack it or export your certificate as PKCS #12, then choose the file whose name ends in .p12 or .pfx.",
        { algorithm },
      );
    case "seal-broken":
      return t(
        "The pass-phrase opens what is in this file, but not the seal around it: the file was changed after it was made, or its seal has another pass-phrase. Please copy the file again from where you made it, or apply for a new certificate.",
      );
    case "no-key":
      return t(
        "This file has no key in it, only a certificate. Please choose the file that you made with a pass-phrase.",
      );
    case "key-mismatch":
      return t(
        "The key in this file is not the one of the certificate in it. Please choose another copy of the file, or apply for a new certificate.",
      );
    case "no-certificate":
      return t("There is no certificate in this file. Please choose another file.");
    case "other-certificate":
      return another(error, wanted);
    case "unsupported-algorithm":
      return t(
        "This file is protected with %(algorithm)s, which this page cannot open. Please export your certificate again from the program that made the file, with AES-256 or Triple DES; or apply for a new certificate.",
        { algorithm },
      );
    case "unsupported-key":
      return algorithm === ""
        ? t(
            "The key in this file cannot be read. Please choose another copy of the file, or apply for a new certificate.",
          )
        : t(
            "The key in this file is of a kind that is not used here (%(algorithm)s). Please choose the file of your present certificate, or apply for a new one.",
            { algorithm },
          );
    case "too-many-iterations":
      return t(
        "Opening this file would take this computer too long, because of the way in which it is protected. Please export your own certificate alone, or apply for a new one.",
      );
    case "no-mac":
      return t(
        "Nothing in this file shows that it is unchanged. Please choose another copy of it, or apply for a new certificate.",
      );
    case "cancelled":
      return t("You have stopped it. Nothing was sent. You can choose another file, or try this one again.");
    default:
      return t(
        "This is not a certificate file, or it is damaged. Please choose the file whose name ends in .p12 or .pfx.",
      );
  }
}

/** A number is no name: it is given for whoever helps the customer. */
const named = (algorithm: string): string =>
  /^\d+(\.\d+)+$/.test(algorithm)
    ? t("an algorithm without a name here, number %(number)s", { number: algorithm })
    : algorithm;

/** Names what was found, the one that is valid longest first, and what is wanted: a customer may have a file of each CA. */
function another(error: P12Error, wanted: Wanted): string {
  const [found] = error.found;
  // One CA has one name in a sentence, or customers would take it for two.
  const issuer = (name: string): string => (name === wanted.issuerName ? wanted.issuer : name);
  if (error.found.length > 1) {
    const each = error.found
      .slice(0, MOST_NAMED)
      .map((one) => [one.commonName, issuer(one.issuerName), until(one.notAfter), one.serial.toUpperCase()] as const)
      .map(([name, ...rest]) => `${name} (${rest.join(", ")})`);
    return t(
      "This file holds %(count)s other certificates (name, issuer, valid until, serial number): %(list)s. Please choose the file of the certificate that %(ca)s issued, serial number %(wanted)s.",
      {
        count: String(error.found.length),
        list: each.join("; "),
        ca: wanted.issuer,
        wanted: wanted.serial.toUpperCase(),
      },
    );
  }
  return t(
    "This file holds another certificate: %(name)s, issued by %(issuer)s, valid until %(until)s, serial number %(serial)s. Please choose the file of the certificate that %(ca)s issued, serial number %(wanted)s.",
    {
      name: found?.commonName ?? "",
      issuer: issuer(found?.issuerName ?? ""),
      until: found === undefined ? "" : until(found.notAfter),
      serial: found?.serial.toUpperCase() ?? "",
      ca: wanted.issuer,
      wanted: wanted.serial.toUpperCase(),
    },
  );
}

const until = (moment: Date): string => moment.toISOString().slice(0, 10);
