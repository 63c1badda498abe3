// protocols/pulse: a sign of life, and the time.

import { decodeMessage, encodeMessage } from "../../../protocols/checker/messages.mjs";

export const PULSE = "/meshgen/pulse/1";

export async function answerPing(channel) {
  const wire = await channel.receive();
  const heard_ms = Date.now();
  const { sent_ms } = decodeMessage("ping/1", wire);
  await channel.finish(encodeMessage("pong/1", { sent_ms, heard_ms, said_ms: Date.now() }));
}
