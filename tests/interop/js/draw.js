// node draw.js LINE [relayed]: joins a mesh as a worker, and draws for whoever asks until its input ends.

import { Node, tell } from "./node.js";
import { again } from "./runtime.js";
import { DEVICE, MODEL, Worker } from "./worker.js";

const [line, relayed] = process.argv.slice(2);

const node = await Node.join(line, DEVICE, Boolean(relayed));
const worker = new Worker(node.peer, node.identity, node.log, ({ drawn, receipt, work }) =>
  tell("drawn", { pictures: drawn, mkudos: receipt.content.amount, receipt: receipt.id, prompt: work.prompt }),
);
await worker.start();
await again(() => node.presence.advertise());
tell("joined", { peer_id: node.identity.peerId, model: MODEL.name, addresses: node.peer.addresses() });
await node.leaveWhenInputEnds();
