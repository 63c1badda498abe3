// Follows jobs as they happen. A browser opens six connections to one place, so a few jobs get a stream of events and the
// others are asked for from time to time; all of them get there.
const STREAMS = 3;
const ASK_MS = 1500;
const KINDS = ["state", "note", "part", "progress", "preview", "arrived", "result", "end"];

export class Follower {
  /** heard(job, kind, data) for each event; ask(job) to have a job looked up. */
  constructor(heard, ask) {
    this.heard = heard;
    this.ask = ask;
    this.streams = new Map();
    this.waiting = new Map();
    this.timer = 0;
  }

  follow(job) {
    if (this.streams.has(job.id)) return;
    if (this.streams.size < STREAMS) this.stream(job);
    else this.later(job);
  }

  later(job) {
    this.streams.delete(job.id);
    this.waiting.set(job.id, job);
    if (!this.timer) this.timer = setTimeout(() => this.look(), ASK_MS);
  }

  leave(job) {
    this.streams.get(job.id)?.close();
    this.streams.delete(job.id);
    this.waiting.delete(job.id);
    const [next] = this.waiting.values();
    if (next && this.streams.size < STREAMS) {
      this.waiting.delete(next.id);
      this.stream(next);
    }
  }

  stream(job) {
    const source = new EventSource(`/v1/jobs/${job.id}/events`);
    for (const kind of KINDS) source.addEventListener(kind, (event) => this.heard(job, kind, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.later(job); // refused; while the node is away it comes back by itself
      this.ask(job);
    });
    this.streams.set(job.id, source);
  }

  async look() {
    await Promise.allSettled([...this.waiting.values()].map((job) => this.ask(job)));
    this.timer = this.waiting.size ? setTimeout(() => this.look(), ASK_MS) : 0;
  }
}
