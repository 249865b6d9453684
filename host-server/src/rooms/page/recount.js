// When the server's count of new messages cannot be trusted: a message that comes at about the same
// time as a count may be in it, or not, and nothing in them tells. So it is counted again a while
// later, and more seldom each time.

/** A count and a message within so many milliseconds may each know of the other, or not. */
const AMBIGUOUS = 2_000;
const LONGEST = 64_000;

export class Recount {
  #ask;
  #pause = AMBIGUOUS;
  #counted = 0;
  #heard = 0;
  #timer = 0;

  /** `ask()` asks the server to count. */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Another connection: offline mail comes at about the time of its first count. */
  begin() {
    this.#pause = AMBIGUOUS;
  }

  /** A message came that was not seen. */
  heard() {
    this.#heard = Date.now();
    this.#unless(this.#counted);
  }

  /** The server counted. */
  counted() {
    this.#counted = Date.now();
    this.#unless(this.#heard);
  }

  #unless(when) {
    if (this.#timer || Date.now() - when > AMBIGUOUS) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#ask();
    }, this.#pause);
    this.#pause = Math.min(2 * this.#pause, LONGEST);
  }
}
