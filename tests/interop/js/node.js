// A whole node, which joins by an invite line. What it is made of stands in the modules beside.

import { randomBytes } from "node:crypto";
import { Identity } from "./identity.js";
import { readLine } from "./invite.js";
import { CREDIT, Log } from "./log.js";
import { Market } from "./market.js";
import { Peer } from "./peer.js";
import { Presence, TABLE } from "./presence.js";
import { answerPing, PULSE } from "./pulse.js";

export class Node {
  // `device` is what a worker's advert says beyond a requester's; `relayed`: the world is who is in the line.
  static async join(line, device = {}, relayed = false) {
    const node = new Node();
    const { net, ways, psk } = readLine(line);
    node.identity = await Identity.of(randomBytes(32));
    node.peer = await Peer.start(node.identity, TABLE, psk, relayed ? ways.map(([way]) => way) : []);
    node.log = new Log(net, node.identity);
    node.log.append({ tag: "genesis", account: "", next_key_hash: randomBytes(32).toString("hex"), label: "js" });
    node.presence = new Presence(node.peer, node.identity, node.log, device);
    node.market = new Market(node.peer, node.identity, node.log);
    await node.peer.serve(CREDIT, (channel) => node.log.serve(channel));
    await node.peer.serve(PULSE, answerPing);
    await node.presence.start();
    await node.market.start();
    node.hub = await Promise.any(ways.map((addresses) => node.peer.connect(addresses)));
    node.introduced = await node.presence.meet(node.hub);
    return node;
  }

  // Whoever runs this closes its standard input when it has seen enough.
  async leaveWhenInputEnds() {
    process.stdin.resume();
    await new Promise((resolve) => process.stdin.on("end", resolve));
    await this.presence.leave();
    await this.peer.stop();
  }
}

// One line for each step: the tests read them.
export function tell(step, facts = {}) {
  console.log(JSON.stringify({ step, ...facts }));
}
