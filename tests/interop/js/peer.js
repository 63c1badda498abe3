// protocols, "What a node speaks": libp2p with TCP, Noise, Yamux, identify, GossipSub, Kademlia and relays.

import "./runtime.js";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { gossipsub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht";
import { noise } from "@libp2p/noise";
import { peerIdFromString } from "@libp2p/peer-id";
import { ping } from "@libp2p/ping";
import { preSharedKey } from "@libp2p/pnet";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { CID } from "multiformats/cid";
import { sha256 } from "multiformats/hashes/sha2";
import { Channel, serve, Wire } from "./channel.js";

const LISTEN = ["/ip4/127.0.0.1/tcp/0"];
const ANY_CONNECTION = { runOnLimitedConnection: true }; // a relay may say that it carries so much and no more

export class Peer {
  kept = new Map(); // "peer protocol" -> a wire whose last channel is over

  // `table` says what the directory table may hold: {validate(key, value) throws, select(key, values) => index}; `psk` is a
  // private mesh's key, as a file. With `relays` (addresses) it is a node that can be dialled through them alone, and dials nobody else.
  static async start(identity, table, psk, relays = []) {
    const services = {
      identify: identify(),
      ping: ping(),
      gossip: gossipsub({ globalSignaturePolicy: "StrictSign", allowPublishToZeroTopicPeers: true, ...ANY_CONNECTION }),
      dht: kadDHT({
        protocol: "/ipfs/kad/1.0.0",
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        validators: { meshgen: table.validate },
        selectors: { meshgen: table.select },
      }),
    };
    const node = await createLibp2p({
      privateKey: identity.libp2pKey,
      addresses: { listen: relays.length ? relays.map((relay) => `${relay}/p2p-circuit`) : LISTEN },
      connectionGater: { denyDialPeer: (peerId) => relays.length > 0 && !relays.some((relay) => `${relay}`.endsWith(`${peerId}`)) },
      transports: [tcp(), circuitRelayTransport()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionProtector: psk ? preSharedKey({ psk }) : undefined,
      services,
    });
    return new Peer(node);
  }

  constructor(node) {
    this.node = node;
  }

  addresses() {
    return this.node.getMultiaddrs().map(String);
  }

  // The peer id behind these addresses, one peer's, now connected.
  async connect(addresses) {
    const connection = await this.node.dial(addresses);
    return connection.remotePeer.toString();
  }

  // Remember where a peer can be dialled.
  async note(peerId, addresses) {
    const own = addresses.map(multiaddr).filter((address) => address.toString().endsWith(`/p2p/${peerId}`));
    await this.node.peerStore.merge(peerIdFromString(peerId), { multiaddrs: own });
  }

  async stop() {
    await this.node.stop();
  }

  // -- channels

  async serve(protocol, handler) {
    const each = (stream, connection) => serve(stream, connection.remotePeer.toString(), handler);
    await this.node.handle(protocol, each, ANY_CONNECTION);
  }

  async open(peerId, protocol) {
    const place = `${peerId} ${protocol}`;
    const kept = this.kept.get(place);
    this.kept.delete(place);
    if (kept?.stream.status === "open") return new Channel(kept, peerId);
    const stream = await this.node.dialProtocol(peerIdFromString(peerId), protocol, ANY_CONNECTION);
    return new Channel(new Wire(stream), peerId);
  }

  // Let go of a channel that this side opened; its stream is kept for the next.
  async close(channel, protocol) {
    await channel.finish();
    await channel.drain();
    this.kept.set(`${channel.peerId} ${protocol}`, channel.wire);
  }

  // One question, one answer: null where the channel ends without one.
  async ask(peerId, protocol, message) {
    const channel = await this.open(peerId, protocol);
    await channel.finish(message);
    const answer = await channel.receive();
    await this.close(channel, protocol);
    return answer;
  }

  // -- topics

  // `hear(data, publisher)` throws at what is to go no further.
  subscribe(topic, hear) {
    const { gossip } = this.node.services;
    gossip.topicValidators.set(topic, (_forwarder, message) => {
      try {
        hear(Buffer.from(message.data), message.from.toString());
        return "accept";
      } catch {
        return "reject";
      }
    });
    gossip.subscribe(topic);
  }

  // How many neighbours took it.
  async publish(topic, data) {
    const { recipients } = await this.node.services.gossip.publish(topic, data);
    return recipients.length;
  }

  // -- the directory table

  // How many peers took it.
  async put(key, value) {
    let took = 0;
    for await (const event of this.node.services.dht.put(Buffer.from(key), value)) {
      took += event.name === "PEER_RESPONSE" && event.messageName === "PUT_VALUE";
    }
    return took;
  }

  // The last value that the network told, which is its best; null without any.
  async get(key) {
    let value = null;
    for await (const event of this.node.services.dht.get(Buffer.from(key))) {
      if (event.name === "VALUE") value = Buffer.from(event.value);
    }
    return value;
  }

  async providers(key) {
    const found = new Set();
    for await (const event of this.node.services.dht.findProviders(await cidOf(key))) {
      if (event.name === "PROVIDER") event.providers.forEach(({ id }) => found.add(id.toString()));
    }
    return [...found];
  }
}

const cidOf = async (key) => CID.createV0(await sha256.digest(Buffer.from(key)));
