import type { Logger } from "../kernel/logger.ts";

/**
 * Sends parts as they are made: the next one only when the receiver takes it. If making one fails, the failure is logged and the
 * transfer is broken off, because the status was already sent.
 */
export function streamOf(parts: AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>, logger: Logger): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        logger.error("response_broken_off", { error: error instanceof Error ? error.message : String(error) });
        controller.error(error);
      }
    },
    /** The receiver is gone. */
    async cancel() {
      await parts.return();
    },
  }, { highWaterMark: 0 });
}
