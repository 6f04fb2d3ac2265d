/** The little of node-forge that is used; its parts register themselves on the one object. */
declare module "node-forge/lib/forge.js" {
  interface ForgeBuffer {
    getBytes(): string;
  }
  interface ForgeDecipher {
    readonly output: ForgeBuffer;
    start(options: { iv: string }): void;
    update(input: ForgeBuffer): void;
    finish(): boolean;
  }
  interface ForgeRc2 {
    readonly output: ForgeBuffer;
    start(iv: string, output: null): void;
    update(input: ForgeBuffer): void;
    finish(): boolean;
  }
  const forge: {
    readonly util: { createBuffer(binary: string): ForgeBuffer };
    readonly cipher: { createDecipher(name: "3DES-CBC" | "AES-CBC", key: string): ForgeDecipher };
    readonly rc2: { createDecryptionCipher(key: string, effectiveBits: number): ForgeRc2 };
  };
  export default forge;
}
declare module "node-forge/lib/aes.js";
declare module "node-forge/lib/des.js";
declare module "node-forge/lib/rc2.js";
