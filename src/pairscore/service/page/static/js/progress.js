/**
 * How far something has come, how fast it goes, and how long it will take.
 */

import { el, fill } from "./dom.js";
import { count, duration } from "./format.js";

/** A progress bar with words; hidden until something begins. */
export class Progress {
  /** @param {{id: string, many: string}} options what is counted, such as "documents". */
  constructor({ id, many }) {
    this.many = many;
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `${many} done` });
    this.words = el("p", { class: "hint number", id: `${id}-words` });
    this.waiting = el("p", { class: "notice warm", id: `${id}-waiting`, hidden: true });
    this.root = el("div", { class: "progress", id, hidden: true }, this.bar, this.words, this.waiting);
  }

  /** Begin to count up to `total`. */
  begin(total) {
    Object.assign(this, { total, began: performance.now() });
    this.root.hidden = false;
    this.wait(0);
    this.at(0);
  }

  /** So many are done. */
  at(done) {
    this.bar.max = this.total;
    this.bar.value = done;
    const rate = done / ((performance.now() - this.began) / 1000);
    const parts = [`${count(done)} of ${count(this.total)}`];
    if (done > 0 && done < this.total) {
      parts.push(`${rate < 10 ? rate.toFixed(1) : count(rate)} ${this.many}/s`, `${duration(1000 * Math.max(1, Math.round((this.total - done) / rate)))} left`);
    }
    fill(this.words, parts.join(", "));
  }

  /** The server is busy for so many seconds; 0: it goes on. */
  wait(seconds) {
    this.waiting.hidden = seconds <= 0;
    fill(this.waiting, seconds > 0 ? `The server is busy and has put some of it off. It is tried again in ${seconds} s.` : null);
  }

  /** It is over. @returns {number} the milliseconds that it took. */
  end() {
    this.root.hidden = true;
    return performance.now() - this.began;
  }
}
