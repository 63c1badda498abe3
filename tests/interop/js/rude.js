// node rude.js LINE MODEL: says what no peer should, and tells what it was answered.

import { randomBytes } from "node:crypto";
import { encode } from "../../../protocols/checker/codec.mjs";
import { DATA, END, frameHeader, MOST_BYTES } from "./channel.js";
import { Identity, peerIdOf } from "./identity.js";
import { Job, JOB, orderFor } from "./job.js";
import { CREDIT, Log } from "./log.js";
import { OFFER, readAnswer } from "./market.js";
import { Node, tell } from "./node.js";
import { PRESENCE } from "./presence.js";

const [line, wanted] = process.argv.slice(2);
const FORGIVEN = 3; // pieces of garbage of one peer; more get it hung up on

// Somebody who says these bytes to the worker, on a stream of its own: how the channel ended, or what the answer was.
async function say(node, protocol, bytes) {
  const channel = await node.peer.open(worker, protocol);
  try {
    await channel.wire.bytes.write(bytes);
    const answer = await channel.receive();
    return answer === null ? "end" : meaning(answer);
  } catch {
    return "reset";
  } finally {
    channel.wire.stream.abort(new Error("nothing more to say"));
  }
}

function meaning(wire) {
  try {
    return readAnswer(wire, worker).message.reason ?? "bid";
  } catch {
    return "answer";
  }
}

const framed = (message) => Buffer.concat([frameHeader(message.length, DATA), message, frameHeader(0, END)]);
const ask = (node, wire) => say(node, OFFER, framed(wire));
const good = (node) => node.market.offer(model);
const changed = (wire, at) => wire.map((byte, place) => (place === (at + wire.length) % wire.length ? byte ^ 1 : byte));
// The same values in a form that is not the shortest: the outer array's length in two bytes.
const lengthened = (wire) => Buffer.concat([Buffer.of(0xdc, 0, wire[0] & 0xf), wire.subarray(1)]);

// What no implementation would say: {what: (somebody) => how it ended}.
const GARBAGE = {
  "garbage for an offer": (node) => ask(node, randomBytes(500)),
  "an empty offer": (node) => ask(node, Buffer.alloc(0)),
  "a frame that is too long": (node) => say(node, OFFER, frameHeader(MOST_BYTES + 1, DATA)),
  "a frame of no known type": (node) => say(node, OFFER, frameHeader(0, 9)),
  "garbage for a question": (node) => say(node, CREDIT, framed(randomBytes(500))),
  "a question about another mesh": (node) => say(node, CREDIT, framed(encode(["prints?/1", Buffer.alloc(16)]))),
  "garbage for an award": (node) => say(node, JOB, framed(randomBytes(500))),
  "a wrong signature": (node) => ask(node, changed(good(node).wire, -1)),
  "a changed body": (node) => ask(node, changed(good(node).wire, 60)),
  "another author": async (node) => ask(node, (await Identity.of(randomBytes(32))).envelop("offer/1", good(node).message).wire),
  "another form": (node) => ask(node, lengthened(good(node).wire)),
  "an advert for an offer": (node) => ask(node, node.presence.own()),
};

const offered = (change) => (node) => ask(node, node.market.offer(model, change).wire);
const ago = (ms, life_ms) => ({ created_ms: Date.now() - ms, expires_ms: Date.now() - ms + life_ms });

// What is well said, and not wanted.
const OFFERS = {
  "an offer": offered({}),
  "no offer": (node) => say(node, OFFER, frameHeader(0, END)),
  "another mesh": offered({ net: "00".repeat(16) }),
  "an offer that is over": offered(ago(60_000, 1)),
  "an offer from the future": offered(ago(-3_600_000, 60_000)),
  "an unknown model": offered({ model: "nobody has it", digest: "" }),
  "other weights": offered({ digest: "ab".repeat(32) }),
  "a picture too large": offered({ width: 8192, height: 8192 }),
  "nothing for it": offered({ max_mkudos: 0 }),
  "a feature that is missing": offered({ features: ["levitation"] }),
  "garbage for an advert": (node) => say(node, PRESENCE, framed(randomBytes(500))),
};

// A job in which something is exchanged before the HOLD is written; what it came to.
const awarded = (spoil) => async (node) => {
  const offer = good(node);
  const bid = await node.market.ask(worker, offer);
  const job = new Job(node.peer, node.identity, node.log, offer, bid, orderFor(offer, bid, "a fjord"));
  return (spoil(job) ?? job).run(worker);
};

const AWARDS = {
  "an award for no bid": awarded(({ bid }) => void (bid.id = "cd".repeat(32))),
  "a bid awarded twice": async (node) => {
    let first = null;
    await awarded((job) => void (first = job))(node);
    return new Job(node.peer, node.identity, node.log, first.offer, first.bid, first.order).run(worker);
  },
  "work sealed to somebody else": awarded(({ bid }) => void (bid.message.seal_key = "09".padEnd(64, "0"))),
  "work of another size": awarded(({ order }) => void (order.width = 128)),
  "a hold of too little": awarded(({ bid }) => void (bid.message.mkudos -= 1)),
  "a hold that names another head": awarded(({ bid }) => void (bid.message.payee_head = bid.message.head_id = "ee".repeat(32))),
  "a hold that is not there": awarded((job) => void (job.holdCredit = () => ({ ...job.log.head, id: "ff".repeat(32) }))),
  "a chain in part, the rest on asking": awarded(({ bid, log }) => void (bid.message.known_seq = log.wires.length)),
  "a job": awarded(() => {}),
  "an entry that was changed": awarded((job) => {
    const hold = job.holdCredit();
    job.holdCredit = () => hold;
    job.log = { wires: job.log.wires.map((wire) => changed(wire, -1)) };
  }),
  "two entries for one place": awarded((job) => {
    job.log = forked(job.log, job.bid.message.known_seq);
    job.bid.message.known_seq -= 1;
  }),
  "an offer of who forked": (node) => ask(node, good(node).wire),
};

// The same chain up to an entry, which is left out.
function forked(log, seq) {
  const twin = new Log(log.net, log.identity);
  twin.wires = log.wires.slice(0, seq - 1);
  twin.wires.forEach((wire) => twin.chain.append(wire));
  return twin;
}

const first = await Node.join(line);
const [key, advert] = await first.presence.find(({ models }) => models.some(({ name }) => name === wanted));
const [worker, model] = [peerIdOf(key), advert.models[0]];
let somebody = first;
for (const [place, [what, attempt]] of Object.entries(GARBAGE).entries()) {
  if (place % FORGIVEN === 0) somebody = await Node.join(line);
  tell("said", { what, answer: await attempt(somebody) });
}
for (const [what, attempt] of Object.entries({ ...OFFERS, ...AWARDS })) tell("said", { what, answer: await attempt(first) });
process.exit();
