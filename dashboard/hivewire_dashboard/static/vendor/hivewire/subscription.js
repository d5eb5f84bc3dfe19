/**
 * One subscription over all connections. It resumes at its position, and passes on pushes in complete groups.
 *
 * @typedef {object} Group the pushes up to a position, or one push without a position
 * @property {Record<string, any>[]} frames the pushes, in order
 * @property {boolean} reset whether they replace everything before
 * @property {boolean} live whether the subscription is up to date
 */

/** @typedef {Record<string, any>} Frame */

export class Subscription {
  #live = false;
  #reset = false;
  /** @type {Frame[]} */
  #held = [];

  /**
   * @param {string} action such as `configuration/subscribe`
   * @param {object} members of the request
   * @param {(group: Group) => void} take
   * @param {(error: Error) => void} fail called when it is refused for good
   * @param {(live: boolean) => void} [turn] called when it becomes up to date, and when it is paused
   */
  constructor(action, members, take, fail, turn = () => {}) {
    this.action = action;
    this.members = members;
    this.take = take;
    this.fail = fail;
    this.turn = turn;
    /** @type {string | undefined} */
    this.position = /** @type {any} */ (members).since;
    this.reach = "";
    this.id = 0;
  }

  /**
   * The members of the request that begins or resumes it. With a token of another reach it begins again, because the
   * present state may lack names that the new token reaches.
   *
   * @param {string} reach of the token
   */
  request(reach) {
    if (this.reach && reach !== this.reach && !("resumable" in this.members)) this.position = undefined;
    this.reach = reach;
    return {...this.members, since: this.position};
  }

  /** Take the answer to the request. Pushes may follow it at once. @param {Frame} reply */
  begin({subscriptionId, mode, position}) {
    this.id = subscriptionId;
    this.#reset = mode !== undefined && mode !== "resumed";
    // A subscription without a mode is a plain one of DeviceHive, which gets only new messages.
    if (mode === "live" || mode === undefined) {
      this.position = position;
      this.#turn(true);
    }
  }

  /** @param {Frame} frame */
  push(frame) {
    if (frame.action === "subscription/paused") return this.#turn(false);
    if (frame.reset) {
      this.#held = [];
      this.#reset = true;
    }
    this.#held.push(frame);
    // A push without a position is a part of a group. But in a subscription without positions, and about presence, each
    // push is a group by itself.
    const part = frame.more || frame.last === false || this.#held.length > 1;
    if (frame.position === undefined && part) return;
    if (frame.position !== undefined) this.position = frame.position;
    const group = {frames: this.#held, reset: this.#reset, live: frame.live === true || frame.last === true};
    this.#held = [];
    this.#reset = false;
    this.take(group);
    if (group.live) this.#turn(true);
  }

  /** The connection is lost: discard an incomplete group. */
  lose() {
    this.id = 0;
    this.#held = [];
    this.#live = false;
  }

  /** @param {boolean} live */
  #turn(live) {
    if (live === this.#live) return;
    this.#live = live;
    this.turn(live);
  }
}
