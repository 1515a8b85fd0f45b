// A way between two programs that may be cut without a word, as a network is: what is on it says nothing any more, and what is
// begun meanwhile is taken and says nothing either.

import { connect, createServer } from 'node:net';

export class Road {
  #isCut = false;
  #pairs = new Set();

  /** A road to a port of this machine; `port` is where it begins. */
  static async to(target) {
    const road = new Road();
    road.target = target;
    road.server = createServer((near) => road.#carry(near));
    await new Promise((resolve) => road.server.listen(0, '127.0.0.1', resolve));
    road.port = road.server.address().port;
    return road;
  }

  #carry(near) {
    const pair = { near, far: connect(this.target, '127.0.0.1') };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      near.destroy();
      pair.far.destroy();
    };
    for (const one of [near, pair.far]) one.on('error', () => {}).on('close', () => pair.isCut || end());
    if (this.#isCut) this.#cut(pair);
    else this.#join(pair);
  }

  #join(pair) {
    pair.isCut = false;
    pair.near.pipe(pair.far);
    pair.far.pipe(pair.near);
  }

  #cut(pair) {
    pair.isCut = true;
    for (const one of [pair.near, pair.far]) one.unpipe().pause();
  }

  /** Nothing passes any more. */
  cut() {
    this.#isCut = true;
    for (const pair of this.#pairs) this.#cut(pair);
  }

  /** It is there again. `anew`: for what is begun from now on alone, as where an address has changed. */
  mend(anew = false) {
    this.#isCut = false;
    for (const pair of this.#pairs) {
      if (!pair.isCut) continue;
      if (!anew) this.#join(pair);
    }
  }

  end() {
    this.server.close();
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }
}
