// node draw.js LINE: joins a mesh as a worker, and draws for whoever asks until its input ends.

import { Node, tell, untilInputEnds } from "./node.js";
import { again } from "./runtime.js";
import { DEVICE, MODEL, Worker } from "./worker.js";

const [line] = process.argv.slice(2);

const node = await Node.join(line, DEVICE);
const worker = new Worker(node.peer, node.identity, node.log, ({ drawn, receipt, work }) =>
  tell("drawn", { pictures: drawn, mkudos: receipt.content.amount, receipt: receipt.id, prompt: work.prompt }),
);
await worker.start();
await again(() => node.presence.advertise());
tell("joined", { peer_id: node.identity.peerId, model: MODEL.name });
await untilInputEnds();
await node.peer.stop();
