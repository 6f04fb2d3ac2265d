/** Waits that end. Some browsers leave a question to their storage unanswered for ever, without an error. */

/** So long a browser's storage may take to answer, in milliseconds. A slow computer under load needs seconds. */
export const STORAGE_ANSWERS_MS = 15_000;

/** The answer; `late` is called instead when none has come after `waitMs`. */
export async function inTime<T>(answer: Promise<T>, waitMs: number, late: () => T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<T>((resolve, reject) => {
    timer = setTimeout(() => {
      try {
        resolve(late());
      } catch (error) {
        reject(error as Error);
      }
    }, waitMs);
  });
  try {
    return await Promise.race([answer, over]);
  } finally {
    clearTimeout(timer);
  }
}
