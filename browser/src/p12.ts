/** PKCS#12 files in the page; see the parts for what is read and what is written. */
export { P12Error, type P12Fault } from "./p12/names.ts";
export type { Waiting } from "./p12/derive.ts";
export { MAX_P12_SIZE, type P12Content, readP12, type Request } from "./p12/read.ts";
export { type P12Parts, writeP12 } from "./p12/write.ts";
