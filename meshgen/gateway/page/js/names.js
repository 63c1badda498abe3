// Peers' names, for lists that know ids alone.
import { get } from "./api.js";
import { nameOf } from "./format.js";

/** A function from a peer's id to what people call it. */
export async function peerNames() {
  const { peers } = await get("/v1/peers").catch(() => ({ peers: [] }));
  const names = new Map(peers.map((peer) => [peer.peer_id, peer.alias]));
  return (peer) => nameOf(names.get(peer), peer);
}
