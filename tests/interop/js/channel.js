// protocols, "Channels": messages on a stream, one channel after the other.

import "./runtime.js";
import { byteStream } from "@libp2p/utils";

export const [DATA, END, RESET, OPEN] = [0, 1, 2, 3];
export const MOST_BYTES = 2 ** 20;
const HEADER_BYTES = 5;

export class Wire {
  // Of the channel under way: has either side said END?
  ownEnd = true;
  otherEnd = true;

  constructor(stream) {
    this.stream = stream;
    this.bytes = byteStream(stream);
  }

  async write(...frames) {
    const parts = frames.flatMap(([type, payload = Buffer.alloc(0)]) => [frameHeader(payload.length, type), payload]);
    await this.bytes.write(Buffer.concat(parts));
  }

  // [type, payload]; throws where the stream ends, also amid a frame.
  async read() {
    const header = Buffer.from((await this.bytes.read({ bytes: HEADER_BYTES })).subarray());
    const [length, type] = [header.readUInt32BE(), header[4]];
    if (length > MOST_BYTES || type > OPEN) throw new Error(`a frame of type ${type} and ${length} bytes`);
    const payload = length ? (await this.bytes.read({ bytes: length })).subarray() : [];
    return [type, Buffer.from(payload)];
  }
}

export function frameHeader(length, type) {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(length);
  header[4] = type;
  return header;
}

export class Channel {
  constructor(wire, peerId, pending = []) {
    this.wire = wire;
    this.peerId = peerId;
    this.pending = pending; // frames that were read to find that a channel begins
    wire.ownEnd = wire.otherEnd = false;
  }

  async send(...messages) {
    await this.wire.write(...messages.map((message) => [DATA, message]));
  }

  // The last words: they and the END in one go.
  async finish(...messages) {
    if (this.wire.ownEnd) return;
    this.wire.ownEnd = true;
    await this.wire.write(...messages.map((message) => [DATA, message]), [END]);
  }

  // The next message, or null once the other side has ended; throws where it failed.
  async receive() {
    while (!this.wire.otherEnd) {
      const [type, payload] = this.pending.shift() ?? (await this.wire.read());
      if (type === DATA) return payload;
      if (type === RESET) throw new Error("the peer's side failed");
      this.wire.otherEnd = type === END;
    }
    return null;
  }

  async drain() {
    while ((await this.receive()) !== null);
  }
}

// All channels that the other side opens on a stream, until it closes the stream. A handler that throws resets it.
export async function serve(stream, peerId, handler) {
  const wire = new Wire(stream);
  try {
    for (let first = await wire.read(); ; first = await wire.read()) {
      const channel = new Channel(wire, peerId, [first]);
      await handler(channel);
      await channel.finish();
      await channel.drain();
    }
  } catch (error) {
    if (wire.ownEnd && wire.otherEnd) await stream.close(); // between two channels
    else stream.abort(error);
  }
}
