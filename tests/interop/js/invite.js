// protocols/invite: what a line says of the mesh, the way in and the key.

import "./runtime.js";
import { multiaddr } from "@multiformats/multiaddr";
import { sha256 } from "../../../protocols/checker/envelope.mjs";
import { decodeInvite } from "../../../protocols/checker/invite.mjs";
import { peerIdOf } from "./identity.js";

const NET_BYTES = 16;

// {net, ways: for each peer its addresses, psk: the swarm key's file or null}. People's typing is not mended here.
export function readLine(line) {
  const { charter, name, peers, psk } = decodeInvite("line", Buffer.from(line));
  const hash = charter ? Buffer.from(charter, "hex") : sha256(Buffer.from(name));
  return {
    net: hash.subarray(0, NET_BYTES).toString("hex"),
    ways: peers.map(({ key, addresses }) => addresses.map((address) => wayTo(peerIdOf(key), address))),
    psk: psk ? Buffer.from(`/key/swarm/psk/1.0.0/\n/base16/\n${psk}`) : null,
  };
}

const wayTo = (peerId, address) => multiaddr(Buffer.from(address, "hex")).encapsulate(`/p2p/${peerId}`);
