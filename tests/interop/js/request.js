// node request.js LINE MODEL: joins a mesh, asks it for pictures in both ways, pays for them, and serves its log until its
// input ends.

import { sha256 } from "../../../protocols/checker/envelope.mjs";
import { peerIdOf } from "./identity.js";
import { Job, orderFor } from "./job.js";
import { Node, tell } from "./node.js";
import { again } from "./runtime.js";

const [line, wanted] = process.argv.slice(2);
const PROMPT = "ein Fjord bei Nacht, 夜のフィヨルド";

async function meet(node) {
  tell("joined", { peer_id: node.identity.peerId, hub: node.hub, introduced: node.introduced });
  const [key, advert] = await node.presence.find(({ models }) => models.some(({ name }) => name === wanted));
  tell("advert", { alias: advert.alias, worker: peerIdOf(key), model: advert.models[0].name });
  return { worker: peerIdOf(key), model: advert.models[0] };
}

// Who has just started is in the table within seconds.
async function lookUp(node, worker, model) {
  const servers = await again(async () => (await node.presence.servers(model.name)).find((peerId) => peerId === worker));
  const stored = await again(() => node.presence.fromTable(worker));
  tell("table", { server: servers, alias: stored.alias });
}

async function buy(node, offer, bid, worker) {
  const job = new Job(node.peer, node.identity, node.log, offer, bid, orderFor(offer, bid, PROMPT));
  const outcome = await job.run(worker);
  const pictures = job.pictures.map(({ png }) => ({ sha256: sha256(png).toString("hex"), png: png.toString("base64") }));
  tell("job", { outcome, progress: job.progress, mkudos: job.receipt?.content.amount, pictures });
}

const node = await Node.join(line);
const { worker, model } = await meet(node);
await lookUp(node, worker, model);
await node.presence.advertise();

const heard = node.market.offer(model);
const bid = await node.market.gossip(heard);
tell("bid", { way: "gossip", worker: peerIdOf(bid.author), mkudos: bid.message.mkudos, count: bid.message.count });
await buy(node, heard, bid, worker);

const asked = node.market.offer(model, { count: 3 });
const answer = await node.market.ask(worker, asked);
tell("bid", { way: "straight", worker: peerIdOf(answer.author), mkudos: answer.message.mkudos, count: answer.message.count });
await buy(node, asked, answer, worker);

await node.presence.advertise();
tell("settled", { author: node.log.author, head: node.log.head.id, stored: await node.presence.toTable() });
await node.leaveWhenInputEnds();
