// Requests whose answers are events of their own: an answer belongs to the oldest request that it
// can belong to, as the server answers in order.

/** No answer so long (milliseconds) is none. */
export const PATIENCE = 30_000;

/** Why there is no answer: the connection broke, or the server said nothing. */
export class Unanswered extends Error {}

export class Requests {
  #send;
  #open = [];

  /** `send(name, ...args)` says whether it could. */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Sends `name` and gives the arguments of the event `answer`, the first that `fits`.
   * Throws Unanswered.
   */
  ask(name, args, answer, fits = () => true) {
    return new Promise((resolve, reject) => {
      const request = { answer, fits, resolve, reject };
      request.timer = setTimeout(() => {
        this.#open = this.#open.filter((other) => other !== request);
        reject(new Unanswered("The server did not answer."));
      }, PATIENCE);
      this.#open.push(request);
      if (!this.#send(name, ...args)) this.#take(request).reject(new Unanswered("Not connected."));
    });
  }

  /** Gives an event to the request that waits for it; false if none does. */
  answer(name, args) {
    const request = this.#open.find((open) => open.answer === name && open.fits(args));
    if (!request) return false;
    this.#take(request).resolve(args);
    return true;
  }

  /** The connection is gone, and with it every answer. */
  broken() {
    for (const request of [...this.#open]) {
      this.#take(request).reject(new Unanswered("The connection broke."));
    }
  }

  #take(request) {
    clearTimeout(request.timer);
    this.#open = this.#open.filter((other) => other !== request);
    return request;
  }
}
